"""What others have open on both servers: transactions, prepared ones included."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pymysql
from pymysql.constants import ER

from bridge.cutover.fences.rights import rows
from bridge.cutover.gates.base import Problem
from bridge.cutover.gates.facts import Doubt, OpenTransaction, Transactions
from bridge.cutover.under_way import under_way
from bridge.store.sql import queries

Q = queries("bridge.cutover.gates", "queries.sql")
REFUSED = frozenset(
    {
        ER.SPECIFIC_ACCESS_DENIED_ERROR,
        ER.TABLEACCESS_DENIED_ERROR,
        ER.DBACCESS_DENIED_ERROR,
        ER.XAER_RMERR,
        1370,  # ER_PROCACCESS_DENIED_ERROR
    }
)
"""How a server says that the account may not look. XA RECOVER answers XAER_RMERR (MySQL 8.0)."""
_HIDDEN_LOOKS = 6
_HIDDEN_SECONDS = 0.03
"""So often, and that far apart, sessions are looked at whose transactions' age is hidden."""

_PROGRAMS = """
SELECT PROCESSLIST_ID, ATTR_VALUE FROM performance_schema.session_connect_attrs
WHERE ATTR_NAME = 'program_name'"""


def doubt(source: pymysql.Connection[Any], target: psycopg.Connection[Any], pipeline: str) -> Doubt:
    """What is undecided. Raises the drivers' errors."""
    count, age = target.execute(Q["unconfirmed"], {"pipeline": pipeline}).fetchone() or (0, 0.0)
    there = tuple(str(gid) for (gid,) in target.execute(Q["prepared"]))
    try:
        mariadb = "mariadb" in str(rows(source, "SELECT VERSION()")[0][0]).lower()
        found = rows(source, "XA RECOVER " + ("FORMAT='SQL'" if mariadb else "CONVERT XID"))
    except pymysql.Error as error:
        if error.args[0] not in REFUSED:
            raise
        return Doubt(count, age, None, there, str(error.args[1]))
    return Doubt(count, age, tuple(_xid(*row) for row in found), there)


def _xid(format_: int, length: int, rest: int, text: str) -> str:
    """As XA COMMIT and XA ROLLBACK take it; MariaDB writes it so, MySQL in hexadecimal digits."""
    if not text.startswith("0x"):
        return text
    digits, cut, end = text[2:], 2 * length, 2 * (length + rest)
    return f"X'{digits[:cut]}',X'{digits[cut:end]}',{format_}"


def transactions(source: pymysql.Connection[Any], target: psycopg.Connection[Any]) -> Transactions:
    """Open transactions of other sessions on both servers. Raises the drivers' errors."""
    here, unseen_here = _of_source(source)
    there, unseen_there = _of_target(target)
    return Transactions((*here, *there), (*unseen_here, *unseen_there))


def _of_source(
    source: pymysql.Connection[Any],
) -> tuple[list[OpenTransaction], list[Problem]]:
    try:
        found = under_way(source)
    except pymysql.Error as error:
        if error.args[0] not in REFUSED:
            raise
        return [], [
            Problem(
                f"the account may not see the source's transactions (PROCESS): {error.args[1]}",
                "GRANT PROCESS ON *.* and SELECT ON performance_schema.* TO the bridge's account",
            )
        ]
    known = programs(source) if found else {}
    return [
        OpenTransaction(
            "source",
            one.session,
            one.user,
            one.host,
            known.get(one.session, ""),
            one.seconds,
            one.writes,
            one.statement,
        )
        for one in found
    ], []


def programs(source: pymysql.Connection[Any]) -> dict[int, str]:
    """What sessions call themselves, by their numbers; {} where the server does not tell."""
    try:
        found = rows(source, _PROGRAMS)
    except pymysql.Error as error:
        if error.args[0] not in REFUSED:
            raise
        return {}
    return {int(number): str(name or "") for number, name in found}


def _of_target(
    target: psycopg.Connection[Any],
) -> tuple[list[OpenTransaction], list[Problem]]:
    found = [
        OpenTransaction("target", pid, user, host, program, seconds, writes, statement)
        for pid, user, host, program, seconds, writes, statement in target.execute(
            Q["transactions"]
        ).fetchall()
        if seconds is not None
    ]
    hidden = _hidden(target)
    if not hidden:
        return found, []
    who = ", ".join(sorted({f"session {pid} of {user}" for pid, user, _ in hidden}))
    return found, [
        Problem(
            f"{who} in the target: since when its transaction is open is not shown",
            "GRANT pg_read_all_stats TO the bridge's role",
        )
    ]


def _hidden(target: psycopg.Connection[Any]) -> set[tuple[int, str, str]]:
    """Sessions that are hidden and have had the same transaction open during some looks."""
    still: set[tuple[int, str, str]] | None = None
    for _ in range(_HIDDEN_LOOKS):
        now = set(target.execute(Q["hidden_transactions"]).fetchall())
        still = now if still is None else still & now
        if not still:
            return set()
        time.sleep(_HIDDEN_SECONDS)
    return still or set()
