"""Switches and reverses under load, whose operators, daemon and writers die; and what must hold."""

from __future__ import annotations

import json
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psycopg
import pymysql

from bridge.cutover.transitions import TABLE, State
from bridge.replicate.ops import ANSWERS_TABLE
from tests.crash.cutover_operator import Operator, Operators
from tests.crash.cutover_writers import NAMES, Writers, make_tables
from tests.crash.kills import MADE, PATIENCE
from tests.endtoend.compare import compare
from tests.endtoend.dual import app_name, grant_dual_writes, grant_on_target
from tests.endtoend.project import Daemon, Project
from tests.endtoend.proxy_calls import configured

MOVE_SECONDS = 150.0
"""A switch or reverse, its gates included, ends within that, or is undone."""
THROUGH_SECONDS = 90.0
"""Whoever has not got through by then is fenced for good; those who were killed begin anew."""
REFUSED_SECONDS = 180.0
"""Gates that are closed by what was killed open again within that."""
REFUSED = re.compile(
    r"error: (refused by [a-z, -]+|the replication slot waits|group .* is \S+, and .+ is at it)"
)
"""What begins no switch: it is tried again."""
OUT_OF_TIME = "not done within the time"
"""What was begun and undone: a machine may be busy."""
PROXIES = 2
Direction = str


def prepare(project: Project) -> None:
    """Tables, accounts, rights and settings of a group that is to be switched."""
    make_tables(project)
    project.begin()
    grant_dual_writes(project)
    bridge, name, app = project.accounts.name, project.source.name, app_name(project)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for right in ("SELECT, INSERT, UPDATE, DELETE", "CREATE"):
            cursor.execute(f"GRANT {right} ON `{name}`.* TO '{bridge}'@'%'")
        cursor.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.`{ANSWERS_TABLE}` TO '{app}'@'%'"
        )
    with project.target.connect() as there:
        there.execute(f'ALTER ROLE "{bridge}" REPLICATION'.encode())
        there.execute(f'GRANT pg_signal_backend, pg_read_all_stats TO "{bridge}"'.encode())
    server = project.source.server
    address = f"{server.user}:{server.password}@{server.host}:{server.port}"
    path = project.folder / "bridge.yaml"
    text = path.read_text().replace(
        "databases:", f"databases:\n  fence: {{url: 'mysql://{address}/{name}'}}", 1
    )
    path.write_text(
        f"{text.rstrip()}\ncutover:\n  source: fence\n  fence: revoke\n  accounts: ['{app}@%']\n"
        f"  roles: [{app}]\n  max_transaction_seconds: 600\n  max_lag_seconds: 60\n"
        "  timeout_seconds: 60\n"
    )


@dataclass
class Watch(threading.Thread):
    """Reads both authority rows all the time: never may both be open for their own side.

    An epoch has one side, so a source's row that has the same epoch before and after the target's
    was read was so meanwhile as well.
    """

    project: Project
    group: str = ""
    failures: list[str] = field(default_factory=list)
    looks: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Until it is ended."""
        with closing(self.project.source.connect()) as here, self.project.target.connect() as there:
            while not self.ended.wait(0.02):
                before, other, after = of_source(here), of_target(there), of_source(here)
                self.looks += 1
                if before != after:
                    continue
                if before is not None and before[0] == "source" and other[0] == "target":
                    self.failures.append(f"source {before}, target {other}")


def of_source(conn: pymysql.Connection[Any]) -> tuple[str, int] | None:
    """Side and epoch of the row in the source."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT authority, epoch FROM _bridge_authority")
        found = cursor.fetchone()
    return (found[0], found[1]) if found else None


def of_target(conn: psycopg.Connection[Any]) -> tuple[str, int]:
    """The same in the target."""
    found = conn.execute("SELECT authority, epoch FROM dbbridge.authority").fetchone()
    assert found is not None
    return found[0], found[1]


@dataclass(frozen=True)
class Pause:
    """How long writers waited in seconds: as predicted, as told, and as each of them saw it.

    `rate`: acknowledged transactions a second just before. `steps`: how long the last states were.
    """

    predicted: float
    told: float
    seen: list[float]
    rate: float
    steps: dict[str, float]

    def __str__(self) -> str:
        seen = f"{median(self.seen):.2f} s, at most {max(self.seen):.2f} s"
        steps = ", ".join(f"{state} {1000 * took:.0f} ms" for state, took in self.steps.items())
        told = f"predicted {self.predicted:.2f}, told {self.told:.2f}, seen {seen}"
        return f"{told}; {self.rate:.0f}/s; {steps}"


