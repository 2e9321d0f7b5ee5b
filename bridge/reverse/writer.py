"""One table's rows as statements of MySQL's, made for one form of its rows in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from bridge.errors import BridgeError
from bridge.mapping.plan import TablePlan
from bridge.names import quote_mysql
from bridge.reverse.pgoutput import UNCHANGED, Relation, Value, Values
from bridge.reverse.values import TEXTUAL, Unheld, constant_of, null_of, same_type, text_bytes
from bridge.reverse.values.base import hexadecimal
from bridge.types.base import ColumnPlan

Key = tuple[bytes, ...]
"""A key as PostgreSQL prints it."""
Row = tuple[Value, ...]
"""Values of the plan's columns, in their order."""
STATEMENT_BYTES = 1 << 20
"""After which a statement gets no more rows, where the server takes twice as much."""
STATEMENT_KEYS = 500
"""Keys of a DELETE: far more cost the server's range optimizer its memory."""
MODERN = (8, 0, 19)
"""From this MySQL on, VALUES() in ON DUPLICATE KEY UPDATE is deprecated for an alias."""


class ReverseStopped(BridgeError):
    """Reverse replication cannot go on with a table: its form changed, or rows are missing."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the source's server understands.

    `statement`: bytes after which a statement gets no more rows.
    """

    alias: bool
    mariadb: bool
    statement: int = STATEMENT_BYTES


