"""What the statements of a transaction touch, as SQLAlchemy executes them.

Keys come from where they are known: an insert's own, those of a WHERE over the whole key, and for
other criteria from a SELECT … FOR UPDATE of them before. What has none of these is left to the
stream, or refused in strict mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Table, and_, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import operators
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, TextClause

from bridge.change.batch import Op
from bridge.dualwrite.values import key_text
from bridge.errors import BridgeError
from bridge.mapping.plan import TablePlan
from bridge.names import TableName

_WRITES = re.compile(
    r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*|\()*(?P<verb>insert|update|delete|replace|load|truncate|call|do|handler|with"
    r"|alter|create|drop|rename)\b",
    re.IGNORECASE | re.DOTALL,
)
KEY = "bridge.operation"
"""Where a connection keeps the operation of its transaction."""


class NotCarried(BridgeError):
    """A statement that strict mode refuses: what it changes is not known."""


@dataclass(slots=True)
class Operation:
    """What a transaction wrote: keys by table, and how many statements are left to the stream.

    `op_id`: what the operation is to be named, by whoever wants to know it again; `op`: its name
    and number once it is recorded.
    """

    touched: dict[TableName, set[bytes]] = field(default_factory=dict)
    tables: set[TableName] = field(default_factory=set)
    unknown: int = 0
    op_id: UUID | None = None
    op: Op | None = None


class Recorder:
    """Notes what statements on one engine touch; `database` is where unqualified tables are."""

    def __init__(
        self, plans: Mapping[TableName, TablePlan], database: str, *, strict: bool
    ) -> None:
        self._plans = plans
        self._database = database
        self._strict = strict

    # -- SQLAlchemy's events -----------------------------------------------------------------

    def before(self, conn: Connection, statement: Any, many: Sequence[Any], params: Any) -> None:
        """Before a statement: an autocommitted write is refused; keys of criteria are looked up."""
        if not _writes(statement):
            return
        if _autocommits(conn):
            raise NotCarried(
                "a write in AUTOCOMMIT cannot be tied to an operation",
                "write in a transaction: no isolation_level=AUTOCOMMIT",
            )
        plan = self._plan(statement)
        if plan is None and self._foreign(statement):
            return
        operation = operation_of(conn, make=True)
        assert operation is not None
        if plan is None:
            self._unknown(operation, "a statement in text changes rows that are not known")
            return
        operation.tables.add(plan.source)
        if isinstance(statement, Update | Delete):
            self._criteria(conn, operation, plan, statement, _given(many, params))

    def after(self, conn: Connection, statement: Any, result: Any) -> None:
        """After a statement: the keys of inserted rows."""
        if not isinstance(statement, Insert):
            return
        plan, operation = self._plan(statement), operation_of(conn)
        if plan is None or operation is None:
            return
        if statement.select is not None or statement._post_values_clause is not None:  # noqa: SLF001
            self._unknown(operation, f"{plan.source}: an insert that may change other rows")
            return
        names = [column.name for column in _table(statement).primary_key]
        if statement._multi_values:  # noqa: SLF001
            rows: Iterable[Any] = ()
        else:
            rows = result.context.inserted_primary_key_rows
        keys = [self._key(plan, dict(zip(names, row, strict=True))) for row in rows]
        self._note(operation, plan, keys or [None])

    # -- keys --------------------------------------------------------------------------------

    def _criteria(
        self,
        conn: Connection,
        operation: Operation,
        plan: TablePlan,
        statement: Update | Delete,
        given: Sequence[Mapping[str, Any]],
    ) -> None:
        table = _table(statement)
        columns = [c for c in table.columns if c.name in {k.source.name for k in plan.key_columns}]
        if len(columns) < plan.key or not plan.key:
            self._unknown(operation, f"{plan.source} has no key that the model knows")
            return
        if isinstance(statement, Update) and _changes(statement, given, {c.key for c in columns}):
            self._unknown(operation, f"{plan.source}: an update that changes the key")
            return
        found: list[bytes | None] = []
        for values in given or ({},):
            known = _whole_key(statement, columns, values)
            if known is not None:
                found.append(self._key(plan, known))
                continue
            query = select(*columns).where(*statement._where_criteria).with_for_update()  # noqa: SLF001
            rows = conn.execute(query, dict(values)).all()
            names = [column.name for column in columns]
            found += [self._key(plan, dict(zip(names, row, strict=True))) for row in rows]
        self._note(operation, plan, found)

    def _key(self, plan: TablePlan, values: Mapping[str, Any]) -> bytes | None:
        if not plan.key:
            return None
        return key_text(plan, [values.get(c.source.name) for c in plan.key_columns])

    def _note(self, operation: Operation, plan: TablePlan, keys: Sequence[bytes | None]) -> None:
        known = {key for key in keys if key is not None}
        if len(known) < len(set(keys)):
            self._unknown(operation, f"{plan.source}: keys of the changed rows are not known")
        if known:
            operation.touched.setdefault(plan.source, set()).update(known)

    def _unknown(self, operation: Operation, why: str) -> None:
        if self._strict:
            raise NotCarried(
                f"{why}, so it cannot be written to the other side at once",
                "write it over its key, or leave it to the stream: strict=False",
            )
        operation.unknown += 1

    # -- tables ------------------------------------------------------------------------------

    def _plan(self, statement: Any) -> TablePlan | None:
        if not isinstance(statement, Insert | Update | Delete):
            return None
        if not isinstance(statement.table, Table):
            return None
        return self._plans.get(self._name(statement.table))

    def _foreign(self, statement: Any) -> bool:
        """Whether it concerns a table that is not carried."""
        return (
            isinstance(statement, Insert | Update | Delete)
            and isinstance(statement.table, Table)
            and self._name(statement.table) not in self._plans
        )

    def _name(self, table: Table) -> TableName:
        return TableName(table.schema or self._database, table.name)


def operation_of(conn: Connection, *, make: bool = False) -> Operation | None:
    """The operation of the connection's transaction."""
    info = conn.connection.info
    if make:
        return info.setdefault(KEY, Operation())  # type: ignore[no-any-return]
    return info.get(KEY)


