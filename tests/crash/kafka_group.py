"""Consumers of a pipeline that captures through Kafka, and all that may happen to them.

The tables are such that nothing heals by itself: in `counter` each image of a row is newer than the
one before, which a trigger in the target watches; `loose` has no key, so that whatever is applied
twice stays twice; keys of `moved` go from partition to partition.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

from bridge.capture.topics import SESSION_SECONDS
from bridge.replicate.points import KAFKA_POINTS
from compose.local.servers import Server
from tests.crash.kills import MADE, PATIENCE, process_state
from tests.crash.launch import COPYING
from tests.endtoend.compare import compare
from tests.endtoend.kafka_project import KafkaProject
from tests.endtoend.project import Daemon
from tests.endtoend.traffic import Act, Cursor, Traffic

RATE = 120.0
"""Transactions a second."""
KEYS = 200
SOON = 25.0
"""Seconds in which a consumer comes to a point, mostly."""
SETTLE_SECONDS = 150.0
"""In which all is applied, a broker or Connect that begins anew included."""
TABLES = {
    "counter": "id int NOT NULL PRIMARY KEY, v bigint NOT NULL, w varchar(40) NOT NULL",
    "moved": "id int NOT NULL PRIMARY KEY, v bigint NOT NULL",
    "loose": "who int NOT NULL, n bigint NOT NULL",
}
SINGLE = ("loose",)
"""Tables whose topic has one partition."""
LAUNCH = (sys.executable, "-m", "tests.crash.launch")
FROZEN_AT = ("partition.taken", "stream.apply", "stream.locked", COPYING, "stream.saved")


def count_up(chance: random.Random, cursor: Cursor) -> None:
    """Some rows, in any of the partitions; sometimes all."""
    first = chance.randint(1, KEYS)
    last = KEYS if chance.random() < 0.05 else first + chance.randint(0, 4)
    cursor.execute(
        "UPDATE counter SET v = v + 1, w = %s WHERE id BETWEEN %s AND %s",
        ("x" * chance.randint(0, 40), first, last),
    )


def move(chance: random.Random, cursor: Cursor) -> None:
    """A key changes, a row comes, or goes; or goes and comes again."""
    one, other = chance.randint(1, KEYS), chance.randint(1, KEYS)
    what = chance.randint(0, 3)
    if what == 0:
        cursor.execute("UPDATE moved SET id = %s, v = v + 1 WHERE id = %s", (other, one))
    elif what == 1:
        cursor.execute("DELETE FROM moved WHERE id = %s", (one,))
    elif what == 2:
        cursor.execute("DELETE FROM moved WHERE id IN (%s, %s)", (one, other))
        cursor.execute("INSERT INTO moved VALUES (%s, %s)", (one, chance.getrandbits(40)))
    else:
        cursor.execute(
            "INSERT INTO moved VALUES (%s, %s) ON DUPLICATE KEY UPDATE v = v + 1",
            (one, chance.getrandbits(40)),
        )


def scatter(chance: random.Random, cursor: Cursor) -> None:
    """Rows without a key come, change and go."""
    what = chance.randint(0, 5)
    if what == 0:
        cursor.execute("DELETE FROM loose WHERE who = %s LIMIT 1", (chance.randint(1, 5),))
    elif what == 1:
        cursor.execute(
            "UPDATE loose SET n = %s WHERE who = %s LIMIT 1",
            (chance.getrandbits(40), chance.randint(1, 5)),
        )
    else:
        cursor.execute(
            "INSERT INTO loose VALUES (%s, %s)", (chance.randint(1, 5), chance.getrandbits(40))
        )


ACTS: Mapping[str, tuple[float, Act]] = {
    "count up": (4, count_up),
    "move": (3, move),
    "scatter": (3, scatter),
}

_WATCH = """
CREATE TABLE public.regressions (id int, old bigint, new bigint, at timestamptz DEFAULT now());
CREATE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NEW.v <= OLD.v THEN
        INSERT INTO public.regressions (id, old, new) VALUES (NEW.id, OLD.v, NEW.v);
    END IF;
    RETURN NEW;
