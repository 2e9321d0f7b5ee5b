"""Connections to PostgreSQL, and what their errors mean to a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from bridge.databases.endpoint import Endpoint, TlsMode
from bridge.errors import BridgeError, ServerRefused, ServerUnreachable

CONNECT_TIMEOUT = 10
"""Seconds."""

SESSION: Mapping[str, str] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "client_min_messages": "warning",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""Whatever a role or database sets, the bridge reads and prints values the same way."""

_SSLMODE: Mapping[TlsMode, str] = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify": "verify-full",
}
_UNREACHABLE_CLASSES = ("08", "57P")
"""Connection exceptions and operator intervention (manual, "PostgreSQL Error Codes")."""


def connect(
    endpoint: Endpoint,
    *,
    autocommit: bool = False,
    application_name: str = "dbbridge",
    database: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> psycopg.Connection[tuple[Any, ...]]:
    """Opens a session with the settings of `SESSION` (UTC, ISO dates, exact floats) and keepalives.

    `settings` adds or replaces session settings, `database` the endpoint's database. Raises
    ServerUnreachable, ServerRefused.
    """
    try:
        return psycopg.connect(
            conninfo(endpoint, application_name, database, settings), autocommit=autocommit
        )
    except psycopg.Error as error:
        raise target_error(error, endpoint) from error


def conninfo(
    endpoint: Endpoint,
    application_name: str = "dbbridge",
    database: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> str:
    """The connection string for libpq; it holds the password."""
    tls = endpoint.tls
    merged = {**SESSION, **(settings or {})}
    options = " ".join(f"-c {name}={_option(value)}" for name, value in merged.items())
    given = endpoint.options.get("options", "")
    arguments: dict[str, Any] = {
        "host": endpoint.socket or endpoint.host,
        "port": endpoint.port,
        "user": endpoint.user,
        "password": endpoint.password.reveal(),
        "dbname": database or endpoint.database or endpoint.user,
        "application_name": application_name,
        "client_encoding": "utf8",
        "connect_timeout": endpoint.options.get("connect_timeout", str(CONNECT_TIMEOUT)),
        "sslmode": _SSLMODE[tls.mode],
        "sslrootcert": tls.ca or ("system" if tls.mode == "verify" else ""),
        "sslcert": tls.cert,
        "sslkey": tls.key,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "options": f"{given} {options}".strip(),
        "target_session_attrs": endpoint.options.get("target_session_attrs", "any"),
    }
    return make_conninfo("", **{name: value for name, value in arguments.items() if value != ""})


def limit_locks(conn: psycopg.Connection[Any], seconds: float) -> None:
    """How long each lock is waited for until the transaction ends; at least a millisecond.

    0 would wait for ever (manual, "lock_timeout").
    """
    milliseconds = max(1, round(seconds * 1000))
    conn.execute("SELECT set_config('lock_timeout', %s, true)", (f"{milliseconds}ms",))


def target_error(error: Exception, endpoint: Endpoint | None = None) -> BridgeError:
    """What an error of the target's driver means; errors that broke the connection are transient.

    Never holds the password. Errors of the bridge itself come back as they are.
    """
    if isinstance(error, BridgeError):
        return error
    place = endpoint.place if endpoint else "the target"
    state = getattr(error, "sqlstate", None) or ""
    text = _first_line(error)
    lowered = str(error).lower()
    refused = _refused(state, lowered, text, place)
    if refused:
        return refused
    if state.startswith(_UNREACHABLE_CLASSES) or (not state and _is_lost(error)):
        return ServerUnreachable(f"{place} cannot be reached: {text}", _unreachable_hint(lowered))
    if state == "53100":
        return ServerUnreachable(
            f"{place}: {text}", "make room on the target's disk, and give the command again"
        )
    return ServerRefused(f"{place}: {text} ({state})" if state else f"{place}: {text}")


def _is_lost(error: Exception) -> bool:
    """Whether an error without an SQLSTATE tells of the connection.

    psycopg's own class for that is OperationalError; a result that libpq made itself, since the
    server was gone, becomes a plain DatabaseError (`psycopg.errors.error_from_result`).
    """
    operational = (psycopg.OperationalError, psycopg.InterfaceError)
    return isinstance(error, operational) or type(error) is psycopg.DatabaseError


def _refused(state: str, lowered: str, text: str, place: str) -> BridgeError | None:
    """Errors at login carry no SQLSTATE (libpq gives none), so their text is looked at as well."""
    if state in ("28P01", "28000") or "password authentication failed" in lowered:
        return ServerRefused(
            f"{place}: the server refused user and password",
            "check the password's variable or file",
        )
    if "no password supplied" in lowered:
        return ServerRefused(
            f"{place}: the server asks for a password and none was given",
            "put it into the URL as ${NAME} or ${file:PATH}",
        )
    if "pg_hba.conf" in lowered:
        return ServerRefused(
            f"{place}: {text}",
            "pg_hba.conf on the server must allow this host, user and database (and TLS mode)",
        )
    if "unsupported startup parameter" in lowered:
        return ServerRefused(
            f"{place}: {text}",
            "this is a pooler: connect to PostgreSQL itself (sessions are needed)",
        )
    if state == "3D000" or ("database" in lowered and "does not exist" in lowered and not state):
        return ServerRefused(f"{place}: {text}", "create it: CREATE DATABASE … ENCODING 'UTF8'")
    if not state and "role" in lowered and "does not exist" in lowered:
        return ServerRefused(f"{place}: {text}", "check the user's name in the URL")
    if not state and ("ssl" in lowered or "certificate" in lowered):
        return ServerRefused(
            f"{place}: the TLS handshake failed: {text}",
            "check tls (mode, ca, cert, key) of this database in bridge.yaml",
        )
    if state == "53300" or "too many clients" in lowered or "connection slots" in lowered:
        return ServerUnreachable(
            f"{place}: too many connections",
            "wait, lower pool.max, or raise max_connections on the server",
        )
    if state == "42501":
        return ServerRefused(
            f"{place}: {text}", "`dbbridge check` prints the GRANT lines that this role lacks"
        )
    return None


def _unreachable_hint(lowered: str) -> str:
    if "refused" in lowered:
        return "is the server running, and does it listen on this address and port?"
    if "resolve" in lowered or "translate host name" in lowered or "name or service" in lowered:
        return "the host name is unknown here: check its spelling and DNS"
    if "timeout" in lowered or "timed out" in lowered:
        return "nothing answered in time: check firewall, address and port"
    if "no such file" in lowered:
        return "there is no socket of that name: check its directory, or connect over TCP"
    return "the connection broke: the server may be restarting; look at its log"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # libpq puts the reason behind 'connection to server at "…", port … failed:'.
    return lines[0].rpartition("failed: ")[2].removeprefix("FATAL:").strip() or lines[0]


def _option(value: str) -> str:
    """Escapes for libpq's `options`: spaces and backslashes with a backslash."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
