"""What `verify` found, as one model; text, JSON, JUnit and Markdown are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from bridge.names import TableName

Verdict = Literal["match", "mismatch", "inconclusive"]
DifferenceKind = Literal["missing", "extra", "differs", "quarantined", "in-flight"]
FINDINGS: frozenset[DifferenceKind] = frozenset({"missing", "extra", "differs"})
"""The kinds that make a mismatch."""
MASKED = "•••"
"""Stands for every value of a column that the mapping masks."""
_EXIT_CODES: Mapping[Verdict, int] = {"match": 0, "mismatch": 1, "inconclusive": 3}


@dataclass(frozen=True, slots=True)
class ColumnDifference:
    """One column of a row; texts as a person reads them, None for NULL and for no row."""

    name: str
    source: str | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the same on both sides.

    `kind`: missing in the target, extra in the target, differs; quarantined (not in the target, on
    purpose) and in-flight (undecided) are no findings of their own. `key` is empty for tables
    without one; there `rows` says how many equal rows too few or too many there are.
    """

    key: Mapping[str, str]
    kind: DifferenceKind
    columns: tuple[ColumnDifference, ...] = ()
    rows: int = 1

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Difference:
        """What `document` gives, read again."""
        columns = tuple(ColumnDifference(**column) for column in document["columns"])
        return cls(document["key"], document["kind"], columns, document.get("rows", 1))

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        columns = [{"name": c.name, "source": c.source, "target": c.target} for c in self.columns]
        found: dict[str, Any] = {"key": dict(self.key), "kind": self.kind, "columns": columns}
        return found if self.key else {**found, "rows": self.rows}


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """A column in which rows differ: in how many, and whether in every row that was compared."""

    name: str
    rows: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Why rows count as equal though not every byte is; `rows` None: nobody counted them."""

    column: str
    reason: str
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """One table. `reason` and `hint` say why a table is inconclusive and what to do about it.

    `differing` counts rows that differ for sure; `differences` holds them (at most as many as are
    kept in memory), then quarantined ones and those in flight. `discarded` rows were given up by an
    operator: the source has them, the target does not, and that counts as equal. `position`: every
    change up to there is covered by the verdict. `digest` is the sum of hashes of what is
    equal: of rows, or of all rows of a range together (`bridge.verify.sweep.Tally`).
    """

    table: TableName
    verdict: Verdict
    reason: str = ""
    hint: str = ""
    position: str = ""
    source_rows: int = 0
    target_rows: int = 0
    digest: str = ""
    equivalences: tuple[Equivalence, ...] = ()
    differing: int = 0
    quarantined: int = 0
    discarded: int = 0
    in_flight: int = 0
    differences: tuple[Difference, ...] = ()
    columns: tuple[ColumnFinding, ...] = ()
    seconds: float = 0.0
    rechecked: int = 0
    """Rows that changed meanwhile and were judged again."""

    @property
    def left_out(self) -> int:
        """Rows that differ and are not among `differences`; a file of all of them has these too."""
        return max(0, self.differing - sum(d.rows for d in self.differences if d.kind in FINDINGS))

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "table": str(self.table),
            "verdict": self.verdict,
            "reason": self.reason,
            "hint": self.hint,
            "position": self.position,
            "source_rows": self.source_rows,
            "target_rows": self.target_rows,
            "digest": self.digest,
            "equivalences": [
                {"column": e.column, "reason": e.reason, "rows": e.rows} for e in self.equivalences
            ],
            "differing": self.differing,
            "left_out": self.left_out,
            "quarantined": self.quarantined,
            "discarded": self.discarded,
            "in_flight": self.in_flight,
            "rechecked": self.rechecked,
            "columns": [{"name": c.name, "rows": c.rows, "whole": c.whole} for c in self.columns],
            "differences": [difference.document() for difference in self.differences],
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """One run over some tables.

    `certificates` were issued; `refusals` say why others were not; both are empty where none was
    asked for. `output` names the file that holds every difference ('' if there is none),
    `finished_at` is in seconds since 1970 (0: it goes on), and `lag_seconds` is by how much the
    stream was behind the source then (None: no daemon says so).
    """

    pipeline: str
    level: str
    tables: tuple[TableVerdict, ...] = ()
    position: str = ""
    output: str = ""
    certificates: tuple[Mapping[str, Any], ...] = ()
    refusals: tuple[Mapping[str, str], ...] = ()
    finished_at: float = 0.0
    lag_seconds: float | None = None

    @property
    def finished(self) -> datetime:
        """When the run came to its end."""
        return datetime.fromtimestamp(int(self.finished_at), UTC)

    @property
    def seconds(self) -> float:
        """How long all tables took together."""
        return sum(table.seconds for table in self.tables)

    @property
    def left_out(self) -> int:
        """Rows that differ and that no table's `differences` hold."""
        return sum(table.left_out for table in self.tables)

    @property
    def verdict(self) -> Verdict:
        """A mismatch anywhere is one; else match only if every table matches, and there is one."""
        verdicts = {table.verdict for table in self.tables}
        if "mismatch" in verdicts:
            return "mismatch"
        return "match" if verdicts == {"match"} else "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 match, 1 mismatch or a certificate that was refused, 3 neither can be said."""
        return _EXIT_CODES[self.verdict] or int(bool(self.refusals))

    @property
    def next(self) -> str:
        """The command that comes next."""
        for refusal in self.refusals:
            return refusal["hint"]
        for wanted in ("mismatch", "inconclusive"):
            for table in self.tables:
                if table.verdict == wanted:
                    return table.hint or f"dbbridge explain {table.table.word}"
        return "dbbridge status" if self.tables else "dbbridge init"

    def document(self) -> dict[str, Any]:
        """The JSON of the command-line contract."""
        return {
            "verdict": self.verdict,
            "position": self.position,
            "pipeline": self.pipeline,
            "level": self.level,
            "finished_at": self.finished.isoformat(),
            "lag_seconds": self.lag_seconds,
            "left_out": self.left_out,
            "output": self.output,
            "certificates": list(self.certificates),
            "refusals": list(self.refusals),
            "tables": [table.document() for table in self.tables],
        }
