"""Writers through the dual-write layer and the proxy, others beside them, and everything dies."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import closing

import pytest

from bridge.replicate.ops import ANSWERS_TABLE
from tests.crash import dual_instance
from tests.crash.dual_application import Application
from tests.crash.dual_callers import LATE, Callers
from tests.crash.kills import MADE, PATIENCE, cut_connections
from tests.crash.pair import Pair
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import app_name, grant_dual_writes
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Daemon, Project
from tests.endtoend.proxy_calls import Proxy, configured
from tests.endtoend.traffic import Act, Cursor, Traffic

pytestmark = pytest.mark.crash

TABLES = """
CREATE TABLE account (id bigint AUTO_INCREMENT PRIMARY KEY, owner varchar(40) NOT NULL,
    email varchar(40) UNIQUE, amount int NOT NULL);
CREATE TABLE entry (id bigint AUTO_INCREMENT PRIMARY KEY, account_id bigint NOT NULL,
    body varchar(80), FOREIGN KEY (account_id) REFERENCES account (id));
CREATE TABLE ledger (writer varchar(40) NOT NULL, number int NOT NULL,
    PRIMARY KEY (writer, number));
CREATE TABLE slip (id bigint AUTO_INCREMENT PRIMARY KEY, caller varchar(40) NOT NULL,
    number int NOT NULL)
"""
NAMES = ["account", "entry", "ledger", "slip"]
INSTANCES, PROXIES, CALLERS, BYPASSING = 2, 2, 8, 4
SHORT_SECONDS = 25.0
UNREACHABLE = 4
"""The exit code of a daemon that finds no server at its start."""


def bypass(chance: random.Random, cursor: Cursor) -> None:
    """Statements of an application that does not know of the layer."""
    key = chance.randint(1, dual_instance.ACCOUNTS)
    email = f"e{chance.randint(1, dual_instance.ACCOUNTS)}@example.org"
    statement, values = chance.choice(
        (
            ("INSERT INTO account (owner, email, amount) VALUES ('b', %s, 0)", (email,)),
            ("UPDATE account SET email = %s WHERE id = %s", (email, key)),
            ("UPDATE account SET amount = amount + 1 WHERE id = %s", (key,)),
            ("UPDATE account SET email = NULL WHERE id = %s", (key,)),
            ("DELETE FROM entry WHERE account_id = %s", (key,)),
            ("INSERT INTO entry (account_id, body) VALUES (%s, 'bypassed')", (key,)),
        )
    )
    cursor.execute(statement, values)


ACTS: dict[str, tuple[float, Act]] = {"bypass": (1.0, bypass)}


@pytest.fixture
def project(pair: Pair, new_project: NewProject) -> Project:
    """A pipeline between servers that may be killed, in provisional mode."""
    project = new_project(*pair.databases())
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES.split(";"):
            cursor.execute(statement)
        for number in range(1, dual_instance.ACCOUNTS + 1):
            email = f"e{number}@example.org"
            cursor.execute("INSERT INTO account VALUES (%s, 'first', %s, 0)", (number, email))
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    _let_proxies_write(project)
    project.run("cutover", "mode", "provisional")
    return project


def _let_proxies_write(project: Project) -> None:
    """They have the application's account, which needs the table of answers as well."""
    rights, name = "SELECT, INSERT, UPDATE, DELETE", project.source.name
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"GRANT {rights} ON `{name}`.`{ANSWERS_TABLE}` TO '{app_name(project)}'@'%'")


class Storm:
    """What goes wrong, one thing after the other."""

    def __init__(self, pair: Pair, app: Application, callers: Callers, seed: int) -> None:
        self.pair, self.app, self.callers = pair, app, callers
        self.chance = random.Random(seed)
        self.project = app.project
        self.daemon: Daemon = self.project.sync()
        self.done: Counter[str] = Counter()
        self.early: Counter[str] = Counter()
        """What became of the proxies' operations."""

    def instance(self) -> None:
        """An instance of the application dies."""
        self.app.kill(self.chance)

    def proxy(self) -> None:
        """A proxy dies."""
        victim = self.chance.choice(self.callers.proxies)
        self.early += outcomes(victim)
        victim.daemon.kill()
        # It may have found a server dead at its start, and ended since the last look.
        code = victim.daemon.process.returncode
        assert code in (-signal.SIGKILL, UNREACHABLE), victim.daemon.log
        victim.begin()

    def frozen_instance(self) -> None:
        """An instance stands still in the middle of whatever it does, and goes on late."""
        self._freeze(self.chance.choice(self.app.running).process)

    def frozen_proxy(self) -> None:
        """So does a proxy."""
        self._freeze(self.chance.choice(self.callers.proxies).daemon.process)

    def _freeze(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.5, 4.0))
        process.send_signal(signal.SIGCONT)

    def stream(self) -> None:
        """The daemon dies."""
        self.daemon.kill()
        time.sleep(self.chance.uniform(0, 2.0))
        self.daemon = self.project.sync()

    def sessions(self) -> None:
        """All sessions of the bridge on one side are ended."""
        cut_connections(self.project, self.chance)

    def mode(self) -> None:
        """The operator changes the mode, and back."""
        for mode in ("cdc", "provisional"):
            self.project.run("cutover", "mode", mode)

    def source(self) -> None:
        """MySQL dies."""
        self.pair.kill("source")
        time.sleep(self.chance.uniform(0, 2.0))
        self.pair.revive("source")

    def target(self) -> None:
        """PostgreSQL dies, which no writer notices."""
        self.everybody_writes()
        gone, begun = self.app.gone(), time.monotonic()
        self.pair.kill("target")
        self.everybody_writes()
        failed = [
            each
            for each in self.callers.troubles
            if each.begun > begun and each.why not in ("busy", LATE)
        ]
        assert not failed and self.app.gone() == gone, failed
        self.pair.revive("target")

    def everybody_writes(self) -> None:
        """Waits until each writer had something acknowledged meanwhile, and all proxies listen."""
        before = self._progress()
        self.project.wait_until(lambda: self._went_on(before), PATIENCE)

    def _progress(self) -> dict[str, int]:
        return self.app.progress() | self.callers.progress()

    def _went_on(self, before: dict[str, int]) -> bool:
        self.check()
        return all(proxy.listens() for proxy in self.callers.proxies) and all(
            now > before[name] for name, now in self._progress().items()
        )

    def check(self) -> None:
        """Whoever should live does; a daemon or proxy that found a server dead is started again."""
        self.app.check()
        self.callers.check()
        if not self.daemon.running:
            assert self.daemon.process.returncode == UNREACHABLE, self.daemon.log
            self.daemon = self.project.sync()
        for proxy in self.callers.proxies:
            if not proxy.daemon.running:
                assert proxy.daemon.process.returncode == UNREACHABLE, proxy.daemon.log
                proxy.begin()

    def strike(self, kind: str) -> None:
        """One of them, after some time of peace."""
        time.sleep(self.chance.uniform(0.3, 1.5))
        getattr(self, kind)()
        self.check()
        self.done[kind] += 1
        MADE[self.project.source.server.kind][f"dual writes: {kind}"] += 1


