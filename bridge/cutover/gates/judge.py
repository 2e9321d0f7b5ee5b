"""All gates over the same facts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from bridge.cutover.gates import ahead, others, proven, stream
from bridge.cutover.gates.base import ORDER, Gate
from bridge.cutover.gates.facts import Facts, Limits

JUDGES: Mapping[str, Callable[[Facts, Limits], Gate]] = {
    "capture": stream.capture,
    "copied": stream.copied,
    "daemon": stream.daemon,
    "lag": stream.lag,
    "stream-errors": stream.stream_errors,
    "quarantine": stream.quarantine,
    "schema": proven.schema,
    "certificate": proven.certificate,
    "final-check": proven.final_check,
    "in-doubt": others.in_doubt,
    "long-transactions": others.long_transactions,
    "instances": others.instances,
    "reverse": ahead.reverse,
    "representable": ahead.representable,
    "fence": ahead.fence,
    "writers": others.writers,
    "planner": ahead.planner,
    "span": ahead.span,
}


def judge(facts: Facts, limits: Limits, names: Collection[str] = ORDER) -> tuple[Gate, ...]:
    """The named gates, in order."""
    return tuple(JUDGES[name](facts, limits) for name in ORDER if name in names)


def refusing(gates: Iterable[Gate], waived: Mapping[str, str]) -> tuple[Gate, ...]:
    """The gates that hold a switch up. `waived`: evidence hashes by the names of waived gates."""
    return tuple(
        gate
        for gate in gates
        if gate.passed is not True
        and not (gate.waivable and waived.get(gate.name) == gate.evidence_hash())
    )