def _writes(statement: Any) -> bool:
    if isinstance(statement, Insert | Update | Delete):
        return True
    text = statement.text if isinstance(statement, TextClause) else statement
    return isinstance(text, str) and _WRITES.match(text) is not None


def _autocommits(conn: Connection) -> bool:
    level = conn.get_execution_options().get("isolation_level", "")
    return str(level).upper() == "AUTOCOMMIT"


def _given(many: Sequence[Any], params: Any) -> list[Mapping[str, Any]]:
    return [dict(one) for one in many] if many else [dict(params)] if params else []


def _table(statement: Insert | Update | Delete) -> Table:
    assert isinstance(statement.table, Table)
    return statement.table


def _changes(statement: Update, given: Sequence[Mapping[str, Any]], keys: set[str]) -> bool:
    values: Mapping[Any, Any] = statement._values or {}  # noqa: SLF001
    named = {getattr(column, "key", column) for column in values}
    if not named and given:
        named = set(given[0])
    return bool(named & keys)


def _whole_key(
    statement: Update | Delete, columns: Sequence[Any], values: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The key if the criteria are equality with each of its columns, whatever else there is."""
    found: dict[str, Any] = {}
    names = {column.name for column in columns}
    for part in _parts(and_(True, *statement._where_criteria)):  # noqa: SLF001
        if not (isinstance(part, BinaryExpression) and part.operator is operators.eq):
            continue
        name = str(getattr(part.left, "name", ""))
        if name in names and isinstance(part.right, BindParameter):
            bind = part.right
            if bind.key in values:
                found[name] = values[bind.key]
            elif not bind.required:
                found[name] = bind.effective_value
    return found if len(found) == len(names) and None not in found.values() else None


def _parts(clause: Any) -> Iterable[Any]:
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _parts(part)
    elif hasattr(clause, "element") and not isinstance(clause, BinaryExpression):
        yield from _parts(clause.element)
    else:
        yield clause
