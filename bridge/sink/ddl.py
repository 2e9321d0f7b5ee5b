"""The target's tables and indexes as SQL text; nothing here talks to a server.

What has no equal is left out, and `losses` tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.mapping.expressions import Untranslatable, index_part
from bridge.mapping.plan import TablePlan
from bridge.mapping.widths import KEY_BYTES, key_bytes
from bridge.names import TableName, fit_postgres, literal_postgres, quote_postgres
from bridge.sink.defaults import default, readable
from bridge.types.base import ColumnPlan
from bridge.types.table import IndexPart, SourceIndex
from bridge.types.target import target_of

IDENTITY_TYPES = frozenset({"smallint", "integer", "bigint"})
"""What an identity may be (PostgreSQL's manual, CREATE TABLE)."""
WORDS_LIMIT = 100_000
"""Characters of a row that go into a full-text index: a tsvector holds one MiB of words."""
_TEXTS = frozenset({"text", "varchar", "citext"})
_UNSORTED = frozenset({"json", "xml", "point", "geometry", "geography"})


@dataclass(frozen=True, slots=True)
class Statement:
    """An index to make in the target: plain SQL, which fails if it is there."""

    name: str
    table: TableName
    create: str
    unique: bool = False

    @property
    def sql(self) -> str:
        """SQL that can be run again after a crash.

        It does nothing where the table has this index, and fails on an index of that name of
        another table.
        """
        name = literal_postgres(TableName(self.table.schema, self.name).postgres)
        table = literal_postgres(self.table.postgres)
        return unless(
            f"EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = to_regclass({name})"
            f" AND indrelid = {table}::regclass)",
            self.create,
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """Something of the source table that the target will not have: a finding's code and words."""

    code: str
    column: str
    message: str


def create_table(plan: TablePlan) -> list[str]:
    """Statements that make the schema (if missing), the table with its key, and comments."""
    schema = quote_postgres(plan.target.schema)
    # CREATE SCHEMA IF NOT EXISTS asks for the right to create even where it has nothing to do.
    there = f"to_regnamespace({literal_postgres(schema)}) IS NOT NULL"
    return [unless(there, f"CREATE SCHEMA {schema}"), table_body(plan), *comments(plan)]


def unless(condition: str, statement: str) -> str:
    """One command that carries the statement out unless the condition is true."""
    tag = "$make$"
    while tag in condition or tag in statement:
        tag = f"$_{tag[1:]}"
    return f"DO {tag} BEGIN IF NOT ({condition}) THEN {statement}; END IF; END {tag}"


def table_body(plan: TablePlan) -> str:
    """CREATE TABLE with columns in the source's order, primary key and enum checks."""
    columns: list[tuple[ColumnPlan, str]] = [(column, "") for column in plan.columns]
    columns = sorted([*columns, *plan.computed], key=lambda pair: pair[0].source.ordinal)
    lines = [_column(column, expression) for column, expression in columns]
    if plan.key:
        names = ", ".join(quote_postgres(column.target_name) for column in plan.key_columns)
        lines.append(f"PRIMARY KEY ({names})")
    lines += [check for column, _ in columns if (check := _labels_check(column))]
    body = ",\n    ".join(lines)
    return f"CREATE TABLE {plan.target.postgres} (\n    {body}\n)"


def comments(plan: TablePlan) -> list[str]:
    """The source's comments on the table and its columns."""
    table = plan.target.postgres
    said = []
    if plan.table.comment:
        said.append(f"COMMENT ON TABLE {table} IS {_comment(plan.table.comment)}")
    for column in (*plan.columns, *(pair[0] for pair in plan.computed)):
        if column.source.comment:
            name = quote_postgres(column.target_name)
            said.append(f"COMMENT ON COLUMN {table}.{name} IS {_comment(column.source.comment)}")
    return said


def indexes(plan: TablePlan) -> list[Statement]:
    """The indexes to build once the table is copied; those without an equal are left out.

    A name is the same for the same table and index always, so that a crash can be resumed.
    """
    made = []
    for index in plan.indexes:
        try:
            made.append(index_of(plan, index))
        except Untranslatable:
            continue
    return made


def index_name(plan: TablePlan, index: SourceIndex) -> str:
    """The target's name of an index: MySQL's are per table, PostgreSQL's per schema."""
    return fit_postgres(f"{plan.target.table}_{index.name}")


def index_of(plan: TablePlan, index: SourceIndex) -> Statement:
    """One index; raises Untranslatable, which says why it has no equal."""
    name = index_name(plan, index)
    unique = "UNIQUE " if index.unique else ""
    create = (
        f"CREATE {unique}INDEX {quote_postgres(name)} ON {plan.target.postgres}"
        f" {_method(plan, index)}"
    )
    return Statement(name, plan.target, create, index.unique)


def losses(plan: TablePlan) -> list[Loss]:
    """What the target's table will not have of the source's, with the code of the finding."""
    found = [loss for column in plan.columns for loss in _column_losses(column)]
    for index in plan.indexes:
        try:
            index_of(plan, index)
        except Untranslatable as why:
            found.append(Loss("T017", "", f"index {index.name}: {why}"))
    return found


def _column_losses(column: ColumnPlan) -> Iterator[Loss]:
    source = column.source
    try:
        default(column)
    except Untranslatable as why:
        yield Loss("T019", source.name, f"default {source.default}: {why}")
    if source.auto_increment and target_of(column).base not in IDENTITY_TYPES:
        yield Loss("T024", source.name, f"{column.target_type} cannot be an identity")
    if source.generated:
        yield Loss("T018", source.name, f"{source.expression} is not computed by the target")
    if source.labels and not all(readable(source, label) for label in source.labels):
        yield Loss("T021", source.name, "a label holds a question mark")


def _column(column: ColumnPlan, expression: str) -> str:
    words = [quote_postgres(column.target_name), column.target_type]
    if column.collate_c and target_of(column).base in ("text", "varchar"):
        words.append('COLLATE "C"')
    if expression:
        words.append(f"GENERATED ALWAYS AS ({expression}) STORED")
    elif column.source.auto_increment and target_of(column).base in IDENTITY_TYPES:
        words.append("GENERATED BY DEFAULT AS IDENTITY")
    else:
        words += _default(column)
    if not column.target_nullable:
        words.append("NOT NULL")
    return " ".join(words)


def _default(column: ColumnPlan) -> list[str]:
    try:
        value = default(column)
    except Untranslatable:
        return []
    return [f"DEFAULT {value}"] if value else []


def _labels_check(column: ColumnPlan) -> str:
    """The labels of an enum, with '' which MySQL stores for a value that is none of them."""
    source = column.source
    if source.data_type != "enum" or target_of(column).base not in _TEXTS:
        return ""
    if not all(readable(source, label) and "\0" not in label for label in source.labels):
        return ""
    labels = ", ".join(literal_postgres(label) for label in dict.fromkeys(("", *source.labels)))
    return f"CHECK ({quote_postgres(column.target_name)} IN ({labels}))"


def _comment(text: str) -> str:
    return literal_postgres(text.replace("\0", ""))


def _method(plan: TablePlan, index: SourceIndex) -> str:
    if index.kind == "FULLTEXT":
        return f"USING gin ({_words(plan, index)})"
    if index.kind == "SPATIAL":
        return f"USING gist ({_place(plan, index)})"
    return f"({', '.join(_part(plan, index, part) for part in index.parts)})"


def _part(plan: TablePlan, index: SourceIndex, part: IndexPart) -> str:
    order = " DESC" if part.descending else ""
    if part.expression:
        columns = {column.source.name: column for column in plan.columns}
        columns |= {column.source.name: column for column, _ in plan.computed}
        return f"({index_part(part.expression, columns, unique=index.unique)}){order}"
    column = _carried(plan, part)
    name = quote_postgres(column.target_name)
    base = target_of(column).base
    if base in _UNSORTED:
        raise Untranslatable(f"PostgreSQL does not sort {column.target_type}")
    if part.prefix is not None and base in _TEXTS:
        return f"left({name}, {part.prefix}){order}"
    if part.prefix is not None and base == "bytea":
        return f"substr({name}, 1, {part.prefix}){order}"
    if index.kind == "HASH" and base in (*_TEXTS, "bytea") and key_bytes(column.source) > KEY_BYTES:
        # MariaDB's unique keys over whole texts are kept as hashes there, too.
        return f"md5({name}){order}"
    return f"{name}{order}"


def _carried(plan: TablePlan, part: IndexPart) -> ColumnPlan:
    for column in (*plan.columns, *(pair[0] for pair in plan.computed)):
        if column.source.name == part.column:
            return column
    raise Untranslatable(f"column {part.column} is not carried")


def _words(plan: TablePlan, index: SourceIndex) -> str:
    columns = [_carried(plan, part) for part in index.parts]
    limit = WORDS_LIMIT // max(len(columns), 1)
    phrases = " || ' ' || ".join(_phrase(column, limit) for column in columns)
    return f"to_tsvector('simple', {phrases})"


def _phrase(column: ColumnPlan, limit: int) -> str:
    if target_of(column).base not in _TEXTS:
        raise Untranslatable(f"words of {column.target_type}")
    name = quote_postgres(column.target_name)
    if (column.source.length or 0) > limit:
        name = f"left({name}, {limit})"
    return f"coalesce({name}, '')" if column.target_nullable else name


def _place(plan: TablePlan, index: SourceIndex) -> str:
    columns = [_carried(plan, part) for part in index.parts]
    if not all(target_of(column).base in ("geometry", "geography") for column in columns):
        raise Untranslatable("the column is no PostGIS type")
    return ", ".join(quote_postgres(column.target_name) for column in columns)


def name_clashes(plans: Sequence[TablePlan]) -> list[str]:
    """Names that two things of one schema would have, each with both things."""
    seen: dict[tuple[str, str], str] = {}
    clashes = []
    for plan in plans:
        things = [(plan.target.table, f"table {plan.target}")]
        things += [(index_name(plan, i), f"index {i.name} of {plan.target}") for i in plan.indexes]
        for name, thing in things:
            other = seen.setdefault((plan.target.schema, name), thing)
            if other != thing:
                clashes.append(f"{thing} and {other} would both be named {name}")
    return clashes
