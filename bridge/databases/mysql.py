"""Connections to MySQL and MariaDB, and what their errors mean to a user."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any

import pymysql
from pymysql.constants import CLIENT, CR, ER
from pymysql.cursors import Cursor

from bridge.databases.endpoint import Endpoint, Tls
from bridge.errors import BridgeError, ConfigError, ServerRefused, ServerUnreachable
from bridge.names import quote_mysql

CONNECT_TIMEOUT = 10
"""Seconds."""

SESSION = "SET SESSION sql_mode='', time_zone='+00:00', net_write_timeout=600, net_read_timeout=600"
"""No sql_mode changes what a text or a date means, and timestamps are read in UTC. The net timeouts
(seconds) let a throttled reader keep its result set open (manual, "Server System Variables")."""

_WATCHED = {
    "TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,
}  # fmt: skip
"""By their names, since not every system has all: a host that vanished is found within a minute,
whether it was being listened to or written to."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_GONE = frozenset(
    {
        CR.CR_SERVER_GONE_ERROR,
        CR.CR_SERVER_LOST,
        CR.CR_CONN_HOST_ERROR,
        CR.CR_CONNECTION_ERROR,
        ER.SERVER_SHUTDOWN,
        ER.NORMAL_SHUTDOWN,
        ER.CON_COUNT_ERROR,
        ER.TOO_MANY_USER_CONNECTIONS,
        1159,  # ER_NET_READ_INTERRUPTED
        1161,  # ER_NET_WRITE_INTERRUPTED
        1927,  # ER_CONNECTION_KILLED (MariaDB)
        4031,  # ER_CLIENT_INTERACTION_TIMEOUT
    }
)
_DENIED = frozenset(
    {
        ER.DBACCESS_DENIED_ERROR,
        ER.SPECIFIC_ACCESS_DENIED_ERROR,
        ER.TABLEACCESS_DENIED_ERROR,
        ER.COLUMNACCESS_DENIED_ERROR,
        ER.PROCACCESS_DENIED_ERROR,
        ER.VIEW_INVALID,
    }
)


def connect(
    endpoint: Endpoint,
    *,
    raw: bool = False,
    read_timeout: float | None = None,
    cursor: type[Cursor] = Cursor,
    database: str | None = None,
    found_rows: bool = False,
    many_statements: bool = False,
) -> pymysql.Connection[Any]:
    """Opens a session in UTC, with utf8mb4, without sql_mode, with autocommit.

    `raw` gives every value as the bytes that the server sent. `read_timeout` is in seconds (None:
    wait for ever, as a binlog reader must). `database` replaces the endpoint's; '' selects none.
    With `found_rows` an UPDATE counts the rows that it found, not those that it changed;
    with `many_statements` one text may hold several.
    Raises ServerUnreachable, ServerRefused, ConfigError.
    """
    seconds = int(endpoint.options.get("connect_timeout", CONNECT_TIMEOUT))
    flags = (CLIENT.FOUND_ROWS if found_rows else 0) | (
        CLIENT.MULTI_STATEMENTS if many_statements else 0
    )
    arguments: dict[str, Any] = {
        "user": endpoint.user,
        # Bytes, since PyMySQL would encode a str as latin1.
        "password": endpoint.password.reveal().encode(),
        "database": (endpoint.database if database is None else database) or None,
        "charset": "utf8mb4",
        "autocommit": True,
        "init_command": SESSION,
        "connect_timeout": seconds,
        "read_timeout": seconds,
        "cursorclass": cursor,
        "program_name": "dbbridge",
        "client_flag": flags,
        **_tls(endpoint),
    }
    if endpoint.socket:
        arguments["unix_socket"] = endpoint.socket
    else:
        arguments |= {"host": endpoint.host, "port": endpoint.port}
    if raw:
        arguments |= {"conv": {}, "use_unicode": False}
    try:
        connection = pymysql.Connection(**arguments)
    except (pymysql.Error, OSError) as error:
        raise source_error(error, endpoint) from error
    # PyMySQL has one timeout for login and queries, and a server may accept and then say nothing.
    vars(connection)["_read_timeout"] = read_timeout
    if not endpoint.socket:
        _watch(vars(connection)["_sock"])
    return connection


def _watch(sock: socket.socket) -> None:
    """Whoever waits for an answer without end shall hear of it when nobody is there any more."""
    for name, value in _WATCHED.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def limit_row_locks(conn: pymysql.Connection[Any], seconds: float) -> None:
    """How long each lock on a row is waited for by this session; the server takes whole seconds."""
    with conn.cursor() as cursor:
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {max(1, round(seconds))}")


def limit_locks(conn: pymysql.Connection[Any], seconds: float) -> None:
    """The same for locks on rows and on definitions (LOCK TABLES, DDL)."""
    limit_row_locks(conn, seconds)
    with conn.cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {max(1, round(seconds))}")


