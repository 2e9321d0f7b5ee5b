"""Who may write tables of the source, and by which grants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pymysql
from pymysql.constants import ER

from bridge.cutover.fences.accounts import SYSTEM, Account, covers
from bridge.names import TableName, quote_mysql

Connection: TypeAlias = "pymysql.Connection[Any]"
WRITING = ("INSERT", "UPDATE", "DELETE", "DROP", "ALTER")
"""Rights that change rows; TRUNCATE needs DROP, and ALTER can change values."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One grant of one privilege on a table, on columns of it, or on databases (`table` '').

    `database` is spelt as the grant has it, a pattern where `table` is ''.
    """

    account: Account
    database: str
    table: str
    privilege: str
    columns: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """What it is granted on, quoted."""
        name = quote_mysql(self.table) if self.table else "*"
        return f"{quote_mysql(self.database)}.{name}"

    @property
    def what(self) -> str:
        """The privilege, with its columns."""
        listed = ", ".join(map(quote_mysql, self.columns))
        return f"{self.privilege} ({listed})" if listed else self.privilege

    def document(self) -> list[Any]:
        """For JSON."""
        account = self.account
        where = [account.user, account.host, self.database, self.table, self.privilege]
        return [*where, list(self.columns)]

    @classmethod
    def parse(cls, document: Sequence[Any]) -> Right:
        """What `document` gave."""
        user, host, database, table, privilege, columns = document
        return cls(Account(user, host), database, table, privilege, tuple(columns))


def statements(verb: str, rights: Iterable[Right]) -> list[str]:
    """REVOKE or GRANT lines, one for each account, place and level.

    Columns' rights come first: a table's REVOKE takes those of its columns along, and a REVOKE of
    what is gone fails as a whole.
    """
    lines: dict[tuple[Account, str, bool], list[Right]] = defaultdict(list)
    for right in sorted(rights, key=lambda r: (not r.columns, r)):
        lines[(right.account, right.place, not right.columns)].append(right)
    to = "FROM" if verb == "REVOKE" else "TO"
    return [
        f"{verb} {', '.join(right.what for right in each)} ON {place} {to} {account.quoted}"
        for (account, place, _), each in lines.items()
    ]


def rows(conn: Connection, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All that a query gives, texts as str whatever the server's tables have them as."""
    with conn.cursor() as cursor:
        cursor.execute(sql, values or None)
        return [
            tuple(value.decode() if isinstance(value, bytes) else value for value in row)
            for row in cursor.fetchall()
        ]


def execute(conn: Connection, sql: str) -> None:
    """Carries out one statement without values."""
    with conn.cursor() as cursor:
        cursor.execute(sql)


def read_rights(conn: Connection, tables: Sequence[TableName]) -> list[Right]:
    """All grants by which somebody may write one of the tables, but for those on ``*.*``."""
    literal = literal_patterns(conn)
    found = list(_on_databases(conn, {name.schema for name in tables}, literal=literal))
    names = set(tables)
    for host, user, database, table, privileges in rows(
        conn, "SELECT Host, User, Db, Table_name, Table_priv FROM mysql.tables_priv"
    ):
        if TableName(database, table) in names:
            account = Account(user, host)
            found += [Right(account, database, table, p) for p in _writing(privileges)]
    return sorted({*found, *_on_columns(conn, names)})


def _writing(privileges: str) -> list[str]:
    return [name for name in privileges.upper().split(",") if name in WRITING]


def _on_databases(conn: Connection, databases: set[str], *, literal: bool) -> Iterable[Right]:
    columns = ", ".join(f"{name.capitalize()}_priv" for name in WRITING)
    for host, user, pattern, *given in rows(
        conn, f"SELECT Host, User, Db, {columns} FROM mysql.db"
    ):
        if any(covers(pattern, name, literal=literal) for name in databases):
            for privilege, flag in zip(WRITING, given, strict=True):
                if flag == "Y":
                    yield Right(Account(user, host), pattern, "", privilege)


def _on_columns(conn: Connection, names: set[TableName]) -> Iterable[Right]:
    columns: dict[tuple[Account, TableName, str], list[str]] = defaultdict(list)
    for host, user, database, table, column, privileges in rows(
        conn, "SELECT Host, User, Db, Table_name, Column_name, Column_priv FROM mysql.columns_priv"
    ):
        if TableName(database, table) in names:
            for privilege in _writing(privileges):
                columns[(Account(user, host), TableName(database, table), privilege)].append(column)
    for (account, name, privilege), each in columns.items():
        yield Right(account, name.schema, name.table, privilege, tuple(sorted(each)))


def literal_patterns(conn: Connection) -> bool:
    """Whether grants' databases are names, not patterns (MySQL's partial_revokes)."""
    found = rows(conn, "SHOW GLOBAL VARIABLES LIKE 'partial\\_revokes'")
    return bool(found) and str(found[0][1]).upper() == "ON"


def global_rights(conn: Connection) -> dict[Account, set[str]]:
    """What accounts are granted on ``*.*``, MySQL's dynamic privileges included."""
    found: dict[Account, set[str]] = defaultdict(set)
    for grantee, privilege in rows(
        conn, "SELECT grantee, privilege_type FROM information_schema.user_privileges"
    ):
        found[_grantee(grantee)].add(str(privilege).upper())
    return dict(found)


def _grantee(text: str) -> Account:
    user, _, host = text.rpartition("'@'")
    return Account(user[1:], host[:-1]) if host else Account(text.strip("'"), "")


def administrators(conn: Connection) -> list[Account]:
    """Accounts that may write everything, which no REVOKE on tables or databases reaches."""
    return sorted(
        account
        for account, rights in global_rights(conn).items()
        if rights & {"INSERT", "UPDATE", "DELETE"} and account.user not in SYSTEM
    )


def current_account(conn: Connection) -> Account:
    """The account that a session is checked by."""
    ((text,),) = rows(conn, "SELECT CURRENT_USER()")
    return Account.parse(str(text))


def known_accounts(conn: Connection) -> set[Account]:
    """All accounts and roles of the server, PUBLIC included."""
    found = {Account(user, host) for user, host in rows(conn, "SELECT User, Host FROM mysql.user")}
    return found | {Account("PUBLIC", "")}


def members(conn: Connection, roles: Iterable[Account]) -> set[Account]:
    """The accounts given and all that are members of them, over any number of roles."""
    edges = _edges(conn)
    reached, waiting = set(roles), list(roles)
    while waiting:
        for member in edges.get(waiting.pop(), ()):
            if member not in reached:
                reached.add(member)
                waiting.append(member)
    return reached


def _edges(conn: Connection) -> dict[Account, list[Account]]:
    edges: dict[Account, list[Account]] = defaultdict(list)
    try:
        found = rows(conn, "SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST FROM mysql.role_edges")
    except pymysql.err.ProgrammingError as error:
        if error.args[0] != ER.NO_SUCH_TABLE:
            raise
        found = rows(conn, "SELECT Role, '', User, Host FROM mysql.roles_mapping")
    for role, role_host, user, host in found:
        edges[Account(role, role_host)].append(Account(user, host))
    return edges
