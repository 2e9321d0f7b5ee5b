"""`dbbridge cutover plan|switch|reverse|cancel|complete|waive`: authority moves, or does not."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.context import of
from bridge.cli.cutover_ending import cancel_move, complete_switch, waive_gate
from bridge.cli.cutover_moves import Move

_Group = Annotated[
    str | None,
    typer.Option("--group", metavar="NAME", help="Which group. [default: the only one]"),
]
_Plan = Annotated[
    str | None, typer.Option("--plan", metavar="HASH", help="Only if this is still the plan.")
]
_Timeout = Annotated[
    float | None,
    typer.Option(min=1, max=3600, help="Seconds that writers may be kept out; then it is undone."),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, and whether it may be.")
]


def register(cutover: typer.Typer) -> None:
    """Adds the verbs to the group of `cutover`."""
    _register_moves(cutover)
    _register_rest(cutover)


def _register_moves(cutover: typer.Typer) -> None:
    @cutover.command(epilog="Example: dbbridge cutover plan --group orders")
    def plan(
        ctx: typer.Context,
        group: _Group = None,
        reverse: Annotated[bool, typer.Option("--reverse", help="Of the way back.")] = False,
    ) -> None:
        """Show the gates of a switch, its steps and a hash over them; changes nothing."""
        move = Move(of(ctx), group, "reverse" if reverse else "switch")
        move.show_plan()

    @cutover.command(epilog="Example: dbbridge cutover switch --group orders --plan 1f0c9a7be2d4")
    def switch(
        ctx: typer.Context,
        group: _Group = None,
        plan: _Plan = None,
        timeout: _Timeout = None,
        at: Annotated[
            str | None,
            typer.Option(metavar="TIME", help="Wait until then: 2026-05-04T22:30, or 22:30."),
        ] = None,
        dry_run: _DryRun = False,
    ) -> None:
        """Give authority over a group to the target; on a failure everything is undone."""
        Move(of(ctx), group, "switch").carry_out(plan, timeout, at, dry_run=dry_run)

    @cutover.command(epilog="Example: dbbridge cutover reverse --group orders --plan 0b71c4e9d02a")
    def reverse(
        ctx: typer.Context,
        group: _Group = None,
        plan: _Plan = None,
        timeout: _Timeout = None,
        dry_run: _DryRun = False,
    ) -> None:
        """Give authority back to the source, with what was written meanwhile."""
        Move(of(ctx), group, "reverse").carry_out(plan, timeout, None, dry_run=dry_run)


def _register_rest(cutover: typer.Typer) -> None:
    @cutover.command(epilog="Example: dbbridge cutover cancel --group orders")
    def cancel(ctx: typer.Context, group: _Group = None) -> None:
        """Undo a switch or reverse that is under way or was left, or one that is announced.

        Of a group that is ready for a switch it removes what was made ready.
        """
        cancel_move(of(ctx), group)

    @cutover.command(epilog="Example: dbbridge cutover complete --group orders --keep-data")
    def complete(
        ctx: typer.Context,
        group: _Group = None,
        plan: _Plan = None,
        keep_data: Annotated[
            bool, typer.Option("--keep-data", help="Leave the source's tables as they are.")
        ] = False,
    ) -> None:
        """End it for good: validate, remove the way back, rename the source's tables."""
        complete_switch(of(ctx), group, plan, keep_data=keep_data)

    @cutover.command(epilog="Example: dbbridge cutover waive writers --reason 'the old importer'")
    def waive(
        ctx: typer.Context,
        gate: Annotated[str, typer.Argument(metavar="GATE")],
        reason: Annotated[str, typer.Option(help="Why; it is kept.")],
        group: _Group = None,
    ) -> None:
        """Let a switch pass a gate, as long as the gate finds what it finds now."""
        waive_gate(of(ctx), group, gate, reason)
