"""The steps of a reverse, from the target to the source, and of its undoing; and of the end.

Each may be done again, whole or after it was cut off anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pymysql

from bridge.cutover import sequences
from bridge.cutover.attempt import FenceNotes
from bridge.cutover.fences.target import release
from bridge.cutover.points import passing
from bridge.cutover.wayback import Detail
from bridge.cutover.work import Work
from bridge.errors import BridgeError
from bridge.names import TableName
from bridge.replicate import ops


class NotHeld(BridgeError):
    """Rows came that the source has no place for: without the target they would be lost."""


class NotPutAway(BridgeError):
    """A table of the source keeps its name; there is no way back any more all the same."""


def fence(work: Work) -> Detail:
    """Keeps all writers out of the target."""
    work.note_epoch()
    work.hook("before_fence")
    passing("reverse-fencing.begun")
    work.close()
    passing("reverse-fencing.closed")
    proof = work.fence_target()
    passing("reverse-fencing.fenced")
    return {"ended": [str(each) for each in proof.ended]}


def drain(work: Work) -> Detail:
    """Waits until the source has all; nobody sends it anything from then on.

    Raises NotHeld: the check that follows only sees rows that the source has ever had.
    """
    mark = work.way_back.mark()
    passing("reverse-draining.marked")
    what = "the reverse stream has not brought the last changes"
    seconds = work.wait(lambda: work.way_back.passed(mark), what)
    work.way_back.end(work.row("closed", 1).epoch)
    passing("reverse-draining.ended")
    rows, named = work.way_back.unheld()
    if rows:
        raise NotHeld(
            f"{rows} rows of the target cannot be held by the source: {', '.join(named)}",
            "mend or delete them in the target",
        )
    return {"marker": mark, "seconds": round(seconds, 3)}


def check(work: Work) -> Detail:
    """Both sides must be proven equal, up to this moment."""
    fence = work.fence_position()
    number = work.mark("switched")
    work.wait(lambda: work.reached(number), "the stream does not move")
    return {"position": str(fence), "rows": work.checker.conclude(fence, kept_out=True)}


def sequence(work: Work) -> Detail:
    """Makes the source ready to be written to, and the target to be streamed to."""
    work.left()
    work.carry_answers()
    raised = sequences.raise_source(work.source, work.target, work.plans)
    passing("reverse-sequencing.raised")
    work.remove()
    passing("reverse-sequencing.removed")
    return {"sequences": [each.document() for each in raised]}


def open_source(work: Work) -> Detail:
    """The source has authority again, once its log says so."""
    passing("reverse-flipping.begun")
    number = work.mark("streaming")
    passing("reverse-flipping.marked")
    work.set_source(work.row("source", 2))
    passing("reverse-flipping.opened")
    lost = work.release_source()
    work.opened_at = time.monotonic()
    work.set_target(work.row("source", 2))
    work.hook("after_flip")
    return {"marker": number, "lost": lost}


def undo(work: Work) -> Detail:
    """The target is opened again, and the source follows it again."""
    work.note_epoch()
    work.way_back.resume(work.row("target", 2).epoch)
    passing("reverse-aborting.resumed")
    work.install()
    lost = release(work.target, FenceNotes(work.attempt, "target_fence"))
    passing("reverse-aborting.released")
    work.set_target(work.row("target", 2))
    work.set_source(work.row("target", 2))
    work.hook("on_abort")
    return {"lost": lost}


def complete(work: Work) -> Detail:
    """The target keeps authority for good: no way back, and nothing of it is left."""
    work.way_back.disarm()
    passing("completing.disarmed")
    renamed = put_away(work.source, work.tables) if work.attempt.evidence.get("put_away") else []
    return {"renamed": renamed}


def put_away(source: pymysql.Connection[Any], tables: Sequence[TableName]) -> list[str]:
    """Renames the source's tables, so that nobody reads old rows; returns their new names."""
    made = []
    with source.cursor() as cursor:
        for name in tables:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables"
                " WHERE (table_schema, table_name) = (%s, %s)",
                (name.schema, name.table),
            )
            if cursor.fetchone():
                _rename(cursor, name)
            made.append(str(ops.put_away_name(name)))
    return made


def _rename(cursor: pymysql.cursors.Cursor, name: TableName) -> None:
    try:
        cursor.execute(ops.put_away(name))
    except pymysql.Error as error:
        raise NotPutAway(
            f"{name} cannot be renamed: {error.args[-1]}",
            "mend that, or leave the source's tables as they are: dbbridge cutover complete"
            " --keep-data",
        ) from error