class Writer:
    """Statements for one table; raises ReverseStopped where its rows do not fit the plan."""

    def __init__(self, plan: TablePlan, relation: Relation, dialect: Dialect) -> None:
        self.plan = plan
        self.keyed = plan.key > 0
        self.name = plan.table.name.mysql.encode()
        self.label = str(plan.table.name)
        self._dialect = dialect
        self._places = _places(plan, relation)
        _check_identity(plan, relation)
        self._in_order = self._places == list(range(len(relation.columns)))
        self._written = [i for i, column in enumerate(plan.columns) if not column.source.generated]
        self._constants = [_rendered(column) for column in plan.columns]
        self._render = _compiled(plan, self._written)
        self._quoted = [quote_mysql(c.source.name).encode() for c in plan.columns]
        self._exact = [_exact(column, dialect) for column in plan.columns]
        carried = {column.source.name for column in plan.columns}
        others = [c for c in plan.table.columns if c.name not in carried and not c.generated]
        self.alone = not others
        """The source's table has no columns but the carried ones."""
        # Assigned to itself, it is not set to the present time.
        self._kept = [quote_mysql(c.name).encode() for c in others if c.on_update]
        self._guarded = any(index.unique for index in plan.table.indexes) or any(
            column.source.data_type in TEXTUAL for column in plan.key_columns
        )
        self._head, self._tail = self._insert()
        self._in_key = plan.key == 1 and plan.columns[0].source.data_type not in TEXTUAL

    # -- rows --------------------------------------------------------------------------------

    def row(self, values: Values) -> Row:
        """Values of a message in the plan's order."""
        if self._in_order:
            return tuple(values)
        return tuple([values[place] for place in self._places])

    def key(self, row: Row) -> Key:
        """The key of a row."""
        return cast(Key, row[: self.plan.key])

    def rendered(self, row: Row) -> bytes:
        """``(…)`` of a whole row for VALUES; raises Unheld."""
        try:
            return self._render(row)
        except Unheld:
            for place in self._written:
                self._constants[place](row[place])  # raises it with the column's name
            raise

    def zero_labels(self, row: Row) -> int:
        """ENUMs with the empty text of an invalid value, which strict modes refuse."""
        return sum(
            row[place] == b"" and c.source.data_type == "enum" and "" not in c.source.labels
            for place, c in enumerate(self.plan.columns)
        )

    # -- statements --------------------------------------------------------------------------

    def inserts(self, rows: Iterable[bytes], *, plain: bool = False) -> Iterator[bytes]:
        """Statements that make rendered rows so; `plain`: none of them may be there."""
        tail = b"" if plain else self._tail
        pending: list[bytes] = []
        size = 0
        for row in rows:
            pending.append(row)
            size += len(row)
            if size > self._dialect.statement:
                yield self._head + b",".join(pending) + tail
                pending, size = [], 0
        if pending:
            yield self._head + b",".join(pending) + tail

    def update(self, key: Key, row: Row) -> bytes:
        """Sets the values that a row brings, in the row that has this key; raises Unheld."""
        changed = [
            b"%b=%b" % (self._quoted[place], self._constants[place](row[place]))
            for place in self._written
            if row[place] is not UNCHANGED
        ]
        changed += [b"%b=%b" % (name, name) for name in self._kept]
        return b"UPDATE %b SET %b WHERE %b" % (self.name, b",".join(changed), self.where(key))

    def deletes(self, keys: Sequence[Key]) -> Iterator[bytes]:
        """Statements that remove the rows of these keys; raises Unheld."""
        for start in range(0, len(keys), STATEMENT_KEYS):
            some = keys[start : start + STATEMENT_KEYS]
            if self._in_key:
                listed = b",".join(self._constants[0](key[0]) for key in some)
                found = b"%b IN (%b)" % (self._quoted[0], listed)
            else:
                found = b" OR ".join(b"(%b)" % self.where(key) for key in some)
            yield b"DELETE FROM %b WHERE %b" % (self.name, found)

    def delete_one(self, row: Row) -> bytes:
        """Removes one row that has all of these values; raises Unheld."""
        found = b" AND ".join(
            self._exact[place](self._quoted[place], row[place]) for place in self._written
        )
        return b"DELETE FROM %b WHERE %b LIMIT 1" % (self.name, found)

    def delete_all(self) -> bytes:
        """Removes all rows inside the transaction, which TRUNCATE would end."""
        return b"DELETE FROM %b" % self.name

    def where(self, key: Key) -> bytes:
        """The condition for exactly this key, and what an index finds it by; raises Unheld."""
        parts = []
        for place, value in enumerate(key):
            name = self._quoted[place]
            if self.plan.columns[place].source.data_type in TEXTUAL:
                parts.append(b"%b=%b" % (name, self._constants[place](value)))
            parts.append(self._exact[place](name, value))
        return b" AND ".join(parts)

    def _insert(self) -> tuple[bytes, bytes]:
        names = [self._quoted[place] for place in self._written]
        head = b"INSERT INTO %b (%b) VALUES " % (self.name, b",".join(names))
        if not self.keyed:
            return head, b""
        new = b"n.%b" if self._dialect.alias else b"VALUES(%b)"
        rest = [p for p in self._written if p >= self.plan.key]
        changes = [b"%b=%b" % (self._quoted[p], new % self._quoted[p]) for p in rest]
        table = self.name + b"." if self._dialect.alias else b""
        changes += [b"%b=%b%b" % (name, table, name) for name in self._kept]
        if self._guarded or not changes:
            changes.insert(0, self._guard(new, table))
        alias = b" AS n" if self._dialect.alias else b""
        return head, b"%b ON DUPLICATE KEY UPDATE %b" % (alias, b",".join(changes))

    def _guard(self, new: bytes, table: bytes) -> bytes:
        """An error (the key would be NULL) where another row than that of the key was met.

        It is met by another unique index, or by a key that is only equal by its collation.
        """
        equal = []
        for place in range(self.plan.key):
            old, given = table + self._quoted[place], new % self._quoted[place]
            if self.plan.columns[place].source.data_type in TEXTUAL:
                old, given = (b"CAST(%b AS BINARY)" % side for side in (old, given))
            equal.append(b"%b=%b" % (old, given))
        first = self._quoted[0]
        return b"%b=IF(%b,%b%b,NULL)" % (first, b" AND ".join(equal), table, first)


