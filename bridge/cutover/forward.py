"""The steps of a switch, from the source to the target, and of its undoing.

Each may be done again, whole or after it was cut off anywhere.
"""

from __future__ import annotations

import time

from bridge.cutover import objects, sequences
from bridge.cutover.attempt import FenceNotes
from bridge.cutover.fences.target import release
from bridge.cutover.gates.looking import quarantine_waived
from bridge.cutover.points import passing
from bridge.cutover.wayback import SLOT_SECONDS, Detail
from bridge.cutover.work import Work
from bridge.dualwrite.authority import make_tables, set_up


def arm(work: Work) -> Detail:
    """Prepares all that needs no fence: the way back, triggers, and whom the target keeps out.

    From here on the group has its rows of authority, so that each instance is asked whether it
    knows them before writers are kept out.
    """
    make_tables(work.source, work.database)
    seconds = work.settings.lock_seconds
    set_up(work.source, work.target, work.pipeline, work.database, work.group, seconds)
    work.fence_target()
    passing("arming.fenced")
    return _ready(work, SLOT_SECONDS)


def _ready(work: Work, slot_seconds: float) -> Detail:
    triggers = objects.make_triggers(work.target, work.plans)
    return {**work.way_back.arm(work.patience(), slot_seconds), "triggers": triggers}


def disarm(work: Work) -> Detail:
    """Removes what `arm` made."""
    work.way_back.disarm()
    passing("disarming.dropped")
    return {"lost": release(work.target, FenceNotes(work.attempt, "target_fence"))}


def fence(work: Work) -> Detail:
    """Keeps all writers out of the source.

    First, while they write: a table that was copied again since the group was armed, or came to it,
    is another one in the target, unpublished and with rights of its own.
    """
    work.note_epoch()
    work.fence_target()
    _ready(work, work.patience())
    work.hook("before_fence")
    passing("fencing.begun")
    work.close()
    passing("fencing.closed")
    proof = work.fence_source()
    passing("fencing.fenced")
    return {"fence": work.fence.kind, "ended": [str(each) for each in proof.ended]}


def drain(work: Work) -> Detail:
    """Waits until the target has all; the stream only watches the tables from then on."""
    number = work.mark("switched")
    passing("draining.marked")
    seconds = work.wait(lambda: work.reached(number), "the stream has not brought the last changes")
    return {"marker": number, "seconds": round(seconds, 3)}


def check(work: Work) -> Detail:
    """Both sides must be proven equal, up to this moment."""
    fence = work.fence_position()
    number = work.mark("switched")  # idle sources have nothing else that passes the position
    work.wait(lambda: work.reached(number), "the stream does not move")
    rows = work.checker.conclude(fence, kept_out=quarantine_waived(work))
    return {"position": str(fence), "rows": rows}


def sequence(work: Work) -> Detail:
    """Makes the target ready to be written to."""
    work.left()
    raised = sequences.raise_target(work.source, work.target, work.plans)
    passing("sequencing.raised")
    work.attempt.note(constraints=objects.wanted(work.target, work.plans))
    made = work.install()
    passing("sequencing.installed")
    return {"sequences": [each.document() for each in raised], "constraints": made}


def flip(work: Work, detail: Detail) -> Detail:
    """The moment itself: one transaction. From its commit on the target has authority.

    Applications have their rights on it from the same moment.
    """
    with work.target.transaction():
        row = work.row("target", 2)
        work.way_back.begin(row.epoch)
        # Before the journal's row, as whoever changes a mode takes these locks too.
        work.set_target(row)
        notes = FenceNotes(work.attempt, "target_fence")
        lost = release(work.target, notes, work.patience())
        done = {**detail, "lost": lost}
        work.attempt.advance("done", done)
    work.opened_at = time.monotonic()
    return done


def open_target(work: Work) -> Detail:
    """Tells the source."""
    passing("flipping.begun")
    work.set_source(work.row("target", 2))
    passing("flipping.told")
    work.hook("after_flip")
    return {}


def undo(work: Work) -> Detail:
    """The source is opened again; what it logs from now on is applied again."""
    work.note_epoch()
    number = work.mark("streaming")
    passing("aborting.marked")
    work.remove()
    lost = work.release_source()
    passing("aborting.released")
    work.set_source(work.row("source", 2))
    work.set_target(work.row("source", 2))
    work.hook("on_abort")
    return {"marker": number, "lost": lost}
