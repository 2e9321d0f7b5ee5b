"""Operations of the dual-write layer as the applier sees them: claimed, and their rows evicted.

A provisional write has put rows into the target before the stream brought them. The stream claims
each operation before it writes any row of a batch: whoever is late finds the claim and writes
nothing. A row that was written early can stand in the way, in a unique index, of a change that
happened before it. It may go: a provisional write leaves rows alone that the target has already, so
the change that made the row what it is has not come yet, and brings it whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from bridge.change.batch import Op
from bridge.names import bindable
from bridge.sink.target import Target
from bridge.store.state import Q


def claim(conn: psycopg.Connection[Any], pipeline: str, ops: Sequence[Op]) -> None:
    """Claims operations for the stream, in the open transaction.

    Waits for a provisional write of one of them, which its own time limits end soon.
    """
    names = {
        "pipeline": pipeline,
        "ids": [op.op_id for op in ops],
        "numbers": [op.seq for op in ops],
    }
    conn.execute(Q["claim_ops"], names)


def evict(conn: psycopg.Connection[Any], pipeline: str, target: Target, index: str) -> bool:
    """Deletes what stands in the way of the staged rows in a unique index, if it was written early.

    Whether anything was.
    """
    if conn.execute(Q["any_early"], {"pipeline": pipeline}).fetchone() is None:
        return False
    named = {"relation": target.relation.postgres, "index": index}
    parts = [bindable(part) for (part,) in conn.execute(Q["key_of_index"], named)]
    if not parts:
        return False
    relation = bindable(target.relation.postgres)
    values = ", ".join(f"{part} AS part_{n}" for n, part in enumerate(parts))
    same = " AND ".join(f"old.part_{n} = new.part_{n}" for n in range(len(parts)))
    deleted = conn.execute(
        f"DELETE FROM {relation} WHERE ctid IN ("
        "SELECT old.place FROM"
        f" (SELECT ctid AS place, xmin AS writer, {values} FROM {relation}) old"
        f" JOIN (SELECT {values} FROM {target.stage}) new ON {same} WHERE old.writer IN"
        " (SELECT writer FROM dbbridge.applied_ops"
        " WHERE pipeline = %s AND writer IS NOT NULL))".encode(),
        (pipeline,),
    )
    return deleted.rowcount > 0
