"""Beside the daemon's engine: the streams back of groups that the target has, and the census."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import psycopg
import pymysql
import structlog
from psycopg.types.json import Jsonb

from bridge.cutover.census import Census
from bridge.cutover.opening import serving_plans, tables_of
from bridge.cutover.wayback import Course, Q, begun, courses, idle_slots, tell
from bridge.databases import mysql
from bridge.databases.endpoint import Endpoint
from bridge.errors import BridgeError
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.daemon import Runs
from bridge.reverse.run import Facts, Reverse
from bridge.reverse.slots import advance, read_slot, slot_name

LOOK_SECONDS = 0.1
READ_SECONDS = 10.0
TELL_SECONDS = 1.0
ADVANCE_SECONDS = 10.0
RETRY_SECONDS = 30.0
PAUSE_SECONDS = 1.0
"""Between two tries of what goes wrong with one group alone."""

log = structlog.get_logger("dbbridge.sync")


class Beside(Protocol):
    """A thread of the daemon's."""

    def start(self) -> None:
        """Begins."""
        ...

    def stop(self) -> None:
        """Ends."""
        ...


@dataclass(frozen=True)
class Attended:
    """An engine, and what is kept running beside it, as long as it runs."""

    engine: Runs
    beside: tuple[Beside, ...]

    def run(self) -> None:
        """See `Runs`."""
        for each in self.beside:
            each.start()
        try:
            self.engine.run()
        finally:
            for each in self.beside:
                each.stop()


class Keeper:
    """Starts and ends reverse streams as the journal says; a thread of its own.

    What goes wrong with one group is tried again, and keeps no other group's stream from running.
    `open_target`: a session in autocommit mode, as the daemon's are.
    """

    def __init__(
        self,
        pipeline: str,
        source: Endpoint,
        target: Endpoint,
        open_target: Callable[[], psycopg.Connection[Any]],
        mappings: Callable[[], Mapping[TableName, TableMapping]],
    ) -> None:
        self._pipeline = pipeline
        self._source = source
        self._target = target
        self._open_target = open_target
        self._mappings = mappings
        self._halt = threading.Event()
        self._running: dict[str, tuple[Course, Reverse]] = {}
        self._told = self._advanced = 0.0
        self._stopped: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._census = Census(pipeline)
        self._thread = threading.Thread(target=self._run, name="ways-back", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends all streams, each at a commit of the source."""
        self._halt.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._halt.is_set():
                try:
                    with closing(self._open_target()) as conn:
                        self._keep(conn)
                except (psycopg.Error, pymysql.Error, BridgeError, OSError) as error:
                    log.warning("ways-back-wait", reason=str(error))
                    self._halt.wait(1.0)
        finally:
            for _, stream in self._running.values():
                stream.stop()

    def _keep(self, conn: psycopg.Connection[Any]) -> None:
        while not self._halt.wait(LOOK_SECONDS):
            wanted = courses(conn, self._pipeline)
            for group in [*self._running]:
                course, stream = self._running[group]
                if wanted.get(group) != course or self._gave_up(group, stream):
                    stream.stop()
                    del self._running[group]
            for group, course in wanted.items():
                if group not in self._running:
                    self._apart(conn, f"way back of {group}", partial(self._begin, conn, course))
            if time.monotonic() - self._told >= TELL_SECONDS:
                self._tell(conn)
            if time.monotonic() - self._advanced >= ADVANCE_SECONDS:
                self._advance(conn)
            if self._census.due():
                self._apart(conn, "census", partial(self._count, conn))

    def _apart(self, conn: psycopg.Connection[Any], part: str, act: Callable[[], None]) -> None:
        """Something that is one group's, or nobody's: when it goes wrong, it waits alone."""
        if time.monotonic() < self._waiting.get(part, 0.0):
            return
        try:
            act()
        except (psycopg.Error, pymysql.Error, BridgeError, OSError) as error:
            if conn.closed:
                raise
            log.warning("ways-back-wait", part=part, reason=str(error))
            self._waiting[part] = time.monotonic() + PAUSE_SECONDS

    def _count(self, conn: psycopg.Connection[Any]) -> None:
        with closing(mysql.connect(self._source, read_timeout=READ_SECONDS)) as source:
            self._census.tick(source, conn)

    def _gave_up(self, group: str, stream: Reverse) -> bool:
        """Whether it stopped for a reason that somebody may have mended meanwhile."""
        if stream.running:
            self._stopped.pop(group, None)
            return False
        since = self._stopped.setdefault(group, time.monotonic())
        return time.monotonic() - since > RETRY_SECONDS

    def _advance(self, conn: psycopg.Connection[Any]) -> None:
        """Slots of groups that wait for a switch keep nothing: all comes from the source yet.

        The position is read before the states: a group that flips meanwhile does so behind it.
        """
        self._advanced = time.monotonic()
        (here,) = conn.execute(Q["here"]).fetchone() or (0,)
        for slot in idle_slots(conn, self._pipeline):
            self._apart(conn, slot, partial(advance, conn, slot, int(here)))

    def _begin(self, conn: psycopg.Connection[Any], course: Course) -> None:
        stream = Reverse(
            self._source,
            self._target,
            self._pipeline,
            course.group,
            self._plans(conn, course.group),
            epoch=course.epoch,
            flip=course.start,
        )
        begun(conn, self._pipeline, course)
        stream.start()
        self._running[course.group] = course, stream
        log.info("way-back", group=course.group, epoch=course.epoch)

    def _plans(self, conn: psycopg.Connection[Any], group: str) -> tuple[TablePlan, ...]:
        mappings = self._mappings()
        names = tables_of(mappings, group)
        with closing(mysql.connect(self._source)) as source:
            return serving_plans(source, conn, self._pipeline, mappings, names)

    def _tell(self, conn: psycopg.Connection[Any]) -> None:
        self._told = time.monotonic()
        for group, (course, stream) in self._running.items():
            slot = read_slot(conn, slot_name(conn.info.dbname, self._pipeline, group))
            stream.press(slot is not None and slot.state == "unreserved")
            if (facts := stream.facts()).known:
                tell(conn, self._pipeline, course, Jsonb(_status(facts)))


def _status(facts: Facts) -> dict[str, Any]:
    return {
        "lag_seconds": None if facts.lag_seconds is None else round(facts.lag_seconds, 3),
        "rows": facts.rows,
        "rows_per_second": round(facts.rows_per_second, 1),
        "unrepresentable": facts.unrepresentable,
        "rollback_available": facts.rollback_available,
        "error": facts.error.message if facts.error else None,
        "stopped": facts.stopped,
    }