@dataclass
class Storm:
    """One project, with everybody who is there, and what was done to them."""

    project: Project
    seed: int
    rest: float = 0.3
    daemon: Daemon = field(init=False)
    done: Counter[str] = field(default_factory=Counter)
    through: list[float] = field(default_factory=list)
    """How long it took until all had got through after each attempt, in seconds."""
    moved: int = 0
    """How often authority has gone over."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.operators = Operators(self.project)
        self.watch = Watch(self.project)
        proxies = [configured(self.project, app_name(self.project)) for _ in range(PROXIES)]
        self.writers = Writers(self.project, proxies, self.seed, self.rest)

    # -- the whole ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Everything streams, is proven equal, and is written to."""
        project = self.project
        self.daemon = project.sync()
        project.wait_streaming(self.daemon)
        grant_on_target(project)
        project.run("cutover", "mode", "provisional")
        project.run("verify", "--certify")
        counted = lambda: bool(project.ask("SELECT 1 FROM dbbridge.census"))  # noqa: E731
        project.wait_until(counted, daemon=self.daemon)
        for proxy in self.writers.proxies:
            proxy.begin()
        self.writers.start()
        self.watch.start()
        self.everybody_writes()

    def close(self) -> None:
        """Ends the threads, whatever has happened."""
        for thread in self.writers.threads:
            thread.ended.set()
            thread.barrier.open()
        self.watch.ended.set()
        for one in (*self.writers.threads, self.watch):
            if one.ident is not None:
                one.join(PATIENCE)

    def end(self) -> None:
        """All stop; the last look at what they wrote."""
        self.writers.pause()
        self.judge()
        self.writers.stop()
        self.watch.ended.set()
        self.watch.join()
        self.check()
        for proxy in self.writers.proxies:
            proxy.daemon.stop(PATIENCE)
        self.daemon.stop(PATIENCE)
        said = "".join(daemon.log for daemon in self.project.daemons)
        assert "Traceback" not in said, said[said.index("Traceback") - 1000 :][:4000]

    # -- what is so --------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the journal says."""
        rows = self.project.ask("SELECT state FROM dbbridge.cutovers")
        state: State = rows[0][0] if rows else "source-primary"
        return state

    @property
    def side(self) -> str:
        """Who has authority, at rest."""
        return TABLE[self.state].source[0]

    def check(self) -> None:
        """Nobody has met anything unexpected."""
        assert not self.watch.failures, self.watch.failures[:5]
        assert self.watch.is_alive() or self.watch.ended.is_set()
        self.writers.check()
        if not self.daemon.running:
            raise AssertionError(self.daemon.log[-4000:])

    def at_rest(self) -> bool:
        """Whether nothing is under way."""
        return TABLE[self.state].resting

    def everybody_writes(self) -> float:
        """All who may get through, in so many seconds; and nobody else does."""
        began, side = time.monotonic(), self.side
        before, out = self.writers.progress(side), self.writers.kept_out(side)

        def went_on() -> bool:
            self.check()
            now = self.writers.progress(side)
            return all(now[name] > count for name, count in before.items())

        limit = began + THROUGH_SECONDS
        while not went_on():
            if time.monotonic() > limit:
                now = self.writers.progress(side)
                late = [name for name, count in before.items() if now[name] == count]
                raise AssertionError(f"{side}: fenced for good: {late}; {self.writers.refused}")
            time.sleep(0.02)
        assert self.writers.kept_out(side) == out, f"the fence of {side} lets through"
        return time.monotonic() - began

    # -- one after the other -----------------------------------------------------------------

    def strike(self, kind: str, act: Callable[[], None]) -> None:
        """One attempt in which something dies; afterwards all is as it must be."""
        before = self.side
        began = time.monotonic()
        act()
        self.done[kind] += 1
        MADE[self.project.source.server.kind][f"cutover: {kind}"] += 1
        self.recover()
        self.moved += self.side != before
        settled = time.monotonic()
        self.through.append(self.everybody_writes())
        self.writers.pause()
        rows = self.judge()
        self.writers.go_on(target=self.state != "source-primary")
        print(
            f"{kind}: {before} to {self.state}, {settled - began:.1f} s, through after"
            f" {self.through[-1]:.1f} s, {rows} rows, {time.monotonic() - settled:.1f} s",
            flush=True,
        )

    def recover(self) -> None:
        """Somebody brings it to rest, if nobody has; and both rows say so."""
        deadline = time.monotonic() + MOVE_SECONDS
        while not self.at_rest():
            assert time.monotonic() < deadline, (self.state, self._last_words())
            self._go_on()
        state = self.state
        (wanted,) = TABLE[state].source
        with closing(self.project.source.connect()) as here, self.project.target.connect() as there:
            rows = of_source(here), of_target(there)
        assert rows[0] == rows[1] and rows[1][0] == wanted, (state, rows)
        self.check()
        self.writers.let_in(state != "source-primary")

    def _go_on(self) -> None:
        """By one of the ways there are."""
        back = self.state.startswith("reverse-")
        again = "reverse" if back else "switch"
        choice = self.chance.choice(("cancel", "cancel", again, "daemon"))
        self.done[f"then {choice}"] += 1
        if choice == "daemon":
            end = time.monotonic() + 5.0
            while not self.at_rest() and time.monotonic() < end:
                time.sleep(0.05)
            return
        if choice == "cancel":
            self._cancel()
        else:
            self.operators.begin(choice).wait(MOVE_SECONDS)

    def _cancel(self) -> Operator:
        """If all is at rest by then, it takes the target's fence off as well."""
        self.writers.let_in(False)
        one = self.operators.begin("cancel")
        one.wait(MOVE_SECONDS)
        return one

    def _last_words(self) -> str:
        paths = sorted(self.project.folder.glob("operator-*.log"), key=lambda p: p.stat().st_mtime)
        return "\n".join(path.read_text()[-1500:] for path in paths[-2:])

    def direction(self) -> Direction:
        """Where it can go from here."""
        return "switch" if self.side == "source" else "reverse"

    def move(self, *words: str, **where: str) -> Operator:
        """A switch or reverse, once no gate refuses it any more; it runs, or has ended."""
        return self._try(self.direction(), MOVE_SECONDS, *words, **where)

    def _try(self, verb: str, wait: float, *words: str, **where: str) -> Operator:
        deadline = time.monotonic() + REFUSED_SECONDS
        while True:
            self.check()
            one = self.operators.begin(verb, *words, **where)
            while one.process.exitcode is None and not one.stopped and wait:
                one.process.join(0.02)
            reason = REFUSED.search(one.said)
            if not wait or reason is None:
                return one
            self.done[reason[0]] += 1
            assert time.monotonic() < deadline, one.said
            time.sleep(0.1)

    # -- how long writers wait -----------------------------------------------------------------

    def measure(self) -> Pause:
        """One move that nobody disturbs, at whatever rate is written."""
        back = ("--reverse",) if self.direction() == "reverse" else ()
        found = self.project.run("cutover", "plan", *back, "--format", "json", code=None).json
        began = time.monotonic()
        one = self.move("--format", "json")
        assert one.wait(MOVE_SECONDS) == 0, one.said
        self.writers.let_in(True)
        self.everybody_writes()
        self.everybody_writes()
        self.writers.hear()
        told = json.loads(one.said[one.said.index("\n{") :].partition("\n}")[0] + "}")
        gaps = self.writers.gaps(began - 1.0)
        rate = self.writers.rate(began - 1.0, began)
        steps: dict[str, float] = dict(
            self.project.ask(
                "SELECT before, seconds FROM dbbridge.cutover_steps WHERE event = 'done'"
                " ORDER BY id DESC LIMIT 5"
            )
        )
        return Pause(found["predicted_pause_seconds"], told["pause_seconds"], gaps, rate, steps)

    # -- who dies ----------------------------------------------------------------------------

    def at_point(self, point: str) -> None:
        """The operator dies at a point."""
        first = None
        if point.startswith(("arming", "disarming")):
            self._to_source_primary(point if point.startswith("disarming") else "")
        if point.startswith("disarming"):
            return
        if "aborting" in point:
            earlier = "reverse-draining.marked" if "reverse" in point else "draining.marked"
            first = self.move(stop_at=earlier)  # where he died, the daemon might come first
            assert first.stopped, first.said
            one = self.operators.begin("cancel", kill_at=point)
        else:
            one = self.move(kill_at=point)
        code = one.wait(MOVE_SECONDS)
        if first is not None:
            first.kill()
        if OUT_OF_TIME in one.said:
            self.done["out of time"] += 1
            return
        assert code == -signal.SIGKILL, f"{point}: {code}: {one.said}"

    def _to_source_primary(self, point: str) -> None:
        while self.state == "armed":
            self.writers.let_in(False)
            code = self.operators.begin("cancel", kill_at=point).wait(MOVE_SECONDS)
            if code == -signal.SIGKILL:
                return

    def any_moment(self) -> None:
        """The operator dies at any moment after he entered the first state."""
        self._under_way(lambda one: one.kill())

    def undisturbed(self) -> None:
        """Nobody dies."""
        one = self.move()
        assert one.wait(MOVE_SECONDS) == 0, one.said

    def stream(self) -> None:
        """The daemon dies, and comes back."""

        def strike(one: Operator) -> None:
            self.daemon.kill()
            time.sleep(self.chance.uniform(0.0, 1.0))
            self.daemon = self.project.sync()
            one.wait(MOVE_SECONDS + 30)

        self._under_way(strike)

    def instance(self) -> None:
        """An instance of the application dies."""

        def strike(one: Operator) -> None:
            self._forget(self.writers.kill_instance(self.chance))
            one.wait(MOVE_SECONDS)

        self._under_way(strike)

    def proxy(self) -> None:
        """A proxy dies, and comes back."""

        def strike(one: Operator) -> None:
            victim = self.chance.choice(self.writers.proxies)
            victim.daemon.kill()
            self._forget(victim.daemon.process.pid)
            victim.begin()
            one.wait(MOVE_SECONDS)

        self._under_way(strike)

    def _forget(self, pid: int) -> None:
        """Whoever has killed an instance need not wait until it is taken for gone."""
        self.project.ask("DELETE FROM dbbridge.instances WHERE pid = %s RETURNING 1", pid)

    def _under_way(self, strike: Callable[[Operator], None]) -> None:
        """While an operator is at it, at a moment at random."""
        resting, deadline = self.state, time.monotonic() + REFUSED_SECONDS
        one = self._try(self.direction(), 0)
        while self.state == resting:
            assert time.monotonic() < deadline, one.said
            # The whole move may have been made since the state was read.
            if one.process.exitcode is not None and self.state == resting:
                assert REFUSED.search(one.said) or OUT_OF_TIME in one.said, one.said
                one = self._try(self.direction(), 0)
            time.sleep(0.01)
        time.sleep(self.chance.uniform(0.0, 0.7))
        strike(one)

    def frozen(self, point: str) -> None:
        """He stands still, another takes over, and he goes on late: nothing comes of it."""
        one = self.move(stop_at=point)
        assert one.stopped, one.said
        while not self.at_rest():
            self._cancel()
        self.writers.let_in(self.state != "source-primary")
        self.everybody_writes()
        before = self._known()
        one.send(signal.SIGCONT)
        code = one.wait(MOVE_SECONDS)
        assert code > 0, one.said
        assert self._known() == before, one.said

    def _known(self) -> Any:
        query = "SELECT state, evidence FROM dbbridge.cutovers"
        with closing(self.project.source.connect()) as here, self.project.target.connect() as there:
            return self.project.ask(query), of_source(here), of_target(there)

    # -- what they wrote ---------------------------------------------------------------------

    def judge(self) -> int:
        """While all rest: both sides hold the same, and what was acknowledged, once."""
        deadline = time.monotonic() + PATIENCE
        while True:
            rows, found = compare(self.project.source, self.project.target, tables=NAMES)
            if not found:
                break
            self.check()
            assert time.monotonic() < deadline, "\n".join(map(str, found))
            time.sleep(0.05)
        schema = self.project.source.name
        slips = Counter(self.project.ask(f'SELECT writer, number FROM "{schema}".slip'))
        own = dict(self.project.ask(f'SELECT writer, number FROM "{schema}".owned'))
        last: Counter[str] = Counter()
        for writer, number in slips:
            last[writer] = max(last[writer], number)
        for writer, known in self.writers.acknowledged.items():
            lost = [number for number, _ in known if slips[writer, number] != 1]
            assert not lost, f"{writer}: {[(n, slips[writer, n]) for n in lost[:10]]}"
        doubled = [each for each, count in slips.items() if count > 1 and each[0] != "many"]
        assert not doubled, doubled[:10]
        torn = {w: (last[w], number) for w, number in own.items() if last[w] != number}
        assert not torn, torn
        return rows
