"""The target's fence: its catalogue takes writes from nobody but the bridge.

REVOKE, and LOCK TABLE … IN SHARE ROW EXCLUSIVE MODE no later than its commit: the lock waits for
writers under way, and whoever waits for it looks at his rights again once it is gone, whatever his
isolation level (PostgreSQL checks rights by the newest catalogue, not by the snapshot). Where
writers leave no gap for the lock, REVOKE goes first, in a transaction of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from bridge.cutover.fences.base import Evidence, Limits, Notes, Proof, Session
from bridge.cutover.fences.insisting import IN_THE_WAY, Connection, insist
from bridge.databases.postgres import limit_locks
from bridge.names import TableName, quote_postgres
from bridge.store.sql import queries

Q = queries("bridge.cutover.fences", "target.sql")
GENTLE_SECONDS, LEAST_SECONDS = 0.1, 0.1
"""How long transactions under way keep their rights (one try for the lock), and what a lock is
waited for at least after that. Those of the bridge's own writers are over by then: the door waited
for them."""
RELEASE_SECONDS = 10.0
"""How long giving rights back waits for whoever changes the same table's definition or rights."""
_READS = ("AccessShareLock", "RowShareLock")
"""What SHARE ROW EXCLUSIVE does not conflict with (manual, "Explicit Locking")."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One privilege of a role on a table or on a column of it; `grantee` '' is PUBLIC."""

    schema: str
    table: str
    column: str
    grantee: str
    grantor: str
    privilege: str
    grantable: bool
    by_owner: bool

    def revoke(self) -> str:
        """REVOKE, to be run as `grantor`."""
        return f"REVOKE {self._what} FROM {self._who}"

    def grant(self) -> str:
        """GRANT, to be run as `grantor`."""
        option = " WITH GRANT OPTION" if self.grantable else ""
        return f"GRANT {self._what} TO {self._who}{option}"

    @property
    def name(self) -> TableName:
        """The table."""
        return TableName(self.schema, self.table)

    @property
    def _what(self) -> str:
        column = f" ({quote_postgres(self.column)})" if self.column else ""
        return f"{self.privilege}{column} ON TABLE {self.name.postgres}"

    @property
    def _who(self) -> str:
        return quote_postgres(self.grantee) if self.grantee else "PUBLIC"


@dataclass(frozen=True, slots=True)
class TargetFence:
    """Takes INSERT, UPDATE, DELETE and TRUNCATE on tables (and their partitions) from roles.

    `roles`: who is fenced, with what they have by other roles and PUBLIC; None for everybody.
    `exempt`: the bridge's own roles. What the owner of a table and superusers may do stays.
    """

    tables: tuple[TableName, ...]
    roles: tuple[str, ...] | None = None
    exempt: tuple[str, ...] = ()

    def names(self) -> dict[str, Any]:
        """The values of the queries."""
        return {
            "schemas": [name.schema for name in self.tables],
            "tables": [name.table for name in self.tables],
            "roles": list(self.roles) if self.roles is not None else None,
            "exempt": list(self.exempt),
        }

    def survey(self, conn: Connection) -> Evidence:
        """What `set` takes away, as it is now."""
        grants = [Grant(*row) for row in conn.execute(Q["grants"], self.names())]
        return {"kind": "target", "grants": [list(_fields(each)) for each in sorted(grants)]}

    def plan(self, evidence: Evidence) -> list[str]:
        """The statements of `set`, which are one transaction."""
        return [self._lock(), *(statement for _, statement in _revokes(_grants(evidence)))]

    def engage(self, conn: Connection, notes: Notes, limits: Limits) -> Proof:
        """Sets it and notes what was there in one transaction, or as a part of the caller's.

        May be repeated: what was granted since is taken away as well. Where the proof does not hold
        rights are as they were, but with a fence that was noted before, which keeps what was taken
        since. `notes` has to write over the same connection.

        For a moment transactions under way may go on in whatever tables they like. If they leave no
        gap by then, rights are taken first and the tables locked afterwards: each of those that
        write several tables can be a deadlock for a lock on all of them.
        """

        def take() -> None:
            now = self.survey(conn)
            _run(conn, _revokes(_grants(now)))
            # Last: what was noted is remembered by the caller, too, whatever is rolled back.
            notes.write(_merged(notes.read(), now))

        def act(seconds: float) -> None:
            with conn.transaction(), _limited(conn, seconds):
                if self.tables:
                    conn.execute(self._lock().encode())
                take()

        began, noted = time.monotonic(), notes.read() is not None
        gentle = replace(limits, seconds=min(GENTLE_SECONDS, limits.seconds), end=False)
        proof = insist(conn, act, lambda: self.blockers(conn), gentle, self.exempt)
        if proof.holds:
            return proof
        # Who alters a table or its rights would hold that up; the lock meets and names him below.
        with suppress(*IN_THE_WAY), conn.transaction(), _limited(conn, LEAST_SECONDS):
            take()
        spent = time.monotonic() - began
        rest = replace(
            limits,
            seconds=max(GENTLE_SECONDS, limits.seconds - spent),
            lock_seconds=max(LEAST_SECONDS, limits.lock_seconds - spent),
        )
        proof = insist(conn, act, lambda: self.blockers(conn), rest, self.exempt)
        if not proof.holds and not noted:
            release(conn, notes)
        return proof

    def blockers(self, conn: Connection) -> list[Session]:
        """Sessions that hold locks against it; `id` 0 for a prepared transaction."""
        return self._holders(conn, _READS)

    def holders(self, conn: Connection) -> list[Session]:
        """Sessions that hold any lock on the tables, if only since they read."""
        return self._holders(conn, ())

    def _holders(self, conn: Connection, harmless: Sequence[str]) -> list[Session]:
        names = {**self.names(), "harmless": list(harmless)}
        return [Session(*row) for row in conn.execute(Q["blockers"], names)]

    def _lock(self) -> str:
        listed = ", ".join(name.postgres for name in sorted(self.tables))
        return f"LOCK TABLE {listed} IN SHARE ROW EXCLUSIVE MODE"


