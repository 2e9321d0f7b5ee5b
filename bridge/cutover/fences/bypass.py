"""What writes tables under other rights than its caller's: it goes around a fence of rights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from bridge.cutover.fences.accounts import SYSTEM, Account
from bridge.cutover.fences.base import Connection, FenceProblem
from bridge.cutover.fences.rights import rows
from bridge.names import TableName, quote_mysql

_WRITES = re.compile(r"\b(insert|replace|update|delete|truncate|load|alter|drop)\b", re.IGNORECASE)
_DYNAMIC = re.compile(r"\b(prepare|execute\s+immediate)\b", re.IGNORECASE)
_USER_SCHEMAS = "NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
_ROUTINES = (
    "SELECT routine_type, routine_schema, routine_name, definer, routine_definition"
    f" FROM information_schema.routines WHERE routine_schema {_USER_SCHEMAS}"
    " AND security_type = 'DEFINER'"
)
_EVENTS = (
    "SELECT 'EVENT', event_schema, event_name, definer, event_definition"
    f" FROM information_schema.events WHERE event_schema {_USER_SCHEMAS} AND status = 'ENABLED'"
)
_TRIGGERS = (
    "SELECT 'TRIGGER', trigger_schema, trigger_name, definer, action_statement,"
    " event_object_table FROM information_schema.triggers"
    f" WHERE trigger_schema {_USER_SCHEMAS}"
)
_VIEWS = (
    "SELECT 'VIEW', table_schema, table_name, definer, view_definition"
    f" FROM information_schema.views WHERE table_schema {_USER_SCHEMAS}"
    " AND security_type = 'DEFINER' AND is_updatable = 'YES'"
)
_CASCADES = (
    "SELECT constraint_schema, table_name, unique_constraint_schema, referenced_table_name,"
    " constraint_name FROM information_schema.referential_constraints"
    " WHERE delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')"
    " OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')"
)


def bypasses(
    conn: Connection,
    tables: Sequence[TableName],
    stopped: Callable[[Account], bool],
    *,
    callers: bool = True,
) -> list[FenceProblem]:
    """Routines, events, triggers and views that write one of the tables for whoever calls them.

    `stopped` tells whether the fence keeps an account, under whose rights they run, from writing.
    Their texts are searched for the tables' names, so that one that only mentions a table counts.
    Without `callers` nobody is there to call one, and only events run.
    """
    if not callers:
        return list(_judged(rows(conn, _EVENTS), tables, stopped))
    return [
        *_objects(conn, tables, stopped),
        *_views(conn, tables, stopped),
        *_cascades(conn, set(tables)),
    ]


def _objects(
    conn: Connection, tables: Sequence[TableName], stopped: Callable[[Account], bool]
) -> Iterator[FenceProblem]:
    watched = {(name.schema, name.table) for name in tables}
    triggers = [row[:5] for row in rows(conn, _TRIGGERS) if (row[1], row[5]) not in watched]
    found = [*rows(conn, _ROUTINES), *rows(conn, _EVENTS), *triggers]
    return _judged(found, tables, stopped)


def _judged(
    found: Iterable[tuple[str, ...]],
    tables: Sequence[TableName],
    stopped: Callable[[Account], bool],
) -> Iterator[FenceProblem]:
    for kind, schema, name, definer, text in _others(found, stopped):
        what = f"{kind.lower()} {schema}.{name}"
        if text is None:
            yield FenceProblem(
                "unreadable",
                f"{what} runs as {definer}, and its text can't be read",
                severity="warning",
            )
            continue
        hit = _mentioned(text, tables)
        if hit and _WRITES.search(text):
            yield _around(what, definer, hit, _remedy(kind, f"{_quoted(schema, name)}"))
        elif _DYNAMIC.search(text):
            yield FenceProblem(
                "dynamic",
                f"{what} runs as {definer}, whom the fence does not stop, and makes its"
                " statements up: it may write the group's tables",
                severity="warning",
            )


def _views(
    conn: Connection, tables: Sequence[TableName], stopped: Callable[[Account], bool]
) -> Iterator[FenceProblem]:
    for _, schema, name, definer, text in _others(rows(conn, _VIEWS), stopped):
        hit = _mentioned(text or "", tables)
        if hit:
            quoted = _quoted(schema, name)
            alter = f"ALTER SQL SECURITY INVOKER VIEW {quoted} AS {text}"
            yield _around(f"view {schema}.{name}", definer, hit, alter)


def _others(
    found: Iterable[tuple[str, ...]], stopped: Callable[[Account], bool]
) -> Iterator[tuple[str, str, str, Account, str | None]]:
    for kind, schema, name, definer, text in found:
        account = Account.parse(definer)
        if account.user not in SYSTEM and not stopped(account):
            yield kind, schema, name, account, text


def _around(what: str, definer: Account, table: TableName, remedy: str) -> FenceProblem:
    return FenceProblem(
        "goes-around",
        f"{what} writes {table} as {definer}, whom the fence does not stop",
        (remedy,) if remedy else (),
    )


def _remedy(kind: str, quoted: str) -> str:
    return {
        "EVENT": f"ALTER EVENT {quoted} DISABLE",
        "PROCEDURE": f"ALTER PROCEDURE {quoted} SQL SECURITY INVOKER",
        "FUNCTION": f"ALTER FUNCTION {quoted} SQL SECURITY INVOKER",
    }.get(kind, "")


def _quoted(schema: str, name: str) -> str:
    return f"{quote_mysql(schema)}.{quote_mysql(name)}"


def _mentioned(text: str, tables: Sequence[TableName]) -> TableName | None:
    for name in tables:
        if re.search(rf"(?<![\w$]){re.escape(name.table)}(?![\w$])", text, re.IGNORECASE):
            return name
    return None


def _cascades(conn: Connection, tables: set[TableName]) -> Iterator[FenceProblem]:
    for schema, table, parent_schema, parent, constraint in rows(conn, _CASCADES):
        child, above = TableName(schema, table), TableName(parent_schema, parent)
        if child in tables and above not in tables:
            yield FenceProblem(
                "cascade-from-outside",
                f"foreign key {constraint} changes {child} when {above} changes, which is not of"
                " the group; no rights on it are asked for then",
            )
