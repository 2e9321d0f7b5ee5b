"""Carries out what a source's foreign keys did to child rows without logging it.

InnoDB applies ON DELETE and ON UPDATE actions inside the storage engine, so that MariaDB's and,
before 9.6, MySQL's binlog holds the parent's change alone (MySQL bug 32506). A chain of cascades is
followed through all followed tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import psycopg

from bridge.change.batch import Cascade
from bridge.errors import TableStopped
from bridge.names import TableName, quote_postgres
from bridge.sink.target import Target
from bridge.types.base import NULL, ColumnPlan
from bridge.types.table import ForeignKey

Values = tuple[str | None, ...]
"""Column values as PostgreSQL prints them."""
_ALIKE = (
    "CASE WHEN octet_length({0}) = length({0}) AND octet_length({1}) = length({1})"
    " THEN lower(rtrim({0})) = lower(rtrim({1})) ELSE"
    " lower(regexp_replace(normalize(rtrim({0}), NFKD), '[\u0300-\u036f]', '', 'g'))"
    " = lower(regexp_replace(normalize(rtrim({1}), NFKD), '[\u0300-\u036f]', '', 'g')) END"
)
"""ASCII, which most keys are, is compared without taking letters apart."""
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Link:
    """A foreign key with actions, and the child that it acts on."""

    child: Target
    key: ForeignKey


class Cascades:
    """The links among the followed tables of one stream."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._targets = {target.source: target for target in targets}
        self._links: dict[TableName, list[Link]] = {}
        for target in self._targets.values():
            for key in target.plan.table.foreign_keys:
                if key.cascades:
                    self._links.setdefault(key.parent, []).append(Link(target, key))

    def apply(self, conn: psycopg.Connection[Any], cascades: Sequence[Cascade]) -> None:
        """Applies cascades in their order; neighbouring deletes of one parent go together."""
        for (parent, columns, gone), group in groupby(
            cascades, key=lambda c: (c.parent, c.columns, c.new is None)
        ):
            if gone:
                self._deleted(conn, parent, columns, [fields(c.old) for c in group])
            else:
                for cascade in group:
                    assert cascade.new is not None
                    pair = (fields(cascade.old), fields(cascade.new))
                    self._changed(conn, parent, columns, [pair])

    def _deleted(
        self,
        conn: psycopg.Connection[Any],
        parent: TableName,
        columns: tuple[str, ...],
        rows: list[Values],
    ) -> None:
        for link in self._links.get(parent, ()):
            old = list(_select(rows, columns, link.key.parent_columns))
            if not old:
                continue
            if link.key.on_delete == "CASCADE":
                self._delete_children(conn, link, old)
            elif link.key.on_delete == "SET NULL":
                nulls: Values = (None,) * len(link.key.columns)
                self._update_children(conn, link, [(values, nulls) for values in old])

    def _changed(
        self,
        conn: psycopg.Connection[Any],
        parent: TableName,
        columns: tuple[str, ...],
        pairs: list[tuple[Values, Values]],
    ) -> None:
        for link in self._links.get(parent, ()):
            if not link.key.acts_on_update:
                continue
            moved = []
            for old, new in pairs:
                before = _pick(old, columns, link.key.parent_columns)
                after = _pick(new, columns, link.key.parent_columns)
                if before is None or after is None or None in before or before == after:
                    continue
                nulls: Values = (None,) * len(before)
                moved.append((before, after if link.key.on_update == "CASCADE" else nulls))
            if moved:
                self._update_children(conn, link, moved)

    def _delete_children(
        self, conn: psycopg.Connection[Any], link: Link, old: list[Values]
    ) -> None:
        child = link.child
        _refuse(conn, link, old)
        wanted = self._referenced(child.source)
        returned = _returned(child, wanted)
        sql = (
            f"DELETE FROM {child.relation.postgres} t USING {_listed(link, 'o')}"
            f" WHERE {_matches(link)} RETURNING {returned}"
        )
        gone = conn.execute(sql.encode(), _arrays(old)).fetchall()
        if gone and wanted:
            self._deleted(conn, child.source, wanted, [tuple(row) for row in gone])

    def _update_children(
        self,
        conn: psycopg.Connection[Any],
        link: Link,
        moved: list[tuple[Values, Values]],
    ) -> None:
        """One pair after the other, as the source did: a value may move twice."""
        child = link.child
        _refuse(conn, link, [values for values, _ in moved])
        wanted = self._referenced(child.source)
        returned = _returned(child, wanted)
        own = [_plan(child, name) for name in link.key.columns]
        setting = ", ".join(f"{quote_postgres(p.target_name)} = n.v{i}" for i, p in enumerate(own))
        sql = (
            f"UPDATE {child.relation.postgres} t SET {setting}"
            f" FROM {_listed(link, 'o')}, {_listed(link, 'n')} WHERE {_matches(link)}"
            f" RETURNING {returned}"
        )
        for old, new in moved:
            rows = conn.execute(sql.encode(), [*_arrays([old]), *_arrays([new])]).fetchall()
            if rows and wanted:
                before = dict(zip(link.key.columns, old, strict=True))
                pairs = []
                for row in rows:
                    now = tuple(row)
                    was = tuple(
                        before.get(name, value) for name, value in zip(wanted, now, strict=True)
                    )
                    pairs.append((was, now))
                self._changed(conn, child.source, wanted, pairs)

    def _referenced(self, parent: TableName) -> tuple[str, ...]:
        """The columns of a table that its own children refer to."""
        names = {name for link in self._links.get(parent, ()) for name in link.key.parent_columns}
        return tuple(sorted(names))


