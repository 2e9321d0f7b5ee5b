"""One target table as the applier sees it, with its SQL made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.types.base import ColumnPlan


@dataclass(eq=False)
class Target:
    """A followed table's place in PostgreSQL: its plan, its generation, and its statements.

    `relation` is where the rows go, which differs from the plan's target while a table is copied
    again into a new one. `quarantined` is true once the quarantine may hold rows of it.
    """

    plan: TablePlan
    generation: int
    relation: TableName
    quarantined: bool = False

    @property
    def source(self) -> TableName:
        """The source table's name."""
        return self.plan.source

    @cached_property
    def stage(self) -> str:
        """Name of the session's staging table for whole rows."""
        return quote_postgres(f"stage_{id(self)}")

    @cached_property
    def key_stage(self) -> str:
        """Name of the session's staging table for keys."""
        return quote_postgres(f"stage_key_{id(self)}")

    @cached_property
    def create_stages(self) -> str:
        """Makes both staging tables with exactly the target's column types."""
        relation = self.relation.postgres
        parts = [self._create(self.stage, self.plan.columns, relation)]
        if self.plan.key:
            parts.append(self._create(self.key_stage, self.plan.key_columns, relation))
        return ";".join(parts)

    @cached_property
    def drop_stages(self) -> str:
        """Removes them again."""
        return f"DROP TABLE IF EXISTS {self.stage}, {self.key_stage}"

    @cached_property
    def clear_stages(self) -> str:
        """Empties them inside a transaction that has used them."""
        return f"TRUNCATE {self.stage}" + (f", {self.key_stage}" if self.plan.key else "")

    @cached_property
    def copy_rows(self) -> str:
        """COPY of lines into the row stage."""
        return f"COPY {self.stage} FROM STDIN"

    @cached_property
    def copy_keys(self) -> str:
        """COPY of keys into the key stage."""
        return f"COPY {self.key_stage} FROM STDIN"

    @cached_property
    def delete_keys(self) -> str:
        """Deletes the rows whose keys are staged."""
        same = " AND ".join(f"t.{c} = s.{c}" for c in _names(self.plan.key_columns))
        return f"DELETE FROM {self.relation.postgres} t USING {self.key_stage} s WHERE {same}"

    @cached_property
    def insert_rows(self) -> str:
        """Inserts the staged rows; fails where one is there already."""
        columns = ", ".join(_names(self.plan.columns))
        return (
            f"INSERT INTO {self.relation.postgres} ({columns}) OVERRIDING SYSTEM VALUE"
            f" SELECT {columns} FROM {self.stage}"
        )

    @cached_property
    def upsert_rows(self) -> str:
        """Inserts the staged rows or replaces the images of those that are there."""
        key = ", ".join(_names(self.plan.key_columns))
        rest = [f"{c} = EXCLUDED.{c}" for c in _names(self.plan.columns[self.plan.key :])]
        action = f"UPDATE SET {', '.join(rest)}" if rest else "NOTHING"
        return f"{self.insert_rows} ON CONFLICT ({key}) DO {action}"

    @cached_property
    def delete_equal(self) -> str:
        """Deletes one row of the target for each staged row that equals it (a multiset's minus).

        Equal is IS NOT DISTINCT FROM, or the same text for types that have no equality (json).
        """
        names = _names(self.plan.columns)
        pairs = list(zip(names, self.plan.columns, strict=True))
        listed = ", ".join(comparable(n, c) for n, c in pairs)
        aliased = ", ".join(f"{comparable(n, c)} AS c{i}" for i, (n, c) in enumerate(pairs))
        same = " AND ".join(f"h.c{i} IS NOT DISTINCT FROM w.c{i}" for i in range(len(pairs)))
        wanted = (
            f"SELECT {aliased}, row_number() OVER (PARTITION BY {listed}) AS n FROM {self.stage}"
        )
        candidates = (
            f"SELECT t.ctid AS place, {aliased}, row_number() OVER (PARTITION BY {listed}) AS n"
            f" FROM {self.relation.postgres} t"
        )
        # IN finds no NULLs, so only columns that hold none narrow down what is ranked.
        sure = ", ".join(comparable(n, c) for n, c in pairs if not c.target_nullable)
        if sure:
            candidates += f" WHERE ({sure}) IN (SELECT {sure} FROM {self.stage})"
        return (
            f"WITH w AS ({wanted}), h AS ({candidates})"
            f" DELETE FROM {self.relation.postgres} t USING w JOIN h ON h.n = w.n AND {same}"
            " WHERE t.ctid = h.place"
        )

    @property
    def truncate(self) -> str:
        """Removes all rows."""
        return f"TRUNCATE {self.relation.postgres}"

    @staticmethod
    def _create(stage: str, columns: tuple[ColumnPlan, ...], relation: str) -> str:
        listed = ", ".join(_names(columns))
        return (
            f"CREATE TEMP TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS"
            f" AS SELECT {listed} FROM {relation} WITH NO DATA"
        )


def _names(columns: tuple[ColumnPlan, ...]) -> list[str]:
    return [quote_postgres(column.target_name) for column in columns]


def comparable(name: str, column: ColumnPlan) -> str:
    """An expression for the column's value `name` that has equality; json has none of its own."""
    return f"{name}::text" if column.target_type == "json" else name