def _places(plan: TablePlan, relation: Relation) -> list[int]:
    known = {column.name: place for place, column in enumerate(relation.columns)}
    places = []
    for column in plan.columns:
        place = known.get(column.target_name)
        if place is None or not same_type(column, relation.columns[place].type_oid):
            what = "is gone" if place is None else f"is not {column.target_type} any more"
            raise ReverseStopped(
                f"{plan.target}: column {column.target_name} {what}",
                "give it back its name and type in the target; then reverse replication goes on",
            )
        places.append(place)
    return places


def _check_identity(plan: TablePlan, relation: Relation) -> None:
    """A row must be known by the source's key, or by all of its values."""
    whole = relation.identity == "f"
    marked = {column.name for column in relation.columns if column.key}
    if whole or (plan.key and marked >= {column.target_name for column in plan.key_columns}):
        return
    raise ReverseStopped(
        f"{plan.target}: changes do not come with the key that the source has",
        f"ALTER TABLE {plan.target.postgres} REPLICA IDENTITY FULL",
    )


def _rendered(column: ColumnPlan) -> Callable[[Value], bytes]:
    """A column's constant, NULL included; its errors name it."""
    constant, null = constant_of(column), null_of(column)
    name = column.target_name

    def rendered(value: Value) -> bytes:
        if value is None:
            if null is None:
                raise Unheld("null", "NULL", name)
            return null
        try:
            return constant(cast(bytes, value))
        except Unheld as error:
            error.column = name
            raise

    return rendered


def _compiled(plan: TablePlan, written: Sequence[int]) -> Callable[[Row], bytes]:
    """A function from a whole row to ``(…)``, of one expression: this is where the time goes.

    Names are numbers of columns; nothing of the source's or the target's is in the code.
    """
    names: dict[str, object] = {}
    parts = []
    for place in written:
        column = plan.columns[place]
        null = null_of(column)
        names[f"c{place}"] = constant_of(column)
        names[f"n{place}"] = null if null is not None else _rendered(column)
        missing = f"n{place}" if null is not None else f"n{place}(None)"
        parts.append(f"c{place}(v) if (v := row[{place}]) is not None else {missing}")
    form = b"(" + b",".join([b"%b"] * len(parts)) + b")"
    code = f"def render(row):\n    return {form!r} % ({', '.join(parts)},)"
    exec(code, names)  # noqa: S102
    return cast(Callable[[Row], bytes], names["render"])


def _exact(column: ColumnPlan, dialect: Dialect) -> Callable[[bytes, Value], bytes]:
    """A condition: the column holds this very value, whatever its collation takes for equal."""
    render = _rendered(column)
    kind = column.source.data_type
    textual = kind in TEXTUAL or (kind == "json" and dialect.mariadb)
    stored = text_bytes(column) if textual else None

    def exact(name: bytes, value: Value) -> bytes:
        constant = render(value)
        if value is None:
            return b"%b <=> %b" % (name, constant)
        if stored is not None:
            return b"CAST(%b AS BINARY)=%b" % (name, hexadecimal(stored(cast(bytes, value))))
        if kind == "json":
            return b"%b=CAST(%b AS JSON)" % (name, constant)
        return b"%b=%b" % (name, constant)

    return exact


def dialect_of(version: str, packet: int = 2 * STATEMENT_BYTES) -> Dialect:
    """From the text of SELECT VERSION() and max_allowed_packet."""
    statement = min(STATEMENT_BYTES, packet // 2)
    if "MariaDB" in version:
        return Dialect(alias=False, mariadb=True, statement=statement)
    numbers = tuple(int(part) for part in version.partition("-")[0].split(".")[:3])
    return Dialect(alias=numbers >= MODERN, mariadb=False, statement=statement)


def merged(row: Row, older: Row) -> Row:
    """A row whose values that did not come are those of an older one."""
    if UNCHANGED not in row:
        return row
    return tuple(old if new is UNCHANGED else new for new, old in zip(row, older, strict=True))


__all__ = ["Dialect", "Key", "ReverseStopped", "Row", "Writer", "dialect_of", "merged"]
