"""All who write while authority moves, and what was acknowledged to them.

Layer instances and callers of the proxies follow the authority; the application's accounts on both
sides do not, and are kept out by fences alone. Every transaction is a slip with its writer and his
number, and the same number in the writer's own row.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

from tests.crash.cutover_instance import CUSTOMERS, FOR_NOW, KEPT_OUT, PAUSE_SECONDS, Barrier
from tests.crash.instances import begin
from tests.crash.kills import PATIENCE
from tests.endtoend.dual import as_role, of_application
from tests.endtoend.project import Project
from tests.endtoend.proxy_calls import ALL, Proxy

NAMES = ["customer", "slip", "owned"]
INSTANCES, CALLERS, BYPASSING = 2, 3, 2
WRITERS = 2
"""Of each instance."""
MOST_INSTANCES = 400
Acknowledged = tuple[int, float]
"""A transaction's number, and when its writer knew (time.monotonic)."""


def make_tables(project: Project) -> None:
    """Generated keys, a foreign key, ON UPDATE, and a row for everyone who will ever write."""
    names = [f"i{n}/{k}" for n in range(MOST_INSTANCES) for k in range(WRITERS)]
    names += [f"{kind}{n}" for kind in "hst" for n in range(20)]
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE customer (id int AUTO_INCREMENT PRIMARY KEY, name varchar(40) NOT NULL,"
            " balance int NOT NULL, touched timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)"
            " ON UPDATE CURRENT_TIMESTAMP(3))"
        )
        cursor.execute(
            "CREATE TABLE slip (id bigint AUTO_INCREMENT PRIMARY KEY, writer varchar(40) NOT NULL,"
            " number int NOT NULL, customer int NOT NULL,"
            " FOREIGN KEY (customer) REFERENCES customer (id))"
        )
        cursor.execute(
            "CREATE TABLE owned (writer varchar(40) PRIMARY KEY, number int NOT NULL,"
            " customer int, FOREIGN KEY (customer) REFERENCES customer (id))"
        )
        cursor.executemany(
            "INSERT INTO customer (name, balance) VALUES (%s, 0)",
            [(f"name {n}",) for n in range(CUSTOMERS)],
        )
        cursor.executemany(
            "INSERT INTO owned (writer, number) VALUES (%s, 0)", [(n,) for n in names]
        )


