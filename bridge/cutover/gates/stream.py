"""Gates about the copy and the stream. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bridge.cutover.gates.base import Gate, Problem, of_problems
from bridge.cutover.gates.facts import Discarded, Facts, Limits, Quarantined
from bridge.store.lease import STALE_SECONDS
from bridge.store.state import DaemonState

_AGAIN = "end it, and start it again"
_SETTLING_SECONDS = 60.0
"""A daemon looks three times as often whether it could undo what an operator leaves."""


def capture(facts: Facts, _: Limits) -> Gate:
    """The stream comes from the source's log, in its order."""
    evidence = {"capture": facts.capture}
    if facts.capture == "binlog":
        return Gate("capture", True, evidence)
    missing = (
        "changes come by Kafka, whose partitions keep no order among each other, so that no marker"
        " says when the last one has come"
    )
    return Gate("capture", False, evidence, missing, "capture: {kind: binlog} in bridge.yaml")


def copied(facts: Facts, _: Limits) -> Gate:
    """Every table of the group is copied, once, and streams."""
    return of_problems(
        "copied",
        _not_copied(facts),
        {"tables": [{"table": str(s.source), "stage": s.state} for s in facts.states]},
    )


def _not_copied(facts: Facts) -> Iterator[Problem]:
    known = {state.source for state in facts.states}
    if not facts.tables:
        yield Problem(f"the mapping files name no table of {facts.group}", "dbbridge init")
    for table in facts.tables:
        if table not in known:
            yield Problem(f"{table} is not followed", "dbbridge sync")
    for state in facts.states:
        if state.paused:
            yield Problem(
                f"{state.source} is paused", f"dbbridge tables resume {state.source.word}"
            )
        elif state.stage != "streaming" and state.fault is None:
            again = " again" if state.generation > 1 else ""
            yield Problem(f"{state.source} is {state.stage}{again}", "dbbridge status --watch")


def daemon(facts: Facts, _: Limits) -> Gate:
    """A `sync` holds the lease, says so, and could undo what an operator leaves."""
    found = facts.daemon
    if found is None:
        return Gate("daemon", False, {}, "no sync is running", "dbbridge sync")
    evidence = {"host": found.host, "pid": found.pid, "silent_seconds": found.silent_seconds}
    if found.silent_seconds > STALE_SECONDS / 3:
        missing = f"the sync on {found.host} has said nothing for {found.silent_seconds:.0f} s"
        return Gate("daemon", False, evidence, missing, "dbbridge sync")
    if facts.capture != "binlog":  # nothing is ever to be undone
        return Gate("daemon", True, evidence)
    return _settling(found, facts.account, evidence)


def _settling(found: DaemonState, account: str, evidence: dict[str, Any]) -> Gate:
    """An operator who is killed while writers are kept out is undone by the daemon alone."""
    said: dict[str, Any] = found.status.get("settling", {})
    where = f"the sync on {found.host}"
    if "seconds" not in said:
        missing = f"{where} has not told yet whether it could undo what an operator leaves"
        return Gate("daemon", None, evidence, missing, f"{_AGAIN}: dbbridge sync")
    evidence = {**evidence, "fences_as": said["account"], "looked_seconds": said["seconds"]}
    if said["seconds"] > _SETTLING_SECONDS:
        missing = (
            f"{where} has not looked for {said['seconds']:.0f} s whether it could undo what an"
            " operator leaves"
        )
        return Gate("daemon", False, evidence, missing, f"{_AGAIN}: dbbridge sync")
    if said["error"]:
        missing = f"{where} could not undo what an operator leaves: {said['error']}"
        hint = f"{said['hint']}; then {_AGAIN}" if said["hint"] else _AGAIN
        return Gate("daemon", False, evidence, missing, f"{hint}: dbbridge sync")
    mine, theirs = (name.rpartition("@")[0] for name in (account, said["account"]))
    if mine and mine != theirs:
        missing = f"{where} would undo it as {said['account']}, and you fence as {account}"
        helps = f"{_AGAIN} with these settings: dbbridge sync"
        return Gate("daemon", False, evidence, missing, helps)
    return Gate("daemon", True, evidence)


def lag(facts: Facts, limits: Limits) -> Gate:
    """The stream is not far behind."""
    said: dict[str, Any] = facts.daemon.status if facts.daemon else {}
    behind = said.get("lag_seconds")
    evidence = {"lag_seconds": behind, "most": limits.lag, "position": facts.position}
    if behind is None:
        return Gate("lag", None, evidence, "the daemon has not told its lag", "dbbridge sync")
    if behind > limits.lag:
        missing = f"the stream is {behind:.1f} s behind, and {limits.lag:g} s are allowed"
        return Gate("lag", False, evidence, missing, "dbbridge status --watch")
    return Gate("lag", True, evidence)


def lag_back(facts: Facts, limits: Limits, back: float | None) -> Gate:
    """Before a reverse: the stream back, `back` seconds behind, is near, and so is the other one.

    The other one only watches, but what the final check waits for comes through it.
    """
    ahead = lag(facts, limits)
    evidence = {"lag_seconds": back, "watching_lag_seconds": ahead.evidence["lag_seconds"]}
    problems = []
    if back is None:
        problems.append(Problem("the stream back does not run", "dbbridge sync"))
    elif back > limits.lag:
        problems.append(Problem(f"the stream back is behind by {back} s", "dbbridge sync"))
    if not facts.position:
        lost = "the source's log, through which the final check comes, is not read any more"
        problems.append(Problem(lost, "dbbridge status"))
    elif ahead.passed is not True:
        problems.append(Problem(ahead.missing, ahead.command))
    return of_problems("lag", problems, evidence)


def stream_errors(facts: Facts, _: Limits) -> Gate:
    """No table has stopped."""
    stopped = [state for state in facts.states if state.fault is not None]
    problems = [
        Problem(f"{s.source}: {s.why}", f"dbbridge explain {s.source.word}")
        for s in stopped
        if s.fault
    ]
    codes = [{"table": str(s.source), "code": s.fault.code} for s in stopped if s.fault]
    return of_problems("stream-errors", problems, {"stopped": codes})


def quarantine(facts: Facts, _: Limits) -> Gate:
    """No row is kept out of the target; what an operator discarded is shown."""
    return kept_out(facts.quarantined, facts.discarded)


def kept_out(quarantined: Iterable[Quarantined], discarded: Iterable[Discarded]) -> Gate:
    """The same by what is in quarantine and what was discarded alone."""
    held = list(quarantined)
    evidence = {
        "tables": [{"table": str(q.table), "rows": q.rows, "digest": q.digest} for q in held],
        "discarded": [
            {"table": str(d.table), "rows": d.rows, "reasons": list(d.reasons)} for d in discarded
        ],
    }
    problems = [
        Problem(f"{each.rows} rows of {each.table} are in quarantine", "dbbridge quarantine list")
        for each in held
    ]
    return of_problems("quarantine", problems, evidence)
