"""What ``dbbridge status --format json`` says, as values that the tour decides by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from compose.demo.commands import Daemon, Dbbridge, Failed

PATIENCE_SECONDS = 180.0
PAUSE_SECONDS = 0.5
"""Between two looks where a moment more does no harm: each look is a process of its own."""
QUICK_SECONDS = 0.005
BEFORE = frozenset({"new", "copying"})


@dataclass(frozen=True)
class Seen:
    """One look at the pipeline."""

    phase: str
    lag: float | None
    states: dict[str, str]
    copied: int
    inserts: int
    updates: int
    deletes: int
    quarantined: int
    error: str
    """Why a table stands still; '' if none does."""

    @classmethod
    def of(cls, document: dict[str, Any]) -> Seen:
        """Reads the command's JSON."""
        tables = document["tables"]

        def total(name: str) -> int:
            return sum(int(table[name] or 0) for table in tables)

        return cls(
            phase=document["phase"],
            lag=document["lag_seconds"],
            states={table["table"]: table["state"] for table in tables},
            copied=total("rows_copied"),
            inserts=total("inserts"),
            updates=total("updates"),
            deletes=total("deletes"),
            quarantined=total("quarantined"),
            error=next((table["error"] for table in tables if table["error"]), ""),
        )

    @property
    def streamed(self) -> int:
        """Rows that the stream has changed in the target."""
        return self.inserts + self.updates + self.deletes

    @property
    def copying(self) -> bool:
        """Whether some rows are copied and others are not yet."""
        return self.copied > 0 and bool(BEFORE & set(self.states.values()))

    @property
    def copied_all(self) -> bool:
        """Whether every table is past its copy."""
        return bool(self.states) and not BEFORE & set(self.states.values())

    @property
    def streaming(self) -> bool:
        """Whether every table takes part in the main stream."""
        return bool(self.states) and set(self.states.values()) == {"streaming"}


def look(bridge: Dbbridge) -> Seen | None:
    """One look; None before the first daemon has begun."""
    document = bridge.ask("status")
    return Seen.of(document) if document else None


def until_copied(target: str, daemon: Daemon, rows: int) -> int:
    """Waits until so many rows are copied; how many are. Raises Failed.

    Out of the control schema, since a copy may be over before `status` has started.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    with psycopg.connect(target, autocommit=True) as conn:
        while daemon.running:
            copied = 0
            with suppress(psycopg.errors.UndefinedTable):  # the daemon makes it
                found = conn.execute("SELECT sum(rows_copied) FROM dbbridge.tables").fetchone()
                copied = int(found[0] or 0) if found else 0
            if copied >= rows:
                return copied
            if time.monotonic() > deadline:
                raise Failed(f"after {PATIENCE_SECONDS:.0f} s only {copied} rows are copied")
            time.sleep(QUICK_SECONDS)
    raise Failed("`dbbridge sync` ended by itself before a part of the rows was copied")


def until_near(target: str) -> None:
    """Waits until the stream back says that it is near. Raises Failed after minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    query = "SELECT (status ->> 'lag_seconds')::float8 < 1 FROM dbbridge.way_back"
    with psycopg.connect(target, autocommit=True) as conn:
        while conn.execute(query).fetchone() != (True,):
            if time.monotonic() > deadline:
                raise Failed("the source does not follow the target")
            time.sleep(QUICK_SECONDS)


def holders(target: str) -> dict[int, int]:
    """How many partitions each process has, by its id."""
    with psycopg.connect(target, autocommit=True) as conn:
        found = conn.execute(
            "SELECT split_part(holder, ':', 2)::int, count(*) FROM dbbridge.partitions"
            " WHERE holder <> '' GROUP BY 1"
        )
        return dict(found.fetchall())


def until_held(target: str, daemons: Sequence[Daemon]) -> list[int]:
    """Waits until these processes share all partitions about evenly; how many each has.

    Raises Failed if one of them ends, or after minutes.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = holders(target)
        each = [found.pop(daemon.pid, 0) for daemon in daemons]
        if not found and min(each) * (len(each) + 1) >= sum(each) > 0:
            return each
        if not all(daemon.running for daemon in daemons):
            raise Failed("`dbbridge sync` ended by itself before it had partitions")
        if time.monotonic() > deadline:
            raise Failed(f"the processes have {each} partitions, others {sum(found.values())}")
        time.sleep(PAUSE_SECONDS / 5)


def until(
    bridge: Dbbridge,
    daemon: Daemon,
    what: str,
    reached: Callable[[Seen], bool],
) -> Seen:
    """Looks again and again until it is so. Raises Failed if the daemon ends, or after minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        alive = daemon.running
        seen = look(bridge)
        if seen and reached(seen):
            return seen
        if seen and seen.error:
            raise Failed(f"before {what}: {seen.error}")
        if not alive:
            raise Failed(f"`dbbridge sync` ended by itself before {what}")
        if time.monotonic() > deadline:
            raise Failed(f"after {PATIENCE_SECONDS:.0f} s still not: {what}; last seen: {seen}")
        time.sleep(PAUSE_SECONDS)
