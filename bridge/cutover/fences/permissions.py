"""What the account that fences may do, and the lines that grant what it lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import pymysql
from pymysql.constants import ER

from bridge.capture.dialect import read_dialect
from bridge.cutover.fences.accounts import Account, covers
from bridge.cutover.fences.base import Connection, FenceProblem
from bridge.cutover.fences.rights import (
    Right,
    current_account,
    global_rights,
    literal_patterns,
    rows,
)
from bridge.names import TableName, quote_mysql

READ_ONLY_EXEMPT = {
    False: ("CONNECTION_ADMIN", "SUPER"),
    True: ("READ ONLY ADMIN", "READ_ONLY ADMIN"),
}
"""Privileges whose holders write under read_only, on MySQL and on MariaDB."""
SEEING = ("EVENT", "TRIGGER", "SHOW VIEW")
"""What lets an account see every event, trigger and view of the server."""
_ROUTINES = {False: ("SHOW_ROUTINE",), True: ()}
"""The same for routines, which MariaDB shows to who may read its own tables."""
_KILL = {False: "CONNECTION_ADMIN", True: "CONNECTION ADMIN"}
DENIED = (
    ER.DBACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
)


def base_problems(conn: Connection, tables: Sequence[TableName], *more: str) -> list[FenceProblem]:
    """What every fence needs: to read the grants, see and end sessions, and lock the tables.

    `more`: global privileges that this one needs besides.
    """
    mariadb = read_dialect(conn).mariadb
    me = current_account(conn)
    lines = []
    wanted = ["PROCESS", _KILL[mariadb], *more]
    if set(SEEING) <= set(more):
        wanted += _ROUTINES[mariadb]
    mine = global_rights(conn).get(me, set())
    # MariaDB lists READ_ONLY ADMIN what it grants as READ ONLY ADMIN.
    known = {each.replace("_", " ") for each in mine}
    missing = [each for each in wanted if each.replace("_", " ") not in known]
    if missing:
        lines.append(f"GRANT {', '.join(missing)} ON *.* TO {me.quoted}")
    schemas = ["mysql"] if mariadb else ["mysql", "performance_schema"]
    probes = {"mysql": "mysql.tables_priv", "performance_schema": "performance_schema.threads"}
    lines += [
        f"GRANT SELECT ON {schema}.* TO {me.quoted}"
        for schema in schemas
        if not _readable(conn, probes[schema])
    ]
    lines += _schema_lines(conn, {name.schema for name in tables}, ("SELECT", "LOCK TABLES"))
    if not lines:
        return []
    return [FenceProblem("account-lacks-rights", f"{me} may not fence yet", tuple(lines))]


def _readable(conn: Connection, table: str) -> bool:
    try:
        rows(conn, f"SELECT 1 FROM {table} LIMIT 1")
    except pymysql.err.MySQLError as error:
        if error.args[0] not in DENIED:
            raise
        return False
    return True


def _schema_lines(conn: Connection, schemas: Iterable[str], wanted: Sequence[str]) -> list[str]:
    me = current_account(conn)
    mine = global_rights(conn).get(me, set())
    lines = []
    for schema in sorted(schemas):
        have = mine | _on_schema(conn, me, schema)
        missing = [each for each in wanted if each not in have]
        if missing:
            lines.append(f"GRANT {', '.join(missing)} ON {quote_mysql(schema)}.* TO {me.quoted}")
    return lines


def _on_schema(conn: Connection, me: Account, schema: str) -> set[str]:
    literal = literal_patterns(conn)
    return {
        str(privilege).upper()
        for pattern, privilege in rows(
            conn,
            "SELECT table_schema, privilege_type FROM information_schema.schema_privileges"
            " WHERE grantee = %s",
            (_grantee(me),),
        )
        if covers(pattern, schema, literal=literal)
    }


def _grantee(account: Account) -> str:
    return f"'{account.user}'@'{account.host}'"


def may_grant(conn: Connection, rights: Iterable[Right]) -> list[FenceProblem]:
    """What the account lacks to take these rights from others and to give them back."""
    me = current_account(conn)
    everywhere = _grantable(conn, "user", me).get("", set())
    schemas = _grantable(conn, "schema", me)
    literal = literal_patterns(conn)
    missing: dict[str, set[str]] = defaultdict(set)
    for right in rights:
        have = set(everywhere)
        for pattern, privileges in schemas.items():
            same = pattern == right.database
            if same or (right.table and covers(pattern, right.database, literal=literal)):
                have |= privileges
        if right.privilege not in have:
            missing[f"{quote_mysql(right.database)}.*"].add(right.privilege)
    lines = tuple(
        f"GRANT {', '.join(sorted(privileges))} ON {place} TO {me.quoted} WITH GRANT OPTION"
        for place, privileges in sorted(missing.items())
    )
    if not lines:
        return []
    return [
        FenceProblem(
            "account-may-not-grant",
            f"{me} can take from others only what it may grant itself",
            lines,
        )
    ]


def _grantable(conn: Connection, level: str, me: Account) -> dict[str, set[str]]:
    place = "''" if level == "user" else "table_schema"
    found: dict[str, set[str]] = defaultdict(set)
    for where, privilege in rows(
        conn,
        f"SELECT {place}, privilege_type FROM information_schema.{level}_privileges"
        " WHERE grantee = %s AND is_grantable = 'YES'",
        (_grantee(me),),
    ):
        found[where].add(str(privilege).upper())
    return found