def source_error(error: Exception, endpoint: Endpoint | None = None) -> BridgeError:
    """What an error of the source's driver means; errors that broke the connection are transient.

    Never holds the password. Errors of the bridge itself come back as they are.
    """
    if isinstance(error, BridgeError):
        return error
    place = endpoint.place if endpoint else "the source"
    # PyMySQL wraps what the socket raised, and its own words add nothing.
    cause = getattr(error, "original_exception", None) or error
    code, text = _code(cause)
    if isinstance(cause, ssl.SSLError) or code == CR.CR_SSL_CONNECTION_ERROR:
        return ServerRefused(
            f"{place}: the TLS handshake failed: {text}",
            "check tls (mode, ca, cert, key) of this database in bridge.yaml",
        )
    login = _login_error(code, text, place, endpoint)
    if login:
        return login
    if code in _DENIED:
        return ServerRefused(f"{place}: {text}", _grant_hint(text, endpoint))
    if code in _GONE or isinstance(cause, (OSError, pymysql.err.InterfaceError)):
        return _unreachable(text, place)
    return ServerRefused(f"{place}: {text} ({code})" if code else f"{place}: {text}")


def _tls(endpoint: Endpoint) -> dict[str, Any]:
    tls = endpoint.tls
    local = bool(endpoint.socket) or endpoint.host in _LOOPBACK
    # On the machine itself nothing leaves it, and encryption costs a copy a third of its speed.
    if tls.mode == "disabled" or (tls.mode == "preferred" and local and not tls.cert):
        return {"ssl_disabled": True}
    if tls.mode == "preferred" and not tls.cert:
        return {}
    return {"ssl": _ssl_context(tls)}


def _ssl_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except OSError as error:
        files = ", ".join(filter(None, (tls.ca, tls.cert, tls.key)))
        raise ConfigError(
            f"a TLS file cannot be read ({files}): {error.strerror or error}",
            "check the paths ca, cert and key under tls; they are PEM files",
        ) from error
    # MySQL's self-made certificates lack what strict checking asks for since Python 3.13.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if tls.mode != "verify":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _code(error: Exception) -> tuple[int, str]:
    arguments = error.args
    if isinstance(error, pymysql.Error) and len(arguments) >= 2 and isinstance(arguments[0], int):
        return arguments[0], str(arguments[1])
    if isinstance(error, OSError):
        return 0, error.strerror or str(error)
    return 0, str(error) or type(error).__name__


def _login_error(code: int, text: str, place: str, endpoint: Endpoint | None) -> BridgeError | None:
    if code == ER.ACCESS_DENIED_ERROR:
        given = "" if endpoint is None or endpoint.password else " (no password was given)"
        return ServerRefused(
            f"{place}: the server refused user and password{given}",
            "check the password's variable or file, and that the account may come from this host",
        )
    if code == ER.BAD_DB_ERROR:
        return ServerRefused(
            f"{place}: {text}", "check the database's name at the end of the URL (case counts)"
        )
    if code == 3159:  # ER_SECURE_TRANSPORT_REQUIRED
        return ServerRefused(
            f"{place}: the server takes encrypted connections only", "set tls: {mode: required}"
        )
    if code in (1129, 1130):  # ER_HOST_IS_BLOCKED, ER_HOST_NOT_PRIVILEGED
        return ServerRefused(
            f"{place}: {text}", "allow this host in the account's name: CREATE USER 'name'@'host'"
        )
    if code in (ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS):
        return ServerUnreachable(
            f"{place}: too many connections",
            "wait, lower pool.max, or raise max_connections on the server",
        )
    return None


def _grant_hint(text: str, endpoint: Endpoint | None) -> str:
    account = re.search(r"'[^']*'@'[^']*'", text)
    if "to database" in text and account and endpoint and endpoint.database:
        return f"GRANT SELECT ON {quote_mysql(endpoint.database)}.* TO {account[0]};"
    return "`dbbridge check` prints the GRANT lines that this account lacks"


def _unreachable(text: str, place: str) -> BridgeError:
    lowered = text.lower()
    if "refused" in lowered:
        hint = "is the server running, and does it listen on this address and port?"
    elif "name or service" in lowered or "getaddrinfo" in lowered or "name resolution" in lowered:
        hint = "the host name is unknown here: check its spelling and DNS"
    elif "timed out" in lowered:
        hint = "nothing answered in time: check firewall, address and port"
    elif "no such file" in lowered:
        hint = "there is no socket of that name: check its path, or connect over TCP"
    else:
        hint = "the connection broke: the server may be restarting; look at its log"
    return ServerUnreachable(f"{place} cannot be reached: {text}", hint)