@contextmanager
def _limited(conn: Connection, seconds: float) -> Iterator[None]:
    """Within a transaction: each lock is waited for that long, until the end of the block."""
    (before,) = conn.execute("SELECT current_setting('lock_timeout')").fetchone() or ("0",)
    limit_locks(conn, seconds)
    yield
    conn.execute("SELECT set_config('lock_timeout', %s, true)", (before,))


def release(conn: Connection, notes: Notes, seconds: float = RELEASE_SECONDS) -> list[str]:
    """Gives back what is noted and forgets it, in one transaction; without a note does nothing.

    Returns what could not be given back, since a table or a role is no longer there. Waits for
    locks for so many `seconds` each; raises psycopg.errors.LockNotAvailable.
    """
    with conn.transaction(), _limited(conn, seconds):
        evidence = notes.read()
        if evidence is None:
            return []
        grants, lost = [], []
        for each in _grants(evidence):
            missing = conn.execute(Q["missing"], dict(zip(_NAMES, _fields(each), strict=True)))
            (what,) = missing.fetchone() or ("",)
            if what:
                lost.append(f"{what} is no more: {each.grant()}")
            else:
                grants.append(each)
        _run(conn, [(g.grantor if not g.by_owner else "", g.grant()) for g in _from_owner(grants)])
        notes.clear()
    return lost


_NAMES = tuple(Grant.__dataclass_fields__)


def _fields(grant: Grant) -> Iterable[Any]:
    return (getattr(grant, name) for name in _NAMES)


def _grants(evidence: Evidence) -> list[Grant]:
    return [Grant(*each) for each in evidence["grants"]]


def _merged(noted: Evidence | None, now: Evidence) -> Evidence:
    """What was taken before and is still away, with what is there now."""
    earlier = _grants(noted) if noted else []
    both = sorted({*earlier, *_grants(now)})
    return {**now, "grants": [list(_fields(each)) for each in both]}


def _revokes(grants: Sequence[Grant]) -> list[tuple[str, str]]:
    """Who has to run what: grants that others hang on go last (REVOKE refuses them until then)."""
    return [
        ("" if each.by_owner else each.grantor, each.revoke())
        for each in reversed(_from_owner(grants))
    ]


def _from_owner(grants: Iterable[Grant]) -> list[Grant]:
    """In an order in which each grantor has what he grants."""
    waiting, ordered, able = sorted(grants), list[Grant](), set[tuple[str, str, str]]()
    while waiting:
        ready = [g for g in waiting if g.by_owner or (g.grantor, str(g.name), g.privilege) in able]
        # A grantor whose own right is not among them keeps it, such as the bridge.
        chosen = ready or waiting
        able |= {(g.grantee, str(g.name), g.privilege) for g in chosen if g.grantable}
        ordered += chosen
        waiting = [g for g in waiting if g not in chosen]
    return ordered


def _run(conn: Connection, statements: Iterable[tuple[str, str]]) -> None:
    """Runs statements as their grantors; '' as the session itself, which is taken for the owner."""
    ((mine,),) = conn.execute("SELECT current_setting('role')").fetchall()
    current = ""
    for role, statement in statements:
        if role != current:
            conn.execute("SELECT set_config('role', %s, true)", (role or mine,))
            current = role
        conn.execute(statement.encode())
    if current:
        conn.execute("SELECT set_config('role', %s, true)", (mine,))