KINDS = (
    "instance", "proxy", "frozen_instance", "frozen_proxy", "stream", "sessions", "mode", "target",
    "source",
)  # fmt: skip


def rage(project: Project, pair: Pair, seed: int, seconds: float) -> None:
    """Everything at once for so long; then both sides hold the same, and what was acknowledged."""
    app = Application(project, seed)
    callers = Callers([configured(project, app_name(project)) for _ in range(PROXIES)], seed)
    storm = Storm(pair, app, callers, seed)
    traffic = Traffic(project.source, seed, writers=BYPASSING, rate=40.0, survives=True, acts=ACTS)
    with traffic:
        for _ in range(INSTANCES):
            app.begin()
        for proxy in callers.proxies:
            proxy.begin()
        callers.start(CALLERS)
        storm.everybody_writes()
        deadline, kinds = time.monotonic() + seconds, list(KINDS)
        while kinds or time.monotonic() < deadline:
            kinds = kinds or list(KINDS)
            storm.strike(kinds.pop(storm.chance.randrange(len(kinds))))
            traffic.check()
        storm.everybody_writes()
        callers.stop()
        app.end()
        done = traffic.stop()
    for proxy in callers.proxies:
        storm.early += outcomes(proxy)
        proxy.daemon.stop(PATIENCE)
    said = "".join(daemon.log for daemon in project.daemons if daemon.path.name[0] == "p")
    assert "Traceback" not in said, said[said.index("Traceback") - 1000 :][:4000]
    storm.daemon.kill()
    early = early_writes(project)
    project.catch_up()
    rows = assert_same(project.source, project.target, tables=NAMES)
    nothing_is_lost(project, app, callers)
    assert project.status()["tables"][0]["quarantined"] == 0
    assert early > 20 and storm.early["applied"] > 20, (app.counts(), storm.early)
    assert not any("failed" in each for each in (*app.counts(), storm.early)), storm.early
    print(
        f"{len(app.acknowledged())} acknowledged by the layer, {len(callers.acknowledged)} by the"
        f" proxies ({dict(callers.counts)}; early: {dict(storm.early)}); {early} operations early"
        f" and not pruned; {done.total()} bypassed, {rows} rows the same; {dict(storm.done)};"
        f" of the last instances: {app.counts()}"
    )


def nothing_is_lost(project: Project, app: Application, callers: Callers) -> None:
    """What was acknowledged is there, and over HTTP once, and nothing that was refused."""
    kept = project.ask(f'SELECT writer, number FROM "{project.source.name}".ledger')
    lost = app.acknowledged() - set(kept)
    assert not lost, f"acknowledged and lost: {sorted(lost)[:10]}"
    slips = Counter(project.ask(f'SELECT caller, number FROM "{project.source.name}".slip'))
    wrong = {
        each for each in slips | callers.acknowledged if slips[each] != callers.acknowledged[each]
    }
    assert not wrong, [(each, slips[each]) for each in sorted(wrong)[:10]]


def outcomes(proxy: Proxy) -> Counter[str]:
    """What became of a proxy's operations."""
    if not proxy.listens():
        return Counter()
    text = proxy.call("GET", "/metrics").raw.decode()
    found = re.findall(r'operations_total\{outcome="([a-z-]+)"\} (\d+)', text)
    return Counter({outcome: int(number) for outcome, number in found})


def early_writes(project: Project) -> int:
    """How many operations were written before the stream brought them."""
    ((count,),) = project.ask("SELECT count(*) FROM dbbridge.applied_ops WHERE writer IS NOT NULL")
    return int(count)


@pytest.mark.timeout(600)
def test_everything_dies_and_nothing_is_lost(project: Project, pair: Pair, seed: int) -> None:
    rage(project, pair, seed, SHORT_SECONDS)


@pytest.mark.soak
def test_soak(project: Project, pair: Pair, seed: int) -> None:
    rage(project, pair, seed, float(os.environ["DBBRIDGE_SOAK_DURATION"]))
