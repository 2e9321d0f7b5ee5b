"""What the source's account may do, and the exact lines that give it what it lacks."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pymysql
from pymysql.cursors import Cursor

from bridge.capture.dialect import Dialect, read_dialect
from bridge.findings import Finding, finding
from bridge.names import TableName, quote_mysql

_LINE = re.compile(r"(GRANT|REVOKE) (.+?) ON (?:TABLE )?(\S.*?) (?:TO|FROM) ", re.DOTALL)
_NAME = re.compile(r"`((?:[^`]|``)*)`|\*|(\w+)")
_ALL = frozenset({"ALL", "ALL PRIVILEGES"})
_CLIENT = frozenset({"REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"})
"""MariaDB 10.5.2 calls REPLICATION CLIENT BINLOG MONITOR, and takes both names."""
_BYPASS = ("SUPER", "BINLOG ADMIN", "SYSTEM_VARIABLES_ADMIN", "SESSION_VARIABLES_ADMIN")
_BEATING = ("CREATE", "SELECT", "INSERT", "UPDATE")
"""SELECT because MariaDB asks for it in ON DUPLICATE KEY UPDATE."""
_INTERNAL = ("mysql.", "mariadb.")


@dataclass(frozen=True, slots=True)
class Grant:
    """One line of SHOW GRANTS: rights on a database and table (each perhaps ``*``)."""

    rights: frozenset[str]
    database: str
    table: str
    revoked: bool = False

    def covers(self, database: str, table: str) -> bool:
        """Whether it is about the table (``*``: about all of the database)."""
        return _matches(self.database, database) and self.table in ("*", table)


def grant_findings(
    conn: pymysql.Connection[Cursor],
    database: str,
    tables: Collection[str] = (),
    *,
    lock_tables: bool = False,
    heartbeat: TableName | None = None,
) -> list[Finding]:
    """What the account lacks to read `database` and the binary log.

    `tables` are those to be read, in case rights were given table by table. `lock_tables`: some
    table is copied under a short lock, which needs LOCK TABLES. `heartbeat`: the table that the
    daemon makes and writes to. The hint of each finding is the
    line that an administrator runs. Raises pymysql's errors.
    """
    with conn.cursor(Cursor) as cursor:
        cursor.execute("SHOW GRANTS")
        grants = parse_grants([str(row[0]) for row in cursor.fetchall()])
        cursor.execute("SELECT CURRENT_USER()")
        row = cursor.fetchone()
    account = quote_account(str(row[0]) if row else "@")
    wanted = ("SELECT", "LOCK TABLES") if lock_tables else ("SELECT",)
    return [
        *judge_grants(grants, read_dialect(conn), account, database, tables, wanted),
        *_heartbeat(grants, account, heartbeat),
        *_bypass(conn, account),
    ]


def judge_grants(
    grants: Sequence[Grant],
    dialect: Dialect,
    account: str,
    database: str,
    tables: Collection[str],
    wanted: Sequence[str] = ("SELECT",),
) -> list[Finding]:
    """The same over what SHOW GRANTS said; `account` is quoted."""
    found = []
    missing = [right for right in wanted if not _may(grants, right, database, tables)]
    if missing:
        words = ", ".join(missing)
        line = f"GRANT {words} ON {_escaped(database)}.* TO {account};"
        found.append(finding("G001", message=f"{words} on {database} is missing", hint=line))
    if not _globally(grants, frozenset({"REPLICATION SLAVE"})):
        line = f"GRANT REPLICATION SLAVE ON *.* TO {account};"
        found.append(finding("G002", message="REPLICATION SLAVE is missing", hint=line))
    if not _globally(grants, _CLIENT):
        name = "BINLOG MONITOR" if dialect.mariadb else "REPLICATION CLIENT"
        line = f"GRANT {name} ON *.* TO {account};"
        found.append(finding("G003", message=f"{name} is missing", hint=line))
    return found


def _heartbeat(grants: Sequence[Grant], account: str, table: TableName | None) -> list[Finding]:
    if table is None:
        return []
    missing = [right for right in _BEATING if not _may(grants, right, table.schema, [table.table])]
    if not missing:
        return []
    words = ", ".join(missing)
    return [
        finding(
            "G005",
            message=f"{words} on {table} is missing",
            hint=f"GRANT {words} ON {table.mysql} TO {account};",
        )
    ]


def grant_lines(
    dialect: Dialect, account: str, database: str, *, lock_tables: bool = False
) -> list[str]:
    """All that an account needs, for one that has nothing yet; `account` is quoted."""
    wanted = ("SELECT", "LOCK TABLES") if lock_tables else ("SELECT",)
    return [one.hint for one in judge_grants((), dialect, account, database, (), wanted)]


def quote_account(text: str) -> str:
    """``bridge@%`` as GRANT takes it: ``'bridge'@'%'``."""
    user, _, host = text.rpartition("@")
    quoted = ("'" + part.replace("\\", "\\\\").replace("'", "''") + "'" for part in (user, host))
    return "@".join(quoted)


def parse_grants(lines: Sequence[str]) -> list[Grant]:
    """SHOW GRANTS read; lines about roles and proxies are left out."""
    found = []
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        names = [name.group(1) or name.group(2) or "*" for name in _NAME.finditer(match[3])]
        if len(names) != 2 or match[3].startswith(("FUNCTION", "PROCEDURE", "PACKAGE")):
            continue
        # Rights on single columns, SELECT (a, b), do not give the row.
        rights = re.sub(r"\w+ \([^)]*\)", "", match[2])
        words = frozenset(word.strip().upper() for word in rights.split(",") if word.strip())
        database, table = (name.replace("``", "`") for name in names)
        found.append(Grant(words, database, table, revoked=match[1] == "REVOKE"))
    return found


def _may(grants: Sequence[Grant], right: str, database: str, tables: Collection[str]) -> bool:
    def given(table: str) -> bool:
        about = [grant for grant in grants if grant.covers(database, table)]
        about = [grant for grant in about if grant.rights & {right, *_ALL}]
        return bool(about) and not any(grant.revoked for grant in about)

    return given("*") or (bool(tables) and all(given(table) for table in tables))


def _globally(grants: Sequence[Grant], rights: frozenset[str]) -> bool:
    return any(
        grant.rights & (rights | _ALL) and (grant.database, grant.table) == ("*", "*")
        for grant in grants
        if not grant.revoked
    )


def _matches(pattern: str, database: str) -> bool:
    """Database names in GRANT are patterns with _ and %, escaped by a backslash."""
    if pattern in ("*", database):
        return True
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    words = {"_": ".", "%": ".*"}
    regex = "".join(words.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(regex, database, re.DOTALL) is not None


def _escaped(database: str) -> str:
    """The database alone, not those that its name would match as a pattern."""
    return quote_mysql(re.sub(r"([\\_%])", r"\\\1", database))


def _bypass(conn: pymysql.Connection[Cursor], account: str) -> list[Finding]:
    """Accounts that may write past the log, where this one may look at the others' rights."""
    marks = ", ".join(["%s"] * len(_BYPASS))
    query = (
        "SELECT DISTINCT grantee FROM information_schema.user_privileges"
        f" WHERE privilege_type IN ({marks}) ORDER BY grantee"
    )
    with suppress(pymysql.err.OperationalError), conn.cursor(Cursor) as cursor:
        cursor.execute(query, _BYPASS)
        names = [str(row[0]) for row in cursor.fetchall()]
        others = [name for name in names if name != account and not _internal(name)]
        if others:
            return [finding("G004", message=", ".join(others))]
    return []


def _internal(grantee: str) -> bool:
    return grantee.strip("'").startswith(_INTERNAL)
