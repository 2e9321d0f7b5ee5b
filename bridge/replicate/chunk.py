"""One chunk of a copy: the same in the daemon's own threads and in workers elsewhere.

A chunk's rows, its quarantine and its done mark are one transaction, which has the chunk's row
locked from its beginning: whoever reads a chunk is the only one, and whoever dies or is cut off
leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pymysql

from bridge.capture.binlog.positions import seen_gtids
from bridge.capture.chunks import Bound
from bridge.capture.snapshot import keyless_snapshot, read_chunk
from bridge.change.batch import BadRow
from bridge.change.position import Position
from bridge.replicate.points import passing
from bridge.replicate.servers import Servers
from bridge.sink.copy import copy_blocks
from bridge.sink.quarantine import Quarantine
from bridge.sink.target import Target
from bridge.store.state import Connection, Q, bind


@dataclass(frozen=True, slots=True)
class Chunk:
    """Keys after `lower` up to and with `upper`; None: from the beginning, to the end."""

    number: int
    lower: Bound | None
    upper: Bound | None


def copy_chunk(
    conn: Connection,
    source: pymysql.Connection[Any],
    servers: Servers,
    target: Target,
    names: dict[str, Any],
) -> tuple[int, int] | None:
    """Copies the chunk that `names` binds; (rows, bytes), or None if it is done or being read.

    Must be called inside a transaction that has checked the epoch. Raises TableStopped and the
    drivers' errors; the transaction can then only be rolled back.
    """
    taken = conn.execute(Q["take_chunk"], names).fetchone()
    if taken is None:
        return None
    plan = target.plan
    bad: list[BadRow] = []
    position: Position | None = None
    if plan.key:
        blocks = read_chunk(source, plan, bound(taken[0]), bound(taken[1]), bad)
    else:
        position, blocks = keyless_snapshot(servers.copy_source, plan)
    passing("copy.chunk-read")
    rows, size = copy_blocks(conn, plan, target.relation, blocks, bad)
    if position is not None:
        # Only now, since the lock on the table's row keeps operators waiting.
        if servers.replica:
            position = replace(position, file="", offset=0)
        conn.execute(Q["exact_frontier"], {**names, **bind(position)})
    Quarantine(names["pipeline"]).add(conn, target, bad)
    seen = seen_gtids(source)
    conn.execute(Q["chunk_done"], {**names, "seen": seen.text if seen else None})
    conn.execute(Q["copied_more"], {**names, "rows": rows, "bytes": size})
    return rows, size


def bound(stored: list[bytes] | None) -> Bound | None:
    """A bound as the control schema gives it."""
    return None if stored is None else tuple(stored)


def stored(given: Bound | None) -> list[bytes] | None:
    """A bound as the control schema takes it."""
    return None if given is None else list(given)