END $$;
"""


@dataclass
class Stack:
    """A broker and a worker of Connect that may be killed; both come back with their data."""

    broker: Server
    worker: Server

    def kill(self, name: str, pause: float) -> None:
        """SIGKILL for one of them; it is started again after so many seconds."""
        server: Server = getattr(self, name)
        server.stop(kill=True)
        time.sleep(pause)
        setattr(self, name, server.restart())

    def end(self) -> None:
        """For good."""
        for server in (self.worker, self.broker):
            with suppress(ProcessLookupError):
                server.stop(kill=True)


@dataclass
class Group:
    """A pipeline under load. `variant`: of ``tests.crash.launch``, '' for the program as it is."""

    project: KafkaProject
    stack: Stack
    chance: random.Random
    traffic: Traffic
    variant: str = ""
    consumers: list[Daemon] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)

    # -- consumers ---------------------------------------------------------------------------

    def start(self, *, kill_at: str = "", stop_at: str = "") -> Daemon:
        """One more consumer."""
        variant = self.variant or ("copying" if stop_at.startswith(COPYING) else "")
        self.project.command = (*LAUNCH, variant) if variant else ()
        daemon = self.project.background(
            "sync", "--debug", DBBRIDGE_KILL_AT=kill_at, DBBRIDGE_STOP_AT=stop_at
        )
        self.project.command = ()
        self.consumers.append(daemon)
        return daemon

    def end(self, consumer: Daemon) -> None:
        """In order."""
        self.consumers.remove(consumer)
        consumer.stop(PATIENCE)

    def held(self, consumer: Daemon) -> int:
        """How many partitions the consumer has."""
        return int(
            self.project.ask(
                "SELECT count(*) FROM dbbridge.partitions WHERE holder LIKE %s",
                f"%:{consumer.process.pid}:%",
            )[0][0]
        )

    def await_share(self) -> None:
        """Waits until all consumers have some partitions."""

        def shared() -> bool:
            self.check()
            return all(map(self.held, self.consumers))

        self.project.wait_until(shared, PATIENCE)

    def check(self) -> None:
        """No consumer has ended by itself, no table has stopped, no writer failed."""
        self.traffic.check()
        self.project.streaming()
        for consumer in self.consumers:
            assert consumer.running, f"ended with {consumer.process.returncode}:\n{consumer.log}"

    def applied(self) -> int:
        """The sum of the offsets."""
        found = self.project.ask("SELECT sum(next_offset) FROM dbbridge.partitions")
        return int(found[0][0] or 0)

    def await_progress(self) -> None:
        """Waits until something more is applied in each partition."""
        query = "SELECT topic, partition, next_offset FROM dbbridge.partitions"
        before = {(t, n): at for t, n, at in self.project.ask(query)}

        def all_moved() -> bool:
            self.check()
            return all(at > before.get((t, n), -1) for t, n, at in self.project.ask(query))

        self.project.wait_until(all_moved, PATIENCE)

    # -- faults ------------------------------------------------------------------------------

    def count(self, kind: str) -> None:
        """One fault more."""
        self.made[kind] += 1
        MADE["kafka"][kind] += 1

    def kill(self) -> None:
        """SIGKILL to any consumer; another one comes, soon or after it was given up."""
        victim = self.chance.choice(self.consumers)
        self.consumers.remove(victim)
        assert victim.running, victim.log
        victim.kill()
        self.count("consumer killed")
        time.sleep(self.chance.choice((0.0, 0.0, 1.5 * SESSION_SECONDS)))
        self.start()

    def kill_at(self, point: str, number: int, soon: float = SOON) -> None:
        """A consumer joins, and dies at the point, or elsewhere if it does not come there soon."""
        consumer = self.start(kill_at=f"{point}:{number}")
        self.consumers.remove(consumer)
        with suppress(subprocess.TimeoutExpired):
            consumer.process.wait(soon)
        there = not consumer.running
        consumer.kill()
        assert consumer.process.returncode == -signal.SIGKILL, consumer.log
        self.count(f"consumer killed at {point}" if there else "consumer killed")

    def freeze(self) -> None:
        """Any consumer stands still at any moment, until others have its partitions."""
        victim = self.chance.choice(self.consumers)
        victim.send(signal.SIGSTOP)
        self._wake(victim, "consumer frozen")

    def freeze_at(self, point: str, number: int, soon: float = SOON) -> None:
        """A consumer joins, stands still at the point until others have its partitions, and goes.

        If it does not come there soon, it is killed.
        """
        consumer = self.start(stop_at=f"{point}:{number}")
        deadline = time.monotonic() + soon
        while process_state(consumer.process.pid) != "T":
            assert consumer.running, consumer.log
            if time.monotonic() > deadline:
                self.consumers.remove(consumer)
                consumer.kill()
                self.count("consumer killed")
                return
            time.sleep(0.05)
        self._wake(consumer, f"consumer frozen at {point}")
        self.await_share()
        self.end(consumer)

    def _wake(self, consumer: Daemon, kind: str) -> None:
        time.sleep(SESSION_SECONDS)
        try:
            self.project.wait_until(lambda: not self.held(consumer), PATIENCE)
            time.sleep(self.chance.choice((0.0, 1.0, 3.0)))
        finally:
            consumer.send(signal.SIGCONT)
        self.count(kind)

    def kill_broker(self) -> None:
        """It comes back with its data. Consumers do not begin without it, nor without Connect."""
        self.await_share()
        self.stack.kill("broker", self.chance.uniform(0.0, 2.0))
        self.count("broker killed")

    def kill_connect(self) -> None:
        """It comes back, and goes on with its connector."""
        self.await_share()
        self.stack.kill("worker", self.chance.uniform(0.0, 1.0))
        self.count("Connect killed")

    def cut(self) -> None:
        """All sessions of the consumers in the target end, some in the middle of a transaction."""
        self.project.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            " AND application_name LIKE 'dbbridge consumer%%'",
            self.project.accounts.name,
        )
        self.count("sessions cut")

    def resize(self) -> None:
        """From two consumers to three, or back."""
        if len(self.consumers) > 2:
            self.end(self.chance.choice(self.consumers))
            self.count("consumer left")
        else:
            self.start()
            self.count("consumer came")

    def something(self) -> None:
        """Any of these, at random, the rarer the likelier."""
        kinds = {
            "consumer killed": (4.0, self.kill),
            "consumer frozen": (1.0, self.freeze),
            "broker killed": (1.0, self.kill_broker),
            "Connect killed": (0.7, self.kill_connect),
            "sessions cut": (1.0, self.cut),
            "resized": (1.0, self.resize),
            "point": (4.0, self._at_some_point),
            "frozen at": (1.5, self._frozen_somewhere),
        }
        weights = [weight for weight, _ in kinds.values()]
        name = self.chance.choices(list(kinds), weights)[0]
        print(f"{self.made.total()} {name}", flush=True)
        kinds[name][1]()

    def _at_some_point(self) -> None:
        point = self._rarest("killed", KAFKA_POINTS)
        self.kill_at(point, self.chance.choice((1, 2) if point == KAFKA_POINTS[0] else (1, 2, 7)))

    def _frozen_somewhere(self) -> None:
        self.freeze_at(self._rarest("frozen", FROZEN_AT), self.chance.choice((1, 2, 3)))

    def _rarest(self, what: str, points: tuple[str, ...]) -> str:
        weights = [1 / (1 + 3 * self.made[f"consumer {what} at {p}"]) for p in points]
        return self.chance.choices(points, weights)[0]

    # -- the end -----------------------------------------------------------------------------

    def settle(self) -> None:
        """The writers rest, and the consumers that run catch up."""
        self.traffic.stop()
        goal = self.project.log_end()
        self.project.wait_until(lambda: self.project.position() >= goal, SETTLE_SECONDS)

    def wrong(self) -> list[str]:
        """What was lost, doubled, or applied in another order."""
        stages = self.project.stages()
        found = [f"{name}: {stage}" for name, stage in stages.items() if stage != "streaming"]
        tables = [name for name, stage in stages.items() if stage == "streaming"]
        _, differences = compare(self.project.source, self.project.target, tables=tables)
        back = self.project.ask("SELECT id, old, new FROM public.regressions ORDER BY at")
        found += map(str, differences)
        found += [f"counter {key} went from {old} to {new}" for key, old, new in back]
        return found

    def judge(self) -> None:
        """Nothing was."""
        self.check()
        self.settle()
        self.check()
        wrong = self.wrong()
        assert not wrong, "\n".join(wrong)
        done = self.traffic.done
        print(f"{self.made.total()} faults, {done.total()} acts {dict(done)}: {dict(self.made)}")


def load(project: KafkaProject, seed: int) -> Traffic:
    """Writers that have not begun."""
    return Traffic(project.source, seed, rate=RATE, acts=ACTS)


def begin(project: KafkaProject, stack: Stack, seed: int, *, variant: str = "") -> Group:
    """Two consumers stream; the writers wait for their start."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for name, body in TABLES.items():
            cursor.execute(f"CREATE TABLE {name} ({body})")
        rows = [(n, 0, "") for n in range(1, KEYS + 1)]
        cursor.executemany("INSERT INTO counter VALUES (%s, %s, %s)", rows)
    project.start_connector(single=SINGLE)
    project.init()
    project.consent_to_lock("loose")
    project.apply_schema()
    group = Group(project, stack, random.Random(seed), load(project, seed), variant)
    for consumer in (group.start(), group.start()):
        project.wait_streaming(consumer)
    with project.target.connect() as there:
        there.execute(_WATCH)
        there.execute(
            f'CREATE TRIGGER watch BEFORE UPDATE ON "{project.source.name}".counter'
            " FOR EACH ROW EXECUTE FUNCTION public.watch()".encode()
        )
    return group
