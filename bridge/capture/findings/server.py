"""How the source is set: its variables and states read here, judged by pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pymysql
from pymysql.cursors import Cursor, DictCursor

from bridge.capture.dialect import Dialect, read_dialect
from bridge.capture.prepared import prepared
from bridge.findings import Finding, finding

DAY = 86_400
EXPIRY_SECONDS = 2 * DAY
"""A binary log that is kept for less is too short for most copies."""
PACKET_BYTES = 16 << 20
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_REFUSED = (pymysql.err.OperationalError, pymysql.err.ProgrammingError, pymysql.err.InternalError)


@dataclass(frozen=True, slots=True)
class Server:
    """What was read of a source. Names of variables are lower case."""

    dialect: Dialect
    variables: Mapping[str, str]
    filters: tuple[str, str] = ("", "")
    """binlog_do_db and binlog_ignore_db, as SHOW BINARY LOG STATUS prints them."""
    replica: bool = False
    encrypted: bool = True
    """Whether the connection is (or does not leave the machine)."""
    prepared: int = 0
    """XA transactions that are prepared."""

    def on(self, name: str) -> bool:
        """Whether a variable is on."""
        return self.variables.get(name, "").upper() in ("ON", "1", "YES")


def server_findings(conn: pymysql.Connection[Cursor]) -> list[Finding]:
    """What is wrong with the source's settings; needs no right but to log in.

    What the account may not ask for (grant_findings tells) is left out. Raises pymysql's errors
    when the connection breaks.
    """
    return judge(read_server(conn))


def read_server(conn: pymysql.Connection[Cursor]) -> Server:
    """Reads what `judge` wants to know."""
    dialect = read_dialect(conn)
    with conn.cursor(Cursor) as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES")
        variables = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        cipher = cursor.fetchone()
    local = str(getattr(conn, "host", "")) in _LOOPBACK or bool(getattr(conn, "unix_socket", None))
    status = _first(conn, _status_query(dialect))
    return Server(
        dialect,
        variables,
        (status.get("binlog_do_db", ""), status.get("binlog_ignore_db", "")),
        replica=_is_replica(conn, dialect, variables),
        encrypted=local or bool(cipher and cipher[1]),
        prepared=prepared(conn) or 0,
    )


def judge(server: Server) -> list[Finding]:
    """What is wrong, the worst first."""
    found = [one for rule in _RULES for one in rule(server)]
    order = ("error", "warning", "info")
    return sorted(found, key=lambda one: (order.index(one.severity), one.code))


def _status_query(dialect: Dialect) -> str:
    if dialect.mysql_since(8, 2, 0):
        return "SHOW BINARY LOG STATUS"
    return "SHOW MASTER STATUS"


def _first(conn: pymysql.Connection[Cursor], query: str) -> dict[str, str]:
    """The first row by lower-case names; {} if there is none, or the account may not ask."""
    with suppress(*_REFUSED), conn.cursor(DictCursor) as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
        return {str(name).lower(): str(value or "") for name, value in (row or {}).items()}
    return {}


def _is_replica(
    conn: pymysql.Connection[Cursor], dialect: Dialect, variables: Mapping[str, str]
) -> bool:
    """Whether the server takes changes from another one."""
    if dialect.mariadb:
        # SHOW REPLICA STATUS wants a right there that nothing else of ours needs.
        running = _first(conn, "SHOW GLOBAL STATUS LIKE 'Slaves_running'").get("value", "0")
        return running not in ("", "0") or bool(variables.get("gtid_slave_pos"))
    query = "SHOW REPLICA STATUS" if dialect.mysql_since(8, 0, 22) else "SHOW SLAVE STATUS"
    return bool(_first(conn, query))


def _version(server: Server) -> Iterator[Finding]:
    version, mariadb = server.dialect.version, server.dialect.mariadb
    low, high = ((10, 5), (99,)) if mariadb else ((5, 6), (10,))
    if not low <= version < high:
        yield finding("S001", message=f"the source is {server.dialect}")


def _binlog(server: Server) -> Iterator[Finding]:
    value = server.variables.get
    if not server.on("log_bin"):
        yield finding("S002", message="log_bin is off")
        return
    if (value("binlog_format") or "ROW").upper() != "ROW":
        yield finding("S003", message=f"binlog_format is {value('binlog_format')}")
    if (value("binlog_row_image") or "FULL").upper() != "FULL":
        yield finding("S004", message=f"binlog_row_image is {value('binlog_row_image')}")
    metadata = value("binlog_row_metadata")
    if metadata is None:
        yield finding("S016", message=f"{server.dialect} cannot log column names")
    elif metadata.upper() != "FULL":
        yield finding("S005", message=f"binlog_row_metadata is {metadata}")
    if "PARTIAL_JSON" in (value("binlog_row_value_options") or "").upper():
        yield finding("S006", message="binlog_row_value_options is PARTIAL_JSON")
    for name, names in zip(("binlog_do_db", "binlog_ignore_db"), server.filters, strict=True):
        if names:
            yield finding("S008", message=f"{name} is {names}")


def expiry_seconds(server: Server) -> int | None:
    """How long the binary log is kept; None: for ever."""
    value = server.variables.get
    if value("binlog_expire_logs_auto_purge", "ON").upper() == "OFF":
        return None
    seconds = float(value("binlog_expire_logs_seconds") or 0)
    days = float(value("expire_logs_days") or 0)
    return int(seconds or days * DAY) or None


def _expiry(server: Server) -> Iterator[Finding]:
    kept = expiry_seconds(server)
    if server.on("log_bin") and kept is not None and kept < EXPIRY_SECONDS:
        hours = f"{kept / 3600:,.1f} hours"
        yield finding("S007", message=f"the binary log is kept for {hours}", fact=kept)
    total = int(server.variables.get("max_binlog_total_size") or 0)
    if total:
        size = f"{total / 10**9:,.1f} GB"
        yield finding("S007", message=f"the binary log is cut at {size}, however new it is")


def _identity(server: Server) -> Iterator[Finding]:
    value = server.variables.get
    if value("server_id") == "0":
        yield finding("S011", message="server_id is 0")
    if not server.dialect.mariadb and (value("gtid_mode") or "OFF").upper() != "ON":
        yield finding("S009", message=f"gtid_mode is {value('gtid_mode') or 'not known here'}")
    logs_replica = server.on("log_replica_updates") or server.on("log_slave_updates")
    if server.replica and not logs_replica:
        yield finding("S010", message="the source is a replica and does not log what it applies")
    if server.on("wsrep_on"):
        yield finding("S013", message="wsrep_on is ON")


def _connection(server: Server) -> Iterator[Finding]:
    if not server.encrypted:
        yield finding("S012", message="the connection to the source is not encrypted")
    packet = int(server.variables.get("max_allowed_packet") or PACKET_BYTES)
    if packet < PACKET_BYTES:
        yield finding("S014", message=f"max_allowed_packet is {packet:,} bytes", fact=packet)
    if server.prepared:
        what = f"{server.prepared} XA transactions are prepared"
        yield finding("S015", message=what, fact=server.prepared)


_RULES: tuple[Callable[[Server], Iterator[Finding]], ...] = (
    _version,
    _binlog,
    _expiry,
    _identity,
    _connection,
)
