"""What else becomes of a switch: it is called off, ended for good, or let past a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.cli.agree import Agreement
from bridge.cli.context import Context
from bridge.cli.cutover_moves import opener, show
from bridge.errors import ConfigError
from bridge.names import group_option

if TYPE_CHECKING:
    from bridge.cutover.transitions import State
    from bridge.cutover.work import Work


def cancel_move(context: Context, group: str | None) -> None:
    """Undoes what is under way or was left, or calls off what is announced."""
    from bridge.cutover.journal import Journal
    from bridge.cutover.operator import Operator, carry_out
    from bridge.cutover.transitions import TABLE

    opened = opener(context, group)
    journal = Journal(context.target(autocommit=True), context.pipeline)
    if journal.unschedule(opened.group):
        context.out.json({"group": opened.group, "called_off": True})
        context.out.line(f"{opened.group}: the switch that was announced is called off")
        context.out.next(context.command("cutover status"))
        return

    def told(state: State) -> None:
        context.out.line(f"{opened.group}: {state}")

    def operator(work: Work) -> Operator:
        return Operator(work, lambda _: (), 0.0, told=told)

    def act(work: Work) -> None:
        state = work.attempt.state
        if TABLE[state].undo is None and not TABLE[state].resting:
            operator(work).settle()
        else:
            operator(work).cancel()
        context.out.json({"group": opened.group, "state": work.attempt.state})

    carry_out(lambda: opened(evict=True), act, lambda work: operator(work).settle())
    context.out.next(context.command("cutover status"))


def complete_switch(
    context: Context, group: str | None, wanted: str | None, *, keep_data: bool
) -> None:
    """Ends it for good, once somebody agrees."""
    from bridge.cutover.completion import planned, prepare
    from bridge.cutover.operator import Operator, carry_out
    from bridge.cutover.plan import plan_hash

    opened = opener(context, group)
    with opened.look() as work:
        steps = planned(work, keep_data=keep_data)
        number = plan_hash(work, steps)
    kept = " --keep-data" if keep_data else ""
    again = context.command(f"cutover complete {group_option(opened.group)}{kept}")
    Agreement(
        hash=number,
        plan=again,
        apply=again,
        nobody="there shall be no way back",
        question=f"complete {opened.group}: there is no way back afterwards. Go on?",
        show=lambda: show(context, steps),
    ).need(context.out, wanted)

    def operator(work: Work) -> Operator:
        return Operator(work, lambda _: (), 0.0, number)

    def act(work: Work) -> None:
        prepare(work, keep_data=keep_data)
        operator(work).go("complete", "completed")
        context.out.json({"group": opened.group, "state": work.attempt.state})

    carry_out(opened, act, lambda work: operator(work).settle())
    context.out.line(f"{opened.group}: completed")
    context.out.next(context.command("cutover status"))


def waive_gate(context: Context, group: str | None, name: str, reason: str) -> None:
    """Lets a switch pass a gate, as long as it finds what it finds now."""
    from bridge.cutover.gates.base import WAIVABLE
    from bridge.cutover.gates.looking import Looker
    from bridge.cutover.journal import whoami
    from bridge.cutover.waivers import Waivers

    if name not in WAIVABLE:
        raise ConfigError(
            f"the gate {name} cannot be waived", f"those can: {', '.join(sorted(WAIVABLE))}"
        )
    if not reason.strip():
        raise ConfigError("a waiver needs a reason", "--reason 'why this may be'")
    opened = opener(context, group)
    with opened.look() as work:
        gates, _ = Looker(opened, "switch").gates(work)
        gate = next(each for each in gates if each.name == name)
        if gate.passed:
            raise ConfigError(f"the gate {name} is open", "there is nothing to waive")
        waivers = Waivers(work.target, work.pipeline)
        waivers.waive(opened.group, name, reason, gate.evidence_hash(), whoami())
    context.out.json({"group": opened.group, "gate": name, "reason": reason})
    context.out.line(f"{name} is waived, as long as it finds: {gate.missing}")
    context.out.next(context.command(f"cutover plan {group_option(opened.group)}"))
