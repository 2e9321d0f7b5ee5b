"""The independent comparison: plain SELECTs on both sides, compared as multisets in Python.

Nothing of the program is used here, neither its digests nor its types: values are read by the two
drivers and brought to one form by the few rules below.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.string import TextLoader
from pymysql.connections import Connection
from pymysql.constants import FIELD_TYPE
from pymysql.converters import decoders

from tests.fix_servers import SourceDatabase, TargetDatabase

SHOWN = 10
"""Differing rows that a report prints of each table."""

Row = tuple[Any, ...]
Form = Callable[[Any], Any] | None
"""Brings a value that is not NULL to the common form; None: it has that form."""


@dataclass(frozen=True)
class Column:
    """A column of both sides; `of_source` and `of_target` bring their values together."""

    name: str
    select: str
    of_source: Form
    of_target: Form


@dataclass(frozen=True)
class Difference:
    """What differs in one table: rows that only one side has (an altered row shows on both)."""

    table: str
    missing: Counter[Row]
    extra: Counter[Row]

    def __str__(self) -> str:
        lines = [f"{self.table}: {self.missing.total()} missing, {self.extra.total()} extra"]
        for word, rows in (("missing", self.missing), ("extra", self.extra)):
            shown = sorted(rows.elements(), key=repr)[:SHOWN]
            lines += [f"  {word} {row!r}" for row in shown]
        return "\n".join(lines)


def assert_same(source: SourceDatabase, target: TargetDatabase, **options: Any) -> int:
    """Fails with the first differing rows; returns how many rows were compared."""
    compared, found = compare(source, target, **options)
    assert not found, "source and target differ:\n" + "\n".join(map(str, found))
    return compared


def compare(
    source: SourceDatabase,
    target: TargetDatabase,
    *,
    tables: Collection[str] | None = None,
    left_out: Mapping[str, Collection[str]] | None = None,
    renamed: Mapping[str, str] | None = None,
    zero_dates_as_null: bool = False,
) -> tuple[int, list[Difference]]:
    """Rows compared, and the tables that differ.

    `left_out` names columns that are not carried, per table; `renamed` target tables whose
    names are not the source's. The source's writers must rest.
    """
    found = []
    compared = 0
    with closing(source.connect(conv=_decoders())) as here, target.connect() as there:
        _prepare(here, there)
        for table in tables if tables is not None else _tables(here):
            relation = sql.Identifier(source.name, (renamed or {}).get(table, table))
            dropped = frozenset((left_out or {}).get(table, ()))
            columns = _columns(here, there, table, relation, dropped, zero_dates_as_null)
            rows = Counter(_source_rows(here, table, columns))
            compared += rows.total()
            rows.subtract(_target_rows(there, relation, columns))
            missing, extra = +rows, -rows
            if missing or extra:
                found.append(Difference(table, missing, extra))
    return compared, found


# -- reading -----------------------------------------------------------------------------------


def _prepare(here: Connection[Any], there: psycopg.Connection[Any]) -> None:
    with here.cursor() as cursor:
        cursor.execute("SET SESSION time_zone='+00:00', sql_mode=''")
    there.execute("SET timezone = 'UTC'")
    there.execute("SET extra_float_digits = 1")
    for name in ("json", "jsonb"):
        there.adapters.register_loader(name, TextLoader)


def _tables(here: Connection[Any]) -> list[str]:
    with here.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name"
        )
        return [name for (name,) in cursor.fetchall()]


def _source_rows(here: Connection[Any], table: str, columns: Sequence[Column]) -> Iterable[Row]:
    listed = ", ".join(column.select for column in columns)
    with here.cursor() as cursor:
        cursor.execute(f"SELECT {listed} FROM {_quoted(table)}")
        yield from _formed(cursor.fetchall(), [column.of_source for column in columns])


def _target_rows(
    there: psycopg.Connection[Any], relation: sql.Identifier, columns: Sequence[Column]
) -> Iterable[Row]:
    listed = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    found = there.execute(sql.SQL("SELECT {} FROM {}").format(listed, relation))
    yield from _formed(found.fetchall(), [column.of_target for column in columns])


def _formed(rows: Iterable[Row], forms: Sequence[Form]) -> Iterable[Row]:
    changing = [(place, form) for place, form in enumerate(forms) if form is not None]
    if not changing:
        yield from rows
        return
    for row in rows:
        values = list(row)
        for place, form in changing:
            if values[place] is not None:
                values[place] = form(values[place])
        yield tuple(values)


def _decoders() -> dict[int, Any]:
    """PyMySQL's own, but faster for dates; an impossible date stays the server's text."""
    return {
        **decoders,
        FIELD_TYPE.DATE: _or_text(date.fromisoformat),
        FIELD_TYPE.NEWDATE: _or_text(date.fromisoformat),
        FIELD_TYPE.DATETIME: _or_text(datetime.fromisoformat),
        FIELD_TYPE.TIMESTAMP: _or_text(datetime.fromisoformat),
    }


def _or_text(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            return text

    return convert


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


# -- columns -----------------------------------------------------------------------------------


def _columns(
    here: Connection[Any],
    there: psycopg.Connection[Any],
    table: str,
    relation: sql.Identifier,
    dropped: frozenset[str],
    zero_dates_as_null: bool,
) -> list[Column]:
    with here.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position",
            (table,),
        )
        mine = dict(cursor.fetchall())
    found = there.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        [relation.as_string(there)],
    )
    theirs = dict(found.fetchall())
    assert mine.keys() - dropped == theirs.keys(), f"{table}: {sorted(mine)} and {sorted(theirs)}"
    return [
        _column(name, mine[name].lower(), theirs[name], zero_dates_as_null)
        for name in mine
        if name not in dropped
    ]


def _column(name: str, source: str, target: str, zero_dates_as_null: bool) -> Column:
    # FLOAT prints six digits; as a DOUBLE it shows what it holds.
    select = f"{_quoted(name)} + 0e0" if source == "float" else _quoted(name)
    of_source: Form = None
    if target == "jsonb":
        of_source = document
    elif source == "set" and target == "text[]":
        of_source = _labels
    elif source == "bit":
        of_source = _big_endian
    elif zero_dates_as_null and source in ("date", "datetime", "timestamp"):
        of_source = _date_or_null
    return Column(name, select, of_source, _of_target(source, target))


def _of_target(source: str, target: str) -> Form:
    forms: dict[str, Form] = {
        "jsonb": document,
        "text[]": tuple,
        "bit": lambda text: int(text, 2),
        "bit varying": lambda text: int(text, 2),
        "real": _single,
        "timestamp with time zone": _in_utc,
        "uuid": str,
    }
    if target == "uuid" and source == "binary":
        return lambda value: bytes(value.bytes)
    return forms.get(target)


def document(text: str) -> Any:
    """A JSON document as a value that is equal where the documents are."""
    return _frozen(json.loads(text, parse_float=Decimal))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return ("object", frozenset((name, _frozen(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return ("array", *map(_frozen, value))
    if isinstance(value, bool):
        return ("boolean", value)
    return ("null",) if value is None else value


def _labels(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _big_endian(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _date_or_null(value: Any) -> Any:
    return None if isinstance(value, str) else value


def _single(value: float) -> float:
    """The nearest number of four bytes: `real` prints fewer digits than that has."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(tzinfo=None)
