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

from sqlalchemy import Column, Table, and_, select
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.sql import operators
from sqlalchemy.sql.ddl import ExecutableDDLElement
from sqlalchemy.sql.dml import Delete, Insert, Update, UpdateBase
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    Grouping,
    TextClause,
)
from sqlalchemy.sql.selectable import TextualSelect
from sqlalchemy.types import TypeEngine

from bridge.change.batch import Op
from bridge.dualwrite.values import key_text
from bridge.errors import BridgeError
from bridge.mapping.plan import TablePlan
from bridge.names import TableName

_BEFORE = r"(?:\s|/\*(?!M?!).*?\*/|(?:--|#)[^\n]*\n|\()*"
"""What may stand before a statement; in ``/*! … */`` MySQL finds one."""
_READS = re.compile(
    _BEFORE + r"(?:(?:select|show|use|values|table|help|fetch|move|declare|close|listen|unlisten"
    r"|notify|reset|discard|deallocate|savepoint|release|rollback|commit|start|lock|unlock|flush"
    r"|kill|grant|revoke|comment|check|checksum|optimize|repair|vacuum|reindex|cluster|checkpoint"
    r"|begin(?!\s+not\b)|set(?!\s+statement\b))\b"
    r"|(?:with|explain|describe|desc|analy[sz]e)\b"
    r"(?!.*\b(?:insert|update|delete|replace|merge|execute|call)\b))",
    re.IGNORECASE | re.DOTALL,
)
"""Statements in text that change no row of an application, whatever functions they call; all
others may: EXECUTE, COPY, what begins with a word of a server to come."""
_COMMITS = re.compile(
    _BEFORE + r"(?:(?:alter|truncate|rename|grant|revoke|commit|begin|start|lock|unlock|flush|reset"
    r"|check|optimize|repair|cache|load\s+index|install|uninstall|analy[sz]e(?!.*\bselect\b)"
    r"|(?:create|drop)(?!\s+(?:or\s+replace\s+)?temporary\b))\b"
    r"|set\b.*\b(?:autocommit|password)\b)",
    re.IGNORECASE | re.DOTALL,
)
"""What ends the transaction that is open in MySQL and MariaDB (manual, "Statements That Cause an
Implicit Commit")."""
_COMMITS_THERE = re.compile(
    _BEFORE + r"(?:commit|end|prepare\s+transaction)\b", re.IGNORECASE | re.DOTALL
)
"""The same in PostgreSQL."""
KEY = "bridge.operation"
"""Where a connection keeps the operation of its transaction."""
WRITTEN = "bridge.written"
"""Where it keeps the name of the last one that was committed."""


class NotCarried(BridgeError):
    """A statement that strict mode refuses: what it changes is not known."""


@dataclass(slots=True)
class Operation:
    """What a transaction wrote: keys by table, and how many statements are left to the stream.

    `told`: whoever executes the statements says himself what they touch, and none is looked at.
    `asked`: keys that the statement under way looks for, which are touched if it finds a row.
    `op_id`: what the operation is to be named, by whoever wants to know it again; `op`: its name
    and number once it is recorded. `committing`: the commit itself was asked for.
    """

    touched: dict[TableName, set[bytes]] = field(default_factory=dict)
    tables: set[TableName] = field(default_factory=set)
    unknown: int = 0
    told: bool = False
    asked: set[bytes] = field(default_factory=set)
    op_id: UUID | None = None
    op: Op | None = None
    committing: bool = False


class Recorder:
    """Notes what statements on the source's engine touch.

    `database` is where unqualified tables are.
    """

    commits = _COMMITS
    """The statements with which the server ends a transaction by itself."""

    def __init__(
        self, plans: Mapping[TableName, TablePlan], database: str, *, strict: bool
    ) -> None:
        self._plans = plans
        self._database = database
        self._strict = strict

    # -- SQLAlchemy's events -----------------------------------------------------------------

    def before(self, conn: Connection, statement: Any, many: Sequence[Any], params: Any) -> None:
        """Before a statement: what commits by itself is refused; keys of criteria are looked up."""
        if operation_of(conn) is not None and _ends(conn, statement, self.commits):
            raise NotCarried(
                "a statement that ends the transaction would commit, past the look at who has"
                " authority, what was written before it",
                "commit that first, and run the statement in a transaction of its own",
            )
        if not _writes(statement):
            return
        if _autocommits(conn):
            raise NotCarried(
                "a write in AUTOCOMMIT cannot be tied to an operation",
                "write in a transaction: no isolation_level=AUTOCOMMIT",
            )
        plan, others = self._plan(statement), self._others(statement)
        if plan is None and self._foreign(statement) and not others:
            return
        operation = operation_of(conn, make=True)
        assert operation is not None
        operation.tables |= others
        if plan is not None:
            operation.tables.add(plan.source)
        if others:
            self._unknown(operation, "an update of several tables")
        elif plan is None:
            self._unknown(operation, "a statement in text changes rows that are not known")
        elif isinstance(statement, Update | Delete):
            self._criteria(conn, operation, plan, statement, _given(many, params))

    def before_cursor(self, conn: Connection, statement: str, context: Any) -> None:
        """Before the driver has a statement: text that came past SQLAlchemy, writes in a CTE."""
        operation = operation_of(conn)
        if operation is not None and operation.told:
            return
        compiled = context.compiled if context is not None else None
        if compiled is None:  # exec_driver_sql
            self.before(conn, statement, (), {})
        elif any(
            isinstance(cte.element, UpdateBase) for cte in getattr(compiled, "ctes", None) or ()
        ):
            self.before(conn, "insert", (), {})

    def after(self, conn: Connection, statement: Any, result: Any) -> None:
        """After a statement: the keys of inserted rows, and of those that its criteria found."""
        plan, operation = self._plan(statement), operation_of(conn)
        if plan is None or operation is None:
            return
        if not isinstance(statement, Insert):
            asked, operation.asked = operation.asked, set()
            if result.rowcount:
                self._note(operation, plan, list(asked))
            return
        if statement.select is not None or statement._post_values_clause is not None:  # noqa: SLF001
            self._unknown(operation, f"{plan.source}: an insert that may change other rows")
            return
        columns = list(_table(statement).primary_key)
        if statement._multi_values:  # noqa: SLF001
            rows: Iterable[Any] = ()
        else:
            rows = result.context.inserted_primary_key_rows
        keys = [self._row_key(conn, plan, columns, row) for row in rows]
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
        operation.asked = set()
        for values in given or ({},):
            known = _whole_key(conn.dialect, statement, columns, values)
            if known is not None:
                key = self._key(plan, known)
                if key is None:
                    found.append(key)
                else:
                    operation.asked.add(key)
                continue
            query = select(*columns).where(*statement._where_criteria).with_for_update()  # noqa: SLF001
            rows = conn.execute(query, dict(values)).all()
            found += [self._row_key(conn, plan, columns, row) for row in rows]
        self._note(operation, plan, found)

    def _row_key(
        self, conn: Connection, plan: TablePlan, columns: Sequence[Any], row: Sequence[Any]
    ) -> bytes | None:
        values = zip(columns, row, strict=True)
        return self._key(plan, {c.name: _bound(conn.dialect, c.type, v) for c, v in values})

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

    def _others(self, statement: Any) -> set[TableName]:
        """Carried tables beside its own of which it sets columns: MySQL's UPDATE of several."""
        if not isinstance(statement, Update):
            return set()
        named: Iterable[Any] = statement._values or ()  # noqa: SLF001
        tables = [getattr(column, "table", None) for column in named]
        names = {self._name(table) for table in tables if isinstance(table, Table)}
        own = {self._name(statement.table)} if isinstance(statement.table, Table) else set()
        return {self._plans[name].source for name in (names - own) & self._plans.keys()}

    def _name(self, table: Table) -> TableName:
        return TableName(table.schema or self._database, table.name)