@dataclass
class Instance:
    """A process of `tests.crash.cutover_instance`, and what it has said so far."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    paused: int = 0
    _read: int = 0
    _rest: str = ""

    def tell(self, word: str) -> None:
        """A line for it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{word}\n".encode())
            self.process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Those that are new; one that was cut off does not count."""
        with self.log.open() as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        *whole, self._rest = (self._rest + text).split("\n")
        yield from whole

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process.stdin is not None
        self.process.kill()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


@dataclass
class Writers:
    """All of them; `rest` is the longest pause between a writer's transactions, in seconds."""

    project: Project
    proxies: list[Proxy]
    seed: int
    rest: float
    acknowledged: dict[str, list[Acknowledged]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[BaseException] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    """Those that run."""
    threads: list[Thread] = field(default_factory=list)
    begun: int = 0

    def start(self) -> None:
        """All but those who write to the target alone, who wait for `let_in`."""
        self.threads = [
            *(Caller(self, f"h{n}") for n in range(CALLERS)),
            *(OnSource(self, f"s{n}") for n in range(BYPASSING)),
            *(OnTarget(self, f"t{n}") for n in range(BYPASSING)),
        ]
        self.let_in(False)
        for thread in self.threads:
            thread.start()
        for _ in range(INSTANCES):
            self.begin_instance()

    def begin_instance(self) -> None:
        """One instance more."""
        project, number = self.project, self.begun
        self.begun += 1
        words = (f"{self.seed}/{number}", str(WRITERS), str(self.rest))
        process, path = begin(project, "tests.crash.cutover_instance", number, *words)
        self.instances.append(Instance(f"i{number}", process, path))

    def kill_instance(self, chance: random.Random) -> int:
        """One dies, another takes its place; the number of its process."""
        self.hear()
        victim = self.instances.pop(chance.randrange(len(self.instances)))
        victim.kill()
        self._heard(victim)
        self.begin_instance()
        return victim.process.pid

    # -- at rest -----------------------------------------------------------------------------

    def let_in(self, allowed: bool) -> None:
        """Whether the application has begun to use its role on the target."""
        for thread in self.threads:
            if isinstance(thread, OnTarget):
                if allowed:
                    thread.barrier.open()
                else:
                    assert thread.barrier.close(PATIENCE), thread.name

    def pause(self) -> None:
        """All rest between two transactions."""
        before = {one.name: one.paused for one in self.instances}
        for one in self.instances:
            one.tell("pause")
        for thread in self.threads:
            assert thread.barrier.close(PATIENCE), f"{thread.name}: {self.refused}"
        self.project.wait_until(lambda: self._rests(before), PATIENCE)
        self.check()

    def _rests(self, before: dict[str, int]) -> bool:
        self.hear()
        self.check()
        return all(one.paused > before[one.name] for one in self.instances)

    def go_on(self, *, target: bool) -> None:
        """All write again; `target`: those who write there alone as well."""
        for one in self.instances:
            one.tell("go")
        for thread in self.threads:
            if target or not isinstance(thread, OnTarget):
                thread.barrier.open()

    def stop(self) -> None:
        """Ends them."""
        for thread in self.threads:
            thread.ended.set()
            thread.barrier.open()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread.name
        self.hear()
        for one in self.instances:
            one.kill()
            self._heard(one)
        self.instances.clear()

    # -- what they say -----------------------------------------------------------------------

    def hear(self) -> None:
        """Takes in what the instances have said since."""
        for one in self.instances:
            self._heard(one)

    def _heard(self, one: Instance) -> None:
        for line in one.lines():
            word, _, rest = line.partition(" ")
            if word == "ack":
                writer, number, at = rest.split()
                self.acknowledge(writer, int(number), float(at))
            elif word == "refused":
                self.refused[f"layer {rest}"] += 1
            elif word == "paused":
                one.paused += 1
            else:
                self.failures.append(AssertionError(f"{one.name}: {line}"))

    def acknowledge(self, writer: str, number: int, at: float | None = None) -> None:
        """A writer knows that he has written."""
        known = self.acknowledged.setdefault(writer, [])
        known.append((number, time.monotonic() if at is None else at))

    def check(self) -> None:
        """Fails if somebody met what nobody expected."""
        if self.failures:
            raise self.failures[0]
        for one in self.instances:
            assert one.process.poll() is None, one.log.read_text()[-500:]

    def progress(self, side: str) -> dict[str, int]:
        """How often each was acknowledged who should get through while `side` has authority."""
        self.hear()
        names = [f"{one.name}/{n}" for one in self.instances for n in range(WRITERS)]
        away = OnTarget if side == "source" else OnSource
        names += [thread.name for thread in self.threads if not isinstance(thread, away)]
        return {name: len(self.acknowledged.get(name, ())) for name in names}

    def gaps(self, since: float) -> list[float]:
        """The longest time between two acknowledgements of each who follows the authority."""
        names = [f"{one.name}/{n}" for one in self.instances for n in range(WRITERS)]
        names += [thread.name for thread in self.threads if isinstance(thread, Caller)]
        found = []
        for name in names:
            times = [at for _, at in self.acknowledged[name] if at >= since]
            found.append(max(b - a for a, b in itertools.pairwise(times)))
        return found

    def rate(self, since: float, until: float) -> float:
        """Acknowledged transactions a second."""
        counted = (since <= at < until for known in self.acknowledged.values() for _, at in known)
        return sum(counted) / (until - since)

    def kept_out(self, side: str) -> int:
        """How often those were acknowledged who write to the other side alone."""
        away = OnTarget if side == "source" else OnSource
        return sum(
            len(self.acknowledged.get(thread.name, ()))
            for thread in self.threads
            if isinstance(thread, away)
        )


class Thread(threading.Thread):
    """A writer in this process."""

    conn: Any = None
    """His session."""

    def __init__(self, writers: Writers, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.writers = writers
        self.chance = random.Random(f"{writers.seed}/{name}")
        self.barrier = Barrier()
        self.ended = threading.Event()

    def run(self) -> None:
        """Until it is told to end."""
        number = 0
        try:
            while not self.ended.is_set():
                number += 1
                with self.barrier:
                    if self.ended.is_set():
                        return
                    done = self.transact(number)
                    if done:
                        self.writers.acknowledge(self.name, number)
                time.sleep(self.chance.random() * self.writers.rest if done else PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            self.writers.failures.append(error)
        finally:
            with suppress(pymysql.Error, psycopg.Error, OSError):
                if self.conn is not None:
                    self.conn.close()

    def transact(self, number: int) -> bool:
        """Whether it was acknowledged."""
        raise NotImplementedError

    def refuse(self, why: object) -> None:
        """Counts it."""
        self.writers.refused[f"{type(self).__name__} {why}"] += 1


class Caller(Thread):
    """Over HTTP; tries again under the same key until he knows."""

    conn: http.client.HTTPConnection | None = None
    token = ""

    def transact(self, number: int) -> bool:
        """Until it is acknowledged, or all ends."""
        customer = self.chance.randint(1, CUSTOMERS)
        slip = {"writer": self.name, "number": number, "customer": customer}
        own = {"do": "update", "table": "owned", "key": {"writer": self.name}}
        asked = {
            "operations": [
                {"do": "insert", "table": "slip", "values": slip},
                {**own, "values": {"number": number}},
            ]
        }
        while not self.ended.is_set():
            try:
                status, answer = self._ask(json.dumps(asked), f"{self.name}-{number}")
            except (OSError, http.client.HTTPException) as error:
                self.refuse(type(error).__name__)
                self._close()
                time.sleep(PAUSE_SECONDS)
                continue
            if status == 200:
                return True
            assert status == 503, (status, answer)
            self.refuse(answer["title"])
            time.sleep(PAUSE_SECONDS)
        return False

    def _ask(self, body: str, key: str) -> tuple[int, Any]:
        if self.conn is None:
            listening = [proxy for proxy in self.writers.proxies if proxy.listens()]
            if not listening:
                raise ConnectionRefusedError
            proxy = self.chance.choice(listening)
            url, self.token = urlsplit(proxy.address), proxy.tokens[ALL]
            self.conn = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.token}",
            "Idempotency-Key": key,
        }
        self.conn.request("POST", "/v1/transactions", body, headers)
        response = self.conn.getresponse()
        return response.status, json.loads(response.read())

    def _close(self) -> None:
        if self.conn is not None:
            self.conn.close()
            self.conn = None


class OnSource(Thread):
    """The application's own account, which knows of no bridge."""

    conn: pymysql.Connection[Any] | None = None

    def transact(self, number: int) -> bool:
        """One try."""
        slip = (self.name, number, self.chance.randint(1, CUSTOMERS))
        try:
            if self.conn is None:
                self.conn = of_application(self.writers.project, connect_timeout=5, read_timeout=30)
            with self.conn.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO slip (writer, number, customer) VALUES (%s, %s, %s)", slip
                )
                cursor.execute(
                    "UPDATE owned SET number = %s WHERE writer = %s", (number, self.name)
                )
            self.conn.commit()
        except (pymysql.Error, OSError) as error:
            code = error.args[0] if error.args else None
            if code not in FOR_NOW and not isinstance(error, pymysql.err.InterfaceError):
                raise
            self.refuse(code)
            self._give_up(forget=code not in KEPT_OUT)
            return False
        return True

    def _give_up(self, *, forget: bool) -> None:
        """Ends the transaction, or the session."""
        with suppress(pymysql.Error, OSError):
            if self.conn is not None and not forget:
                self.conn.rollback()
                return
            if self.conn is not None:
                self.conn.close()
        self.conn = None


class OnTarget(Thread):
    """The same with its role on the target."""

    conn: psycopg.Connection[Any] | None = None

    def transact(self, number: int) -> bool:
        """One try."""
        slip = (self.name, number, self.chance.randint(1, CUSTOMERS))
        try:
            if self.conn is None:
                there = f"-csearch_path={self.writers.project.source.name}"
                self.conn = as_role(self.writers.project, options=there)
            with self.conn.transaction():
                self.conn.execute(
                    "INSERT INTO slip (writer, number, customer) VALUES (%s, %s, %s)", slip
                )
                self.conn.execute(
                    "UPDATE owned SET number = %s WHERE writer = %s", (number, self.name)
                )
        except psycopg.Error as error:
            if error.sqlstate not in FOR_NOW:
                raise
            self.refuse(error.sqlstate)
            if self.conn is not None and error.sqlstate not in KEPT_OUT:
                self.conn.close()
                self.conn = None
            return False
        return True
