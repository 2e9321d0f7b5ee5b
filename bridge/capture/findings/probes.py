"""What is asked of the rows: aggregates over columns, and what their values say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bridge.findings import Finding, finding
from bridge.mapping.widths import KEY_BYTES, key_bytes
from bridge.names import quote_mysql
from bridge.types.base import SourceColumn
from bridge.types.dates import impossible
from bridge.types.table import SourceTable

BIGINT_MAX = 2**63 - 1
INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_UUID_HEX = "^.{12}[1-8].{3}[89AB].{15}$"

Judge = Callable[[list[int]], Finding | None]
"""From the values of a probe's aggregates to what they say."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Aggregates over some columns and what they say. Each aggregate is a SUM or a MAX."""

    aggregates: tuple[str, ...]
    columns: tuple[str, ...]
    judge: Judge


@dataclass(frozen=True, slots=True)
class Count:
    """Rows that a condition (over ``{q}`` and ``{bytes}``) holds for, in columns that `applies` to.

    With `always` the finding is there even if no row is.
    """

    code: str
    applies: Callable[[SourceColumn], bool]
    condition: str
    what: str
    always: bool = False


_COUNTS = (
    Count(
        "D012",
        lambda c: c.column_type.startswith("tinyint(1)"),
        "{q} NOT IN (0, 1)",
        "something other than 0 and 1",
        always=True,
    ),
    Count(
        "D014",
        lambda c: c.data_type == "time",
        "{q} < TIME'00:00:00' OR {q} >= TIME'24:00:00'",
        "times outside of a day",
        always=True,
    ),
    Count(
        "D015",
        lambda c: c.data_type in _TEXTS,
        "INSTR({bytes}, 0x00) > 0",
        "the character NUL",
    ),
    Count(
        "D016",
        lambda c: c.data_type == "json",
        "INSTR({q}, _utf8mb4 0x5c7530303030) > 0",
        "the escape \\u0000",
    ),
    Count(
        "D017",
        lambda c: c.data_type in ("date", "datetime", "timestamp"),
        "{impossible}",
        "dates that no calendar has",
    ),
    Count(
        "D020",
        lambda c: c.data_type == "enum" and "" not in c.labels,
        "{q} + 0 = 0",
        "the empty value that is none of the labels",
    ),
)


def probes_of(table: SourceTable) -> list[Probe]:
    """Everything to ask about a table."""
    found: list[Probe] = []
    for column in table.columns:
        found += [_counting(table, column, c) for c in _COUNTS if c.applies(column)]
        if column.data_type == "bigint" and column.unsigned:
            found.append(_greatest(table, column))
        if column.data_type == "binary" and column.length == 16:
            found.append(_uuids(table, column))
    return [*found, *_wide_keys(table)]


def unsigned_range(table: SourceTable, column: SourceColumn, greatest: int) -> Finding:
    """D011 for a column with that greatest value; a counter may be further than its rows."""
    if column.auto_increment and table.auto_increment:
        greatest = max(greatest, table.auto_increment - 1)
    fits = greatest <= BIGINT_MAX
    return finding(
        "D011",
        table=str(table.name),
        column=column.name,
        message=f"the greatest value is {greatest:,}: {'fits' if fits else 'does not fit'} bigint",
        fact=greatest,
        hint="" if fits else "keep numeric(20,0): with bigint such rows are quarantined",
    )


def _counting(table: SourceTable, column: SourceColumn, count: Count) -> Probe:
    q = quote_mysql(column.name)
    condition = count.condition.format(q=q, bytes=utf8_bytes(column), impossible=impossible(q))

    def judge(values: list[int]) -> Finding | None:
        if not values[0] and not count.always:
            return None
        return finding(
            count.code,
            table=str(table.name),
            column=column.name,
            count=values[0],
            message=rows_hold(values[0], count.what),
            **({} if values[0] else {"hint": ""}),
        )

    return Probe((f"SUM({condition})",), (column.name,), judge)


def _greatest(table: SourceTable, column: SourceColumn) -> Probe:
    return Probe(
        (f"MAX({quote_mysql(column.name)})",),
        (column.name,),
        lambda values: unsigned_range(table, column, values[0]),
    )


def _uuids(table: SourceTable, column: SourceColumn) -> Probe:
    q = quote_mysql(column.name)

    def judge(values: list[int]) -> Finding | None:
        present, other = values
        if not present or other:
            return None
        return finding(
            "D018",
            table=str(table.name),
            column=column.name,
            count=present,
            message=f"all {present:,} values look like UUIDs",
        )

    return Probe(
        (f"SUM({q} IS NOT NULL)", f"SUM(NOT (HEX({q}) REGEXP '{_UUID_HEX}'))"),
        (column.name,),
        judge,
    )


def _wide_keys(table: SourceTable) -> Iterator[Probe]:
    """Lengths of keys that PostgreSQL might refuse."""
    keys = [("the primary key", table.primary_key)]
    keys += [
        (index.name, tuple(part.column for part in index.parts))
        for index in table.indexes
        if index.kind not in ("FULLTEXT", "SPATIAL")
        and not any(part.prefix or part.expression for part in index.parts)
    ]
    for name, names in keys:
        columns = [table.column(column) for column in names]
        if sum(map(key_bytes, columns)) > KEY_BYTES:
            yield _wide_key(table, name, [c for c in columns if c.data_type in _TEXTS | _BYTES])


def _wide_key(table: SourceTable, name: str, columns: list[SourceColumn]) -> Probe:
    size = " + ".join(f"COALESCE(LENGTH({utf8_bytes(column)}), 0)" for column in columns)

    def judge(values: list[int]) -> Finding | None:
        count, longest = values
        if not count:
            return None
        what = rows_hold(count, f"a key over {KEY_BYTES:,} bytes in {name}")
        message = f"{what}; the longest takes {longest:,}"
        return finding("D022", table=str(table.name), count=count, message=message, fact=longest)

    names = tuple(column.name for column in columns)
    return Probe((f"SUM({size} > {KEY_BYTES})", f"MAX({size})"), names, judge)


def utf8_bytes(column: SourceColumn) -> str:
    """MySQL expression: the text in UTF-8, as bytes."""
    q = quote_mysql(column.name)
    charset = column.charset or ""
    if charset and not charset.startswith("utf8") and charset != "ascii":
        q = f"CONVERT({q} USING utf8mb4)"
    return f"CAST({q} AS BINARY)"


def rows_hold(count: int, what: str) -> str:
    """``3 rows hold dates that no calendar has``, also for one and none."""
    if not count:
        return f"no row holds {what}"
    return f"{count:,} {'row holds' if count == 1 else 'rows hold'} {what}"
