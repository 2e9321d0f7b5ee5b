"""`dbbridge repair plan|apply`: rows that differ are taken from the source again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.agree import Agreement
from bridge.cli.context import Context, of
from bridge.cli.output import number
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.names import TableName
    from bridge.verify.records import Proof
    from bridge.verify.repair import Planned, Repaired
    from bridge.verify.tables import Followed, Unfit

_Tables = Annotated[
    list[str] | None, typer.Argument(metavar="[TABLE]…", help="orders or shop.orders")
]
_WRITTEN = ("healed", "inserted", "replaced", "deleted", "quarantined", "differing", "open")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    repair = typer.Typer(help="Mend the differences that verify found.", no_args_is_help=True)
    app.add_typer(repair, name="repair")

    @repair.command(
        epilog="Example: dbbridge repair plan orders",
        help="Print which rows would be taken from the source again, with a hash over them;"
        " changes nothing.",
    )
    def plan(ctx: typer.Context, tables: _Tables = None) -> None:
        context = of(ctx)
        work = _Work(context, tables or [])
        context.out.json(work.document())
        work.show()
        context.out.next(f"{work.apply} --plan {work.hash}" if work.fit else work.hint)
        raise typer.Exit(1 if work.unfit else 0)

    @repair.command(
        epilog="Example: dbbridge repair apply --plan 1f0c9a7be2d4",
        help="Take the rows that still differ from the source, while the application writes and"
        " sync runs. Exits 1 if a row stays different, 3 if some could not be judged.",
    )
    def apply(
        ctx: typer.Context,
        tables: _Tables = None,
        plan: Annotated[
            str | None, typer.Option(metavar="HASH", help="Only if this is still the plan.")
        ] = None,
    ) -> None:
        context = of(ctx)
        work = _Work(context, tables or [])
        if work.fit:
            _agree(work, plan)
        done = work.carry_out()
        document = {"applied": True, "repaired": [each.document() for each in done]}
        context.out.json({**work.document(), **document})
        _show_done(context, work, done)
        codes = {1 if work.unfit else 0, *(each.exit_code for each in done)}
        raise typer.Exit(1 if 1 in codes else max(codes))


class _Work:
    """The differences that are known now, and what is to be done about them."""

    def __init__(self, context: Context, names: list[str]) -> None:
        from bridge.verify.repair import plan_hash, plan_table
        from bridge.verify.tables import Followed

        self.context = context
        self.names = names
        self.conn = context.target(autocommit=True)
        found = self.conn.execute("SELECT to_regclass('dbbridge.differences')").fetchone()
        if not found or found[0] is None:
            raise ConfigError(
                "nothing was compared yet, so no difference is known", "dbbridge verify"
            )
        self.tables: dict[TableName, Followed | Unfit] = self._tables()
        self.planned: list[Planned] = []
        proofs = self._proofs()
        for name in self._chosen():
            planned = plan_table(self.conn, context.pipeline, self.tables[name], proofs.get(name))
            if planned.rows:
                self.planned.append(planned)
        self.fit: list[tuple[Planned, Followed]] = [
            (planned, table)
            for planned in self.planned
            if not planned.reason and isinstance(table := self.tables[planned.table], Followed)
        ]
        self.unfit = [planned for planned in self.planned if planned.reason]
        self.hash = plan_hash(self.fit)

    def _tables(self) -> dict[TableName, Followed | Unfit]:
        from bridge.verify.tables import prepare, states

        known = states(self.conn, self.context.pipeline)
        mapped = self.context.mappings()
        prepared = prepare(self.context.source(), known, mapped, sorted(known))
        return {table.name: table for table in prepared}

    def _proofs(self) -> dict[TableName, Proof]:
        from bridge.verify.ledger import Ledger

        return Ledger(self.conn, self.context.pipeline).proofs()

    def _chosen(self) -> list[TableName]:
        from bridge.cli.tables import find

        known = list(self.tables)
        return [find(name, known) for name in self.names] or known

    @property
    def apply(self) -> str:
        """The command that carries the plan out."""
        return " ".join(["dbbridge repair apply", *self.names])

    @property
    def hint(self) -> str:
        """What comes next where nothing can be repaired."""
        return self.unfit[0].hint if self.unfit else "dbbridge verify"

    def document(self) -> dict[str, object]:
        """The plan for programs."""
        return {"plan": self.hash, "tables": [planned.document() for planned in self.planned]}

    def show(self) -> None:
        """The plan for people."""
        out = self.context.out
        if not self.planned:
            out.line("nothing to do: no difference is known")
            return
        headers = ("table", "missing: insert", "extra: delete", "differs: replace")
        rows = [
            (str(p.table), *(number(p.counts[kind]) for kind in ("missing", "extra", "differs")))
            for p in self.planned
        ]
        out.table(headers, rows, right=headers[1:])
        for planned in self.planned:
            if planned.reason:
                out.line(f"{planned.table} is left alone: {planned.reason} → {planned.hint}")
                continue
            for difference in planned.first:
                key = ", ".join(f"{name}={value}" for name, value in difference.key.items())
                out.line(f"  {planned.table} {difference.kind} {key}")
            more = planned.rows - len(planned.first)
            if more:
                out.line(f"  … and {number(more)} more")
        rows_planned = sum(planned.rows for planned, _ in self.fit)
        out.line(f"plan {self.hash}: {number(rows_planned)} rows, each judged again first")

    def carry_out(self) -> list[Repaired]:
        """Repairs the tables that can be."""
        from bridge.cli.verify import make_verifier
        from bridge.verify.repair import Repairer
        from bridge.verify.tables import Followed

        verifier = make_verifier(self.context)
        known = [t.plan.table for t in self.tables.values() if isinstance(t, Followed)]
        total = sum(planned.rows for planned, _ in self.fit)
        with self.context.out.progress("repairing", float(total) or None) as advance:
            repairer = Repairer(
                self.context.pipeline,
                verifier.sessions,
                verifier.source_id,
                known,
                lambda table, rows: advance(rows, f"repairing {table}"),
            )
            return [repairer.repair(table) for _, table in self.fit]


def _show_done(context: Context, work: _Work, done: list[Repaired]) -> None:
    out = context.out
    if not work.planned:
        out.line("nothing to do: no difference is known")
    if done:
        rows = [(str(each.table), *(getattr(each, name) for name in _WRITTEN)) for each in done]
        out.table(("table", *_WRITTEN), rows, right=_WRITTEN)
    left = [(each.table, each.reason, each.hint) for each in done if each.reason]
    left += [(each.table, each.reason, each.hint) for each in work.unfit]
    for table, reason, hint in left:
        out.line(f"{table}: {reason} → {hint}")
    if any(each.quarantined for each in done):
        out.next("dbbridge quarantine list")
    else:
        out.next(next((hint for _, _, hint in left if hint), "dbbridge verify"))


def _agree(work: _Work, wanted: str | None) -> None:
    Agreement(
        hash=work.hash,
        plan=work.apply.replace(" apply", " plan"),
        apply=work.apply,
        nobody="these rows shall be written",
        question="Write these rows?",
        show=work.show,
    ).need(work.context.out, wanted)