def referenced_columns(targets: Iterable[Target]) -> dict[TableName, tuple[str, ...]]:
    """Per parent table the columns that cascading foreign keys of `targets` refer to, sorted."""
    found: dict[TableName, set[str]] = {}
    for target in targets:
        for key in target.plan.table.foreign_keys:
            if key.cascades:
                found.setdefault(key.parent, set()).update(key.parent_columns)
    return {parent: tuple(sorted(names)) for parent, names in found.items()}


def fields(line: bytes) -> Values:
    """The values of a COPY line."""
    return tuple(None if raw == NULL else unescape(raw) for raw in line.split(b"\t"))


def unescape(raw: bytes) -> str:
    """One COPY text field as the text that PostgreSQL would read."""
    if b"\\" not in raw:
        return raw.decode()
    parts = raw.decode().split("\\")
    out = [parts[0]]
    pending = iter(parts[1:])
    for part in pending:
        if part:
            out.append(_ESCAPES.get(part[0], part[0]) + part[1:])
        else:
            out.append("\\" + next(pending, ""))
    return "".join(out)


def _plan(target: Target, name: str) -> ColumnPlan:
    return next(column for column in target.plan.columns if column.source.name == name)


def _pick(values: Values, columns: tuple[str, ...], wanted: tuple[str, ...]) -> Values | None:
    if not set(wanted) <= set(columns):
        return None
    return tuple(values[columns.index(name)] for name in wanted)


def _select(
    rows: list[Values], columns: tuple[str, ...], wanted: tuple[str, ...]
) -> Iterator[Values]:
    """The referenced values of each row; a NULL among them refers to nothing (MATCH SIMPLE)."""
    for row in rows:
        values = _pick(row, columns, wanted)
        if values is not None and None not in values:
            yield values


def _listed(link: Link, alias: str) -> str:
    """A FROM item with the key's values, cast to the child's types."""
    own = [_plan(link.child, name) for name in link.key.columns]
    casts = ", ".join(f"u.v{i}::{p.target_type} AS v{i}" for i, p in enumerate(own))
    arrays = ", ".join("%s::text[]" for _ in own)
    names = ", ".join(f"v{i}" for i in range(len(own)))
    return f"(SELECT {casts} FROM unnest({arrays}) AS u ({names})) {alias}"


def _matches(link: Link) -> str:
    own = [_plan(link.child, name) for name in link.key.columns]
    return " AND ".join(f"t.{quote_postgres(p.target_name)} = o.v{i}" for i, p in enumerate(own))


def _arrays(rows: list[Values]) -> list[list[str | None]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _returned(child: Target, wanted: Sequence[str]) -> str:
    """What the changed rows give back: what their own children refer to."""
    plans = [_plan(child, name) for name in wanted]
    return ", ".join(f"t.{quote_postgres(p.target_name)}::text" for p in plans) or "1"


def _refuse(conn: psycopg.Connection[Any], link: Link, old: list[Values]) -> None:
    """Refuses where it is not sure which rows the source's cascade found."""
    _refuse_quarantined(link.child)
    _refuse_alike(conn, link, old)


def _refuse_alike(conn: psycopg.Connection[Any], link: Link, old: list[Values]) -> None:
    """Refuses where children refer to the values in another spelling, which the source obeys.

    Its collation says what is equal; here spellings count that differ in case, accents or spaces at
    the end. Values without letters have one spelling.
    """
    own = [_plan(link.child, name) for name in link.key.columns]
    loose = [at for at, plan in enumerate(own) if _caseless(plan)]
    varied = [row for row in old if any(_varies(row[at] or "") for at in loose)]
    if not varied:
        return
    conditions = [
        _ALIKE.format(f"t.{quote_postgres(plan.target_name)}::text", f"o.v{at}::text")
        if at in loose
        else f"t.{quote_postgres(plan.target_name)} = o.v{at}"
        for at, plan in enumerate(own)
    ]
    found = conn.execute(
        f"SELECT EXISTS (SELECT FROM {link.child.relation.postgres} t, {_listed(link, 'o')}"
        f" WHERE {' AND '.join(conditions)} AND NOT ({_matches(link)}))".encode(),
        _arrays(varied),
    ).fetchone()
    if found and found[0]:
        name = link.child.source
        stop = TableStopped(
            f"{name}: a cascade that the source did not log changed rows that refer to their parent"
            f" in another spelling ({', '.join(link.key.columns)})",
            "make child and parent rows agree in the source, or copy again after each such cascade:"
            f" dbbridge tables resync {name.word}",
            "caseless-cascade",
        )
        stop.table = name
        raise stop


def _caseless(plan: ColumnPlan) -> bool:
    collation = plan.source.collation or ""
    return bool(collation) and collation != "binary" and not collation.endswith("_bin")


def _varies(text: str) -> bool:
    return any(c.isalpha() or c > "\x7f" for c in text) or text != text.rstrip(" ")


def _refuse_quarantined(child: Target) -> None:
    """A cascade reaches rows in quarantine too; their referring columns are not known."""
    if child.quarantined:
        stop = TableStopped(
            f"{child.source}: a cascade that the source did not log may have changed rows which are"
            " in quarantine",
            "mend the quarantined rows in the source or give their columns a policy, then: dbbridge"
            f" tables resync {child.source.word}",
            "cascade-in-quarantine",
        )
        stop.table = child.source
        raise stop