class TargetRecorder(Recorder):
    """Notes which carried tables statements on the target's engine write, and no keys.

    Tables are known by their names there; one without a schema is the carried one of that name.
    """

    commits = _COMMITS_THERE

    def __init__(self, plans: Mapping[TableName, TablePlan]) -> None:
        super().__init__({plan.target: plan for plan in plans.values()}, "", strict=False)
        self._schemas = {plan.target.table: plan.target.schema for plan in plans.values()}

    def after(self, conn: Connection, statement: Any, result: Any) -> None:
        """Nothing: no other side is written."""

    def _criteria(self, *_: Any) -> None:
        """Nothing, for the same reason."""

    def _name(self, table: Table) -> TableName:
        return TableName(table.schema or self._schemas.get(table.name, ""), table.name)


def operation_of(conn: Connection, *, make: bool = False) -> Operation | None:
    """The operation of the connection's transaction."""
    info = conn.connection.info
    if make:
        return info.setdefault(KEY, Operation())  # type: ignore[no-any-return]
    return info.get(KEY)


def _writes(statement: Any) -> bool:
    if isinstance(statement, Insert | Update | Delete):
        return True
    text = _text(statement)
    return text is not None and _READS.match(text) is None


def _ends(conn: Connection, statement: Any, commits: re.Pattern[str]) -> bool:
    if isinstance(statement, ExecutableDDLElement):
        statement = str(statement.compile(dialect=conn.dialect))
    text = _text(statement)
    return text is not None and commits.match(text) is not None


def _text(statement: Any) -> str | None:
    """A statement in text, with or without columns of its rows."""
    if isinstance(statement, TextualSelect):
        statement = statement.element
    text = statement.text if isinstance(statement, TextClause) else statement
    return text if isinstance(text, str) else None


def _autocommits(conn: Connection) -> bool:
    """By an option of the connection, its engine, or its driver."""
    driver = conn.connection.dbapi_connection
    assert driver is not None
    return bool(conn.dialect.detect_autocommit_setting(driver))


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
    dialect: Dialect,
    statement: Update | Delete,
    columns: Sequence[Any],
    values: Mapping[str, Any],
) -> dict[str, Any] | None:
    """The key if the criteria are equality with each of its columns, whatever else there is."""
    found: dict[str, Any] = {}
    names = {column.name for column in columns}
    for part in _parts(and_(True, *statement._where_criteria)):  # noqa: SLF001
        if not (isinstance(part, BinaryExpression) and part.operator is operators.eq):
            continue
        if _of_table(part.left, _table(statement)) and isinstance(part.right, BindParameter):
            bind, name = part.right, part.left.name
            if name in names and bind.key in values:
                found[name] = _bound(dialect, bind.type, values[bind.key])
            elif name in names and not bind.required:
                found[name] = _bound(dialect, bind.type, bind.effective_value)
    return found if len(found) == len(names) and None not in found.values() else None


def _of_table(column: Any, table: Table) -> bool:
    """Whether it is a column of this very table, not of an alias or a table joined to it."""
    owner = column.table if isinstance(column, Column) else None
    return isinstance(owner, Table) and owner.fullname == table.fullname


def _bound(dialect: Dialect, kind: TypeEngine[Any], value: Any) -> Any:
    """The value as the driver is given it; None if the type does not take it."""
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    try:
        return value if process is None or value is None else process(value)
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def _parts(clause: Any) -> Iterable[Any]:
    """What must all be so: through AND and parentheses, not through NOT."""
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _parts(part)
    elif isinstance(clause, Grouping):
        yield from _parts(clause.element)
    else:
        yield clause
