"""The lease: one daemon a pipeline, and no stale one ever writes.

Two things together. A session advisory lock says whether the holder lives: PostgreSQL drops it with
the holder's connection. The pipeline's epoch makes it safe: it rises with each takeover, and every
target transaction of the daemon checks it (`guard`, or the UPDATE of the position), so that a
daemon that was stopped in the middle and wakes up late cannot commit.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from bridge.databases.postgres import limit_locks
from bridge.errors import LeaseHeld, LeaseLost
from bridge.store.state import Connection, DaemonState, Q, read_daemon

STALE_SECONDS = 30.0
"""A holder that has not renewed for so long is taken over even if its connection still stands."""
PATIENCE_SECONDS = 3.0
"""How long to wait for PostgreSQL to notice that a killed holder's connection is gone."""
LOCK_SECONDS = 2.0
"""How long transactions of the epoch before are waited for, before their sessions are ended."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a pipeline's writers share: the epoch under which they write."""

    pipeline: str
    epoch: int

    def guard(self, conn: Connection) -> None:
        """Makes the transaction open on `conn` fail unless the epoch is still the current one.

        Takes FOR KEY SHARE on the pipeline's row until the transaction ends: it does not hinder the
        main stream's update of the position, and a takeover (FOR UPDATE) waits for it.
        """
        row = conn.execute(
            Q["hold_epoch"], {"pipeline": self.pipeline, "epoch": self.epoch}
        ).fetchone()
        if row is None:
            raise self.lost()

    def lost(self) -> LeaseLost:
        """The error for a transaction that found another epoch."""
        return LeaseLost(
            f"another daemon took over pipeline “{self.pipeline}”; this one wrote nothing more",
            "see who runs it: dbbridge status",
        )


@dataclass(frozen=True, slots=True)
class Lease(Fence):
    """Proof of holding a pipeline; `conn` carries the advisory lock and must stay open."""

    conn: Connection

    def renew(self, status: dict[str, Any]) -> None:
        """Says that the holder lives, and what it does."""
        done = self.conn.execute(
            Q["renew"],
            {"pipeline": self.pipeline, "epoch": self.epoch, "status": Jsonb(status)},
        )
        if done.rowcount != 1:
            raise self.lost()

    def end_silent_readers(self) -> None:
        """Ends the sessions of workers that froze over a chunk, so that others can read it."""
        names = {"pipeline": self.pipeline, "stale": STALE_SECONDS}
        self.conn.execute(Q["end_silent_readers"], names)

    def release(self) -> None:
        """Gives the lease back; the next daemon starts at once."""
        self.conn.execute(Q["release"], {"pipeline": self.pipeline, "epoch": self.epoch})


def application_name(pipeline: str) -> str:
    """How the daemon's sessions are marked in pg_stat_activity (at most 63 bytes there)."""
    return f"dbbridge sync {pipeline}".encode()[:63].decode(errors="ignore")


def consumer_name(pipeline: str) -> str:
    """The same for the sessions of its consumers, which no takeover of the lease ends."""
    return f"dbbridge consumer {pipeline}".encode()[:63].decode(errors="ignore")


def acquire(conn: Connection, pipeline: str) -> Lease:
    """Takes the lease over `conn` (autocommit, kept open by the caller for the lease's life).

    Raises LeaseHeld naming a living holder. A holder whose process is gone or which has been silent
    for `STALE_SECONDS` is taken over: its sessions are ended first.
    """
    conn.execute(Q["ensure_pipeline"], {"pipeline": pipeline})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _locked(conn, pipeline):
        holder = read_daemon(conn, pipeline)
        if holder is not None and _dead(holder):
            _end_sessions(conn, pipeline)
        elif time.monotonic() > deadline:
            raise LeaseHeld(
                f"pipeline “{pipeline}” is already run by {_describe(holder)}",
                "stop that one first, or look at it: dbbridge status",
            )
        time.sleep(0.05)
    return Lease(pipeline, _raise_epoch(conn, pipeline), conn)


def end_own_sessions(conn: Connection, pipeline: str) -> None:
    """Ends all sessions of the pipeline's daemon but `conn`, if this process is that daemon."""
    holder = read_daemon(conn, pipeline)
    if holder is not None and _me() == {
        "host": holder.host,
        "boot": holder.boot,
        "pid": holder.pid,
    }:
        _end_sessions(conn, pipeline)


def _locked(conn: Connection, pipeline: str) -> bool:
    row = conn.execute(Q["try_lock"], {"pipeline": pipeline}).fetchone()
    return bool(row and row[0])


def _raise_epoch(conn: Connection, pipeline: str) -> int:
    """Waits for transactions of the old epoch; those of a stopped process are ended."""
    for attempt in range(10):
        try:
            with conn.transaction():
                limit_locks(conn, LOCK_SECONDS)
                conn.execute(Q["lock_epoch"], {"pipeline": pipeline})
                row = conn.execute(Q["raise_epoch"], {"pipeline": pipeline}).fetchone()
                assert row is not None
                names = {"pipeline": pipeline, "epoch": row[0], **_me()}
                conn.execute(Q["set_daemon"], names)
                return int(row[0])
        except psycopg.errors.LockNotAvailable:
            if attempt == 9:
                raise
            _end_sessions(conn, pipeline)
    raise AssertionError("unreachable")


def _end_sessions(conn: Connection, pipeline: str) -> None:
    conn.execute(Q["end_stale_sessions"], {"application": application_name(pipeline)})


def _me() -> dict[str, Any]:
    return {"host": platform.node(), "boot": _boot(), "pid": os.getpid()}


def _boot() -> str:
    """Tells two machines (or two runs of one) apart that share a host name, and two containers.

    Numbers of processes mean something only within one namespace (pid_namespaces(7)).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _dead(holder: DaemonState) -> bool:
    """Whether the holder is gone, or is this very process over a connection that broke."""
    if holder.silent_seconds > STALE_SECONDS:
        return True
    if (holder.host, holder.boot) != (platform.node(), _boot()):
        return False
    if holder.pid == os.getpid():
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _describe(holder: DaemonState | None) -> str:
    if holder is None:
        return "another daemon that is just starting"
    return (
        f"process {holder.pid} on {holder.host}, running for {holder.running_seconds:.0f} s, "
        f"last heard of {holder.silent_seconds:.0f} s ago"
    )
