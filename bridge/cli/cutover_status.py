"""`dbbridge cutover status`: how the switch of each group stands, and what comes next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bridge.cli.context import Context
from bridge.cli.output import number, size
from bridge.names import group_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.cutover.journal import Step
    from bridge.cutover.standing import Standing, WayBack

NEVER = "-"


def show(context: Context, groups: Sequence[str], *, history: bool) -> None:
    """Prints it for the named groups; with `history` also all that happened to them."""
    import psycopg
    import pymysql

    from bridge.cutover.overview import standings
    from bridge.cutover.standing import step_document
    from bridge.replicate.servers import meaning

    try:
        found = standings(
            context.settings, context.source(), context.target(autocommit=True), groups
        )
    except (psycopg.Error, pymysql.Error) as error:
        raise meaning(error) from error
    documents = []
    for one in found:
        document = {**one.document(), "next_steps": _next(context, one)}
        _print(context, one)
        if history:
            document["history"] = [step_document(step) for step in one.history]
            _history(context, one.history)
        documents.append(document)
    context.out.json({"groups": documents})
    for one in found:
        for command in _next(context, one):
            context.out.next(command)


def _next(context: Context, one: Standing) -> list[str]:
    """The commands, with the same settings; statements as they are."""
    found = [(text, text.removeprefix("dbbridge ")) for text in one.next_steps()]
    return [context.command(verb) if verb != text else text for text, verb in found]


def _print(context: Context, one: Standing) -> None:
    from bridge.cutover.transitions import TABLE

    out, record, now = context.out, one.record, one.authority
    phase = f" ({one.phase})" if one.phase else ""
    out.line(f"{record.group}: {record.state}{phase}, {TABLE[record.state].sentence}")
    out.line(
        f"  authority {now.side}, mode {now.mode}, reads {now.reads_percent} %, epoch {now.epoch}"
    )
    if one.source != one.target:
        epochs = [NEVER if row is None else str(row.epoch) for row in (one.source, one.target)]
        out.line(f"  the sides do not agree: epoch {epochs[0]} there, {epochs[1]} in the target")
    if not TABLE[record.state].resting:
        _under_way(context, one)
    if one.announced is not None:
        when = one.announced.at.isoformat(timespec="seconds")
        gone = "; that is over, and nobody made it" if one.announced.at < one.now else ""
        out.line(f"  announced for {when} by {one.announced.by}{gone}")
        cancel = context.command(f"cutover cancel {group_option(record.group)}")
        out.line(f"  {cancel} calls it off")
    if one.way_back is not None:
        _way_back(context, one, one.way_back)
    _fence(context, one)
    if one.last_error is not None:
        error = one.last_error
        out.line(
            f"  last error, {error.at:%Y-%m-%d %H:%M:%S %Z}, while {error.before}:"
            f" {error.detail.get('error', '')}"
        )
    if one.history:
        last = one.history[-1]
        out.line(f"  last step, {last.at:%Y-%m-%d %H:%M:%S %Z}: {_said(last)}, {last.operator}")


def _under_way(context: Context, one: Standing) -> None:
    record = one.record
    if one.deserted:
        context.out.line(f"  nobody is at it; {record.operator or 'somebody'} left it")
        return
    until = f", to be done by {record.deadline:%H:%M:%S %Z}" if record.deadline else ""
    since = f" since {record.taken_at:%H:%M:%S %Z}" if record.taken_at else ""
    context.out.line(f"  {record.operator} is at it{since}{until}")


def _way_back(context: Context, one: Standing, back: WayBack) -> None:
    told, slot = back.told, back.slot
    if one.rollback_available is not None:
        lag = told.get("lag_seconds")
        closed = "closed" if told else "not open yet: dbbridge sync begins it"
        word = "open" if one.rollback_available else closed
        behind = f", behind by {lag:.1f} s" if lag is not None else ", not connected" * bool(told)
        lost = told.get("unrepresentable") or 0
        rows = f", {number(lost)} rows that the source cannot hold" if lost else ""
        context.out.line(f"  the way back is {word}{behind}{rows}")
        if told.get("error"):
            context.out.line(f"  the stream back: {told['error']}")
        if not one.provable:
            context.out.line("  no last check could prove both sides equal, as its plan tells")
    if slot is not None:
        most = "without a limit" if slot.most is None else f"of at most {size(slot.most)}"
        context.out.line(
            f"  slot {slot.name}: {slot.state}, keeps {size(slot.retained)} of WAL, {most}"
        )
    if back.alarm:
        context.out.line(f"  {back.alarm}")


def _fence(context: Context, one: Standing) -> None:
    if one.fence is not None:
        how = {
            True: "stands",
            False: "DOES NOT STAND any more: whoever goes around the bridge can write",
            None: f"could not be looked at: {one.fence.reason}",
        }[one.fence.stands]
        context.out.line(f"  the source's fence ({one.fence.kind}) {how}")
    for name, n in sorted(one.violations.items()):
        context.out.line(f"  {number(n)} changes of {name} went around the fence")


def _said(step: Step) -> str:
    return step.event if step.before == step.after else f"{step.before} → {step.after}"


def _history(context: Context, steps: Sequence[Step]) -> None:
    rows = [
        (
            f"{step.at:%Y-%m-%d %H:%M:%S.%f %Z}",
            step.attempt,
            _said(step),
            f"{step.seconds:.3f} s",
            step.operator,
            json.dumps(dict(step.detail), ensure_ascii=False, default=str) if step.detail else "",
        )
        for step in steps
    ]
    context.out.table(("at", "attempt", "step", "lasted", "operator", "detail"), rows)
