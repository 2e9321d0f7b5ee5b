"""The publication, the replication slot and the replica identities of a group.

Made before a switch, in this order: a publication made after the slot makes decoding fail, and a
slot's creation waits for every transaction that writes, in any database of the server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from bridge.databases.postgres import limit_locks
from bridge.errors import BridgeError, ServerRefused
from bridge.mapping.plan import TablePlan
from bridge.names import POSTGRES_NAME_BYTES, quote_postgres
from bridge.reverse.ledger import Q
from bridge.reverse.pgoutput import format_lsn
from bridge.reverse.publication import publish


class SlotLost(BridgeError):
    """What the source has not got is not in the target's WAL any more."""


class SlotBlocked(BridgeError):
    """A slot could not be made in time, since transactions that write are open."""

    transient = True


def slot_name(database: str, pipeline: str, group: str) -> str:
    """The name of a group's slot and publication.

    Slots are named in the whole server, in small letters, digits and _ only.
    """
    whole = f"{database}\0{pipeline}\0{group}".encode()
    mark = "_" + hashlib.sha256(whole).hexdigest()[:10]
    plain = re.sub(r"[^a-z0-9]+", "_", f"dbbridge_{pipeline}_{group}".lower()).strip("_")
    return plain[: POSTGRES_NAME_BYTES - len(mark)] + mark


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as the server tells of it; sizes in bytes.

    `state` is 'reserved', 'extended', 'unreserved' (its WAL may go at the next checkpoint) or
    'lost'. `retained`: WAL that is kept for it. `safe`: what may still be written before it is in
    danger; `most`: max_slot_wal_keep_size (both None: no limit).
    """

    name: str
    state: str
    active: bool
    confirmed: int
    retained: int
    safe: int | None
    most: int | None


def read_slot(conn: psycopg.Connection[Any], name: str) -> Slot | None:
    """The slot; None if there is none."""
    row = conn.execute(Q["slot"], {"slot": name}).fetchone()
    if row is None:
        return None
    _, _, active, state, safe, confirmed, retained, most = row
    return Slot(
        name,
        str(state or "lost"),
        active is not None,
        int(confirmed or 0),
        int(retained or 0),
        None if safe is None else int(safe),
        None if most is None or most < 0 else int(most),
    )


def check_slot(conn: psycopg.Connection[Any], name: str, position: int) -> int:
    """Where the target's log ends, if the slot has all of it from the source's position on.

    Raises SlotLost.
    """
    slot = read_slot(conn, name)
    if slot is None or slot.state == "lost":
        what = "does not exist any more" if slot is None else "has lost its WAL"
        raise SlotLost(
            f"the replication slot {name} {what}",
            "what was written in the target since is not in the source, and there is no way back;"
            " copy the group anew for another switch, and raise max_slot_wal_keep_size",
        )
    if slot.confirmed > position:
        raise SlotLost(
            f"the source is at {format_lsn(position)}, but the replication slot {name} was told"
            f" {format_lsn(slot.confirmed)}",
            "the source has lost commits (a failover to a replica that did not have them?):"
            " compare with dbbridge verify",
        )
    (here,) = map(int, conn.execute(Q["here"]).fetchone() or (0,))
    if position > here:
        raise SlotLost(
            f"the source is at {format_lsn(position)}, and the target only at {format_lsn(here)}",
            "the target has lost commits (a failover to a replica that did not have them?), and the"
            " source has them: what the target writes next would be taken for old; compare with"
            " dbbridge verify",
        )
    return here


def arm(
    conn: psycopg.Connection[Any],
    pipeline: str,
    group: str,
    plans: Sequence[TablePlan],
    *,
    lock_seconds: float = 10.0,
    slot_seconds: float | None = None,
) -> Slot:
    """Makes publication, identities and slot, as far as they are not there; returns the slot.

    The slot waits for all transactions of the server that write, and hinders nobody meanwhile:
    `slot_seconds` (None: as for locks) may be longer than what writers can wait for a lock.
    `conn` is in autocommit mode. Raises SlotBlocked with those who are in the way, SlotLost for a
    slot that is lost (`disarm` first), ServerRefused.
    """
    name = slot_name(conn.info.dbname, pipeline, group)
    names = {"pipeline": pipeline, "group": group}
    try:
        with conn.transaction():
            limit_locks(conn, lock_seconds)
            publish(conn, name, names, plans)
    except psycopg.errors.LockNotAvailable as error:
        raise _blocked(conn, "the publication") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise ServerRefused(
            f"the publication of group {group}: {error.diag.message_primary}",
            "the role must own the tables, and needs CREATE on the database",
        ) from error
    slot = read_slot(conn, name)
    if slot is None:
        _create(conn, name, lock_seconds if slot_seconds is None else slot_seconds)
        slot = read_slot(conn, name)
    if slot is None or is_lost(slot):
        raise SlotLost(
            f"the replication slot {name} is lost",
            "it is removed, and the next switch makes another; is max_slot_wal_keep_size enough?",
        )
    return slot


def is_lost(slot: Slot | None) -> bool:
    """Whether nothing can be read from it any more, or it is not there."""
    return slot is None or slot.state == "lost"


def advance(conn: psycopg.Connection[Any], name: str, lsn: int) -> None:
    """Lets the slot forget what committed before a position; nothing may be reading it.

    One that is lost stays so.
    """
    slot = read_slot(conn, name)
    if slot is not None and not is_lost(slot) and slot.confirmed < lsn:
        conn.execute("SELECT pg_replication_slot_advance(%s, %s::pg_lsn)", (name, format_lsn(lsn)))


def disarm(conn: psycopg.Connection[Any], pipeline: str, group: str) -> None:
    """Drops slot and publication, and gives the tables their replica identities back.

    Raises ServerRefused while somebody reads the slot.
    """
    name = slot_name(conn.info.dbname, pipeline, group)
    names = {"pipeline": pipeline, "group": group}
    try:
        if read_slot(conn, name) is not None:
            conn.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    except psycopg.errors.ObjectInUse as error:
        raise ServerRefused(
            f"the replication slot {name} is in use: {error.diag.message_primary}",
            "end the daemon, or its reverse replication, first",
        ) from error
    with conn.transaction():
        conn.execute(f"DROP PUBLICATION IF EXISTS {quote_postgres(name)}".encode())
        for schema, table, identity in conn.execute(Q["identities"], names).fetchall():
            place = f"{quote_postgres(schema)}.{quote_postgres(table)}"
            found = conn.execute("SELECT to_regclass(%s)", (place,)).fetchone()
            if found and found[0]:
                conn.execute(f"ALTER TABLE {place} REPLICA IDENTITY {identity}".encode())
        conn.execute(Q["forget_identities"], names)


def marker(conn: psycopg.Connection[Any], content: str = "") -> int:
    """Writes a marker into the target's log, and returns its position.

    Once everything before it is applied (`Facts.applied` has reached it), all that had committed
    when this was called is in the source.
    """
    row = conn.execute(Q["marker"], {"content": content}).fetchone()
    assert row is not None
    return int(row[0])


def _create(conn: psycopg.Connection[Any], name: str, lock_seconds: float) -> None:
    try:
        with conn.transaction():
            limit_locks(conn, lock_seconds)
            conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    except psycopg.errors.DuplicateObject:
        return
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise _blocked(conn, "the replication slot") from error
    except psycopg.errors.Error as error:
        raise ServerRefused(
            f"the replication slot {name} cannot be made: {error.diag.message_primary or error}",
            "`dbbridge cutover plan` names what is missing, and the command for it",
        ) from error


def _blocked(conn: psycopg.Connection[Any], what: str) -> SlotBlocked:
    found = [
        f"pid {pid} ({user}@{database} {program}, {seconds:.0f} s)".replace(" ,", ",")
        for pid, user, database, program, seconds in conn.execute(Q["writers"]).fetchall()
    ]
    found += [
        f"prepared transaction {gid} ({owner}@{database}, {seconds:.0f} s)"
        for gid, owner, database, seconds in conn.execute(Q["prepared"]).fetchall()
    ]
    named = "; ".join(found) or "somebody who is gone by now"
    return SlotBlocked(
        f"{what} waits for transactions that write: {named}",
        "it is tried again; end them with SELECT pg_terminate_backend(pid), or wait",
    )


__all__ = [
    "Slot", "SlotBlocked", "SlotLost", "advance", "arm", "check_slot", "disarm",
    "marker", "read_slot", "slot_name",
]  # fmt: skip
