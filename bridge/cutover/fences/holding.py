"""Setting the source's fence and taking it off again, also after whoever did it was killed."""

from __future__ import annotations

from bridge.cutover.fences.base import Connection, Limits, Notes, Proof, SourceFence, distinct
from bridge.cutover.fences.choose import FENCES
from bridge.cutover.fences.drain import drain
from bridge.errors import ServerRefused


def engage(conn: Connection, fence: SourceFence, notes: Notes, limits: Limits) -> Proof:
    """Notes what is there, sets the fence, and waits until nobody writes any more.

    May be repeated after it was interrupted anywhere: what an earlier one has noted stays, since
    what is there now may be its doing. Where the proof does not hold, the fence is to be released.
    Raises ServerRefused.
    """
    noted, evidence = notes.read(), fence.survey(conn)
    if noted is not None:
        if noted["kind"] != fence.kind:
            raise ServerRefused(
                f"another fence is set already: {noted['kind']}", "take it off first"
            )
        evidence = fence.merged(noted, evidence)
    notes.write(evidence)
    proof = fence.set(conn, evidence, limits)
    if not proof.holds:
        return proof
    drained = drain(conn, fence, evidence, limits)
    return Proof(drained.holds, drained.blockers, distinct((*proof.ended, *drained.ended)))


def release(conn: Connection, notes: Notes) -> list[str]:
    """Takes off whatever fence is noted, of any kind, and forgets it; without one does nothing.

    Returns what could not be restored, since it is no longer there.
    """
    evidence = notes.read()
    if evidence is None:
        return []
    lost = FENCES[evidence["kind"]].release(conn, evidence)
    notes.clear()
    return lost
