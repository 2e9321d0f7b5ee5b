"""``dbbridge schema plan|apply``: the target's tables, indexes and constraints."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.agree import Agreement
from bridge.cli.context import Context, of
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from bridge.findings import Finding
    from bridge.mapping.plan import TablePlan
    from bridge.sink.objects import Step


class Phase(StrEnum):
    """When things are made: before the copy, after it, when the target takes over."""

    tables = "tables"
    indexes = "indexes"
    constraints = "constraints"


_Phase = Annotated[
    Phase,
    typer.Option(
        help="tables: before the copy; sync and the switch make the others by themselves."
    ),
]
_AFTER = {
    Phase.tables: "dbbridge sync",
    Phase.indexes: "dbbridge status",
    Phase.constraints: "dbbridge verify",
}


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    schema = typer.Typer(
        help="Plan or apply the target's tables, indexes and constraints.", no_args_is_help=True
    )
    app.add_typer(schema, name="schema")

    @schema.command(epilog="Example: dbbridge schema plan")
    def plan(ctx: typer.Context, phase: _Phase = Phase.tables) -> None:
        """Print what is missing in the target as SQL, with a hash over it; changes nothing."""
        context = of(ctx)
        work = _Work(context, phase)
        work.show()
        if work.steps:
            context.out.next(f"dbbridge schema apply{work.option} --plan {work.hash}")
        else:
            context.out.next(_AFTER[phase])

    @schema.command(epilog="Example: dbbridge schema apply --plan 1f0c9a7be2d4")
    def apply(
        ctx: typer.Context,
        phase: _Phase = Phase.tables,
        plan: Annotated[
            str | None, typer.Option(metavar="HASH", help="Only if this is still the plan.")
        ] = None,
    ) -> None:
        """Make what is missing in the target; run again, it makes what is still missing."""
        context = of(ctx)
        work = _Work(context, phase)
        if work.steps:
            work.check_state()
            _agree(work, plan)
            work.apply()
        context.out.json({**work.document(), "applied": True})
        context.out.line(f"{len(work.steps)} steps done" if work.steps else "nothing to do")
        context.out.next(_AFTER[phase])


class _Work:
    """The plan of one phase."""

    def __init__(self, context: Context, phase: Phase) -> None:
        from bridge.sink.objects import TargetDiffers, plan_hash, plan_schema
        from bridge.store.state import made_targets

        self.context = context
        self.phase = phase
        self.option = "" if phase is Phase.tables else f" --phase {phase}"
        self.plans: list[TablePlan] = list(context.plans().values())
        self.conn: psycopg.Connection[tuple[object, ...]] = context.target(autocommit=True)
        try:
            made = made_targets(self.conn, context.pipeline)
            self.steps: list[Step] = plan_schema(self.conn, self.plans, phase.value, made)
        except TargetDiffers as error:
            self.print_findings(error.findings)
            raise
        self.hash = plan_hash(self.steps)

    def show(self) -> None:
        """The steps as a script, and what has no equal."""
        out = self.context.out
        out.json(self.document())
        for step in self.steps:
            out.line(f"-- {step.name}: {step.why}")
            out.line(f"{step.sql};\n")
        losses = self.losses()
        if losses:
            out.table(("code", "table", "column", "not carried over"), losses)
            out.line()
        if self.steps:
            out.line(f"plan {self.hash}: {len(self.steps)} steps")
        else:
            out.line("nothing to do: the target has it all")

    def document(self) -> dict[str, object]:
        """The plan for programs."""
        keys = ("code", "table", "column", "message")
        return {
            "phase": self.phase.value,
            "plan": self.hash,
            "steps": self.steps,
            "not_carried": [dict(zip(keys, row, strict=True)) for row in self.losses()],
        }

    def losses(self) -> list[tuple[str, str, str, str]]:
        """What the target will not have, for this phase."""
        from bridge.sink.constraints import constraints
        from bridge.sink.ddl import losses

        if self.phase is Phase.constraints:
            pairs = constraints(self.plans)[1]
        else:
            # T017 is about indexes, everything else about tables.
            indexes = self.phase is Phase.indexes
            pairs = [
                (plan, loss)
                for plan in self.plans
                for loss in losses(plan)
                if (loss.code == "T017") == indexes
            ]
        return [(loss.code, str(plan.source), loss.column, loss.message) for plan, loss in pairs]

    def check_state(self) -> None:
        """Refuses what would get in the way of the copy or the stream. Raises BridgeError."""
        from bridge.store.state import is_there, read_daemon, read_tables

        known = is_there(self.conn)
        if self.phase is Phase.constraints:
            if known and read_daemon(self.conn, self.context.pipeline) is not None:
                raise BridgeError(
                    "rows are being streamed in, in another order than the application writes them",
                    "stop the daemon first, once the application writes to the target",
                )
        elif self.phase is Phase.indexes:
            tables = read_tables(self.conn, self.context.pipeline) if known else []
            ready = {table.target for table in tables if table.stage == "streaming"}
            early = [str(plan.target) for plan in self.plans if plan.target not in ready]
            if early:
                raise BridgeError(
                    f"{early[0]} is not copied yet, and rows are copied without indexes",
                    "dbbridge sync builds the indexes of each table after its copy",
                )

    def apply(self) -> None:
        """Carries the steps out."""
        from bridge.sink.objects import apply_steps

        with self.context.out.progress("making", total=len(self.steps)) as advance:
            apply_steps(self.conn, self.steps, lambda step: advance(1, step.name))

    def print_findings(self, findings: Sequence[Finding]) -> None:
        """Where the target has something else."""
        out = self.context.out
        out.json({"phase": self.phase.value, "findings": findings})
        rows = [(one.code, one.table, one.column, one.message) for one in findings]
        out.table(("code", "table", "column", "finding"), rows)


def _agree(work: _Work, wanted: str | None) -> None:
    Agreement(
        hash=work.hash,
        plan=f"dbbridge schema plan{work.option}",
        apply="the same with apply",
        nobody="these changes are wanted",
        question="Make these changes?",
        show=work.show,
    ).need(work.context.out, wanted)
