"""Certificates: both sides of a table group were proven equal at a position.

What a certificate says, and why one is refused. Pure: the facts come from the control schema and
the source's catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.change.position import Position
from bridge.names import TableName
from bridge.store.state import TableState
from bridge.verify.digest import FIRST
from bridge.verify.records import Proof


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one table of the group.

    `state` None: the pipeline does not follow it; `fingerprint` is the source's definition now (''
    where there is no such table), `mapping` the version of the mapping files as they are now.
    """

    table: TableName
    state: TableState | None
    proof: Proof | None
    fingerprint: str
    mapping: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no certificate is issued: a table, the reason in one word, and in a sentence."""

    table: TableName
    code: str
    reason: str
    hint: str

    def document(self) -> dict[str, str]:
        """As JSON has it."""
        return {
            "table": str(self.table),
            "code": self.code,
            "reason": self.reason,
            "hint": self.hint,
        }


def refusals(group: Iterable[Evidence], required: Position | None = None) -> list[Refusal]:
    """Why the group gets no certificate for `required` (None: for wherever its proofs stand)."""
    return [
        Refusal(evidence.table, code, reason, hint.format(table=evidence.table))
        for evidence in group
        for code, reason, hint in (*_of_state(evidence), *_of_proof(evidence, required))
        if reason
    ]


VERIFY = "dbbridge verify --certify"
Reason = tuple[str, str, str]
"""A code, why ('' where it does not hold), and the command that helps."""


def _of_state(evidence: Evidence) -> Iterator[Reason]:
    """What of the table as it is now speaks against a certificate."""
    state = evidence.state
    if state is None:
        yield "not-followed", "the pipeline does not follow it", "dbbridge sync"
        return
    if state.fault is not None:
        yield "stopped", state.why, "dbbridge explain {table.word}"
    elif state.paused:
        yield "paused", "it is paused", "dbbridge tables resume {table.word}"
    elif state.stage != "streaming":
        yield "not-streaming", f"it is {state.stage}", "dbbridge status --watch"
    rows = state.quarantined
    yield "quarantine", f"{rows} rows are in quarantine" * bool(rows), "dbbridge quarantine list"


def _of_proof(evidence: Evidence, required: Position | None) -> Iterator[Reason]:
    """What is not proven, or not of the table as it is now."""
    state, proof = evidence.state, evidence.proof
    if proof is None or state is None:
        yield "partial", "it was never verified", VERIFY
        return
    if not proof.swept:
        yield "partial", "its verification has not come to its end", "dbbridge verify --resume"
        return
    if proof.generation != state.generation:
        yield "copied-again", "it was copied again since it was verified", VERIFY
    elif {proof.version, evidence.mapping} != {state.version}:
        yield "mapping", "its mapping is another one than was verified", VERIFY
    if proof.fingerprint != evidence.fingerprint:
        yield "schema", "its definition is another one than was verified", VERIFY
    yield from _of_rows(proof)
    yield "unchecked", proof.obstacle, VERIFY
    if required is not None and not proof.position.past(required):
        reason = f"what changed after {proof.position} was not looked at again"
        yield "unchecked", reason, VERIFY


def _of_rows(proof: Proof) -> Iterator[Reason]:
    if proof.level == "counts":
        yield "counts", "only rows were counted, not what they hold", VERIFY
    elif proof.rows and not proof.total >> FIRST.bit_length():
        yield "one-digest", "no second digest was taken of it", VERIFY
    if proof.differences:
        yield "differences", f"{proof.differences} rows differ", "dbbridge repair plan"
    if proof.open:
        yield "in-flight", f"{len(proof.open)} rows could not be judged", VERIFY


def certificate(
    group: str, evidence: Sequence[Evidence], position: Position, digests: dict[TableName, str]
) -> dict[str, Any]:
    """What is kept: the group is equal at `position`. To be called where nothing is refused."""
    return {
        "group": group,
        "position": str(position),
        "tables": [_table(each, digests[each.table]) for each in evidence],
    }


def _table(evidence: Evidence, digests: str) -> dict[str, Any]:
    proof = evidence.proof
    assert proof is not None
    return {
        "table": str(evidence.table),
        "position": str(proof.position),
        "verification": proof.verification,
        "level": proof.level,
        "coverage": "every row" if proof.level != "counts" else "keys",
        "rows": proof.rows,
        "digests": digests.split("-"),
        "rechecked": proof.rechecked,
        "mapping": proof.version,
        "schema": proof.fingerprint,
        "quarantined": 0,
        "equivalences": list(proof.equivalences),
    }
