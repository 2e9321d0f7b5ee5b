"""What goes wrong when connecting, in words that help, and never with the password."""

from __future__ import annotations

import gc
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pymysql
import pytest

from bridge.databases import mysql
from bridge.databases import postgres as postgresql
from bridge.databases.endpoint import Endpoint, Secret, Tls, TlsMode, parse_url
from bridge.errors import BridgeError, ConfigError, ServerRefused, ServerUnreachable
from compose.local.servers import Server
from tests.fix_servers import SourceDatabase
from tests.waiting import until

PASSWORD = "hunter2-is-no-secret"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, nor can while it is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def refusal(endpoint: Endpoint) -> BridgeError:
    connect = mysql.connect if endpoint.kind == "mysql" else postgresql.connect
    with pytest.raises(BridgeError) as caught:
        connect(endpoint).close()
    error = caught.value
    assert error.hint
    assert PASSWORD not in error.message + error.hint
    return error


@pytest.fixture
def here(source: Server) -> Endpoint:
    """Where the source is."""
    return parse_url(source.url("mysql"))


@pytest.fixture
def there(postgres: Server) -> Endpoint:
    """Where the target is."""
    return parse_url(postgres.url("postgres"))


def test_a_session_of_the_source(here: Endpoint) -> None:
    with mysql.connect(here) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT @@time_zone, @@sql_mode, @@character_set_client, @@autocommit, DATABASE(), 'ä'"
        )
        assert cursor.fetchone() == ("+00:00", "", "utf8mb4", 1, here.database, "ä")
    with mysql.connect(here, raw=True, database="") as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1, NULL, '0000-00-00', DATABASE()")
        assert cursor.fetchone() == (b"1", None, b"0000-00-00", None)


@pytest.mark.parametrize("mode", ["disabled", "required"])
def test_a_source_that_vanishes_is_found_within_a_minute(here: Endpoint, mode: TlsMode) -> None:
    """What the system is told of the connection: a host that is cut off cannot be had here."""
    options = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    try:
        session = mysql.connect(replace(here, tls=Tls(mode)))
    except ServerRefused as error:
        assert mode == "required"
        pytest.skip(f"the server does without TLS: {error}")
    with session as conn:
        sock: socket.socket = vars(conn)["_sock"]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, between, count, unanswered = (
            sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) for option in options
        )
        assert idle + between * count <= 60
        assert unanswered == 60_000


def test_a_session_of_the_target(there: Endpoint) -> None:
    with postgresql.connect(there, settings={"work_mem": "8MB"}) as conn:
        row = conn.execute(
            "SELECT current_setting('TimeZone'), current_setting('DateStyle'),"
            " current_setting('extra_float_digits'), current_setting('application_name'),"
            " current_setting('work_mem'), current_setting('standard_conforming_strings')"
        ).fetchone()
    assert row == ("UTC", "ISO, YMD", "1", "dbbridge", "8MB", "on")


def test_a_wrong_password(here: Endpoint, there: Endpoint) -> None:
    for endpoint in (here, there):
        error = refusal(replace(endpoint, password=Secret(PASSWORD)))
        assert isinstance(error, ServerRefused)
        assert "refused user and password" in error.message


def test_an_unknown_database(here: Endpoint, there: Endpoint) -> None:
    for endpoint in (here, there):
        error = refusal(replace(endpoint, database="no_such_database"))
        assert isinstance(error, ServerRefused)
        assert "no_such_database" in error.message


def test_nobody_listens(here: Endpoint, there: Endpoint, closed_port: int) -> None:
    for endpoint in (here, there):
        error = refusal(replace(endpoint, host="127.0.0.1", port=closed_port))
        assert isinstance(error, ServerUnreachable)
        assert error.transient
        assert "is the server running" in error.hint


def test_an_unknown_host(here: Endpoint, there: Endpoint) -> None:
    for endpoint in (here, there):
        error = refusal(replace(endpoint, host="no-such-host.invalid"))
        assert isinstance(error, ServerUnreachable)
        assert "host name is unknown" in error.hint


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_missing_socket(here: Endpoint, there: Endpoint) -> None:
    for endpoint in (here, there):
        error = refusal(replace(endpoint, socket="/nowhere/socket"))
        assert isinstance(error, ServerUnreachable)
        assert "no socket of that name" in error.hint
        del error
    gc.collect()  # PyMySQL leaves the socket that it could not connect to the collector


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_a_server_that_says_nothing(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        endpoint = parse_url(f"{scheme}://u:{PASSWORD}@127.0.0.1:{port}/d?connect_timeout=2")
        assert isinstance(refusal(endpoint), ServerUnreachable)


def test_tls_that_cannot_be_had(here: Endpoint, there: Endpoint, tmp_path: Path) -> None:
    for endpoint in (here, there):
        error = refusal(replace(endpoint, tls=Tls("verify")))
        assert "TLS" in error.message
        assert not error.transient
    missing = str(tmp_path / "ca.pem")
    error = refusal(replace(here, tls=Tls("verify", ca=missing)))
    assert isinstance(error, ConfigError)
    assert missing in error.message


@pytest.fixture
def stranger(source_db: SourceDatabase) -> Iterator[str]:
    """An account on the source that may do nothing."""
    name = f"x_{secrets.token_hex(5)}"
    with closing(source_db.connect()) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{PASSWORD}'")
        yield name
        cursor.execute(f"DROP USER '{name}'@'%'")


def test_missing_rights_on_the_source(
    here: Endpoint, stranger: str, source_db: SourceDatabase
) -> None:
    theirs = replace(here, user=stranger, password=Secret(PASSWORD), database=source_db.name)
    error = refusal(theirs)
    assert isinstance(error, ServerRefused)
    assert error.hint == f"GRANT SELECT ON `{source_db.name}`.* TO '{stranger}'@'%';"
    with mysql.connect(theirs, database="") as conn, pytest.raises(pymysql.Error) as caught:
        conn.cursor().execute("SHOW BINARY LOGS")
    meaning = mysql.source_error(caught.value, theirs)
    assert isinstance(meaning, ServerRefused)
    assert "dbbridge check" in meaning.hint


def test_missing_rights_on_the_target(there: Endpoint) -> None:
    with postgresql.connect(there) as conn:
        conn.execute("CREATE TABLE t (a int)")
        conn.execute("SET ROLE pg_monitor")
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("SELECT * FROM t")
    meaning = postgresql.target_error(caught.value, there)
    assert isinstance(meaning, ServerRefused)
    assert "permission denied" in meaning.message


def test_a_connection_that_broke_is_transient(here: Endpoint, there: Endpoint) -> None:
    conn = mysql.connect(here)
    with conn.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        row = cursor.fetchone()
    number = row[0] if row else 0
    with mysql.connect(here) as other, other.cursor() as cursor:
        cursor.execute("KILL %s", [number])
    with pytest.raises(pymysql.Error) as lost:
        conn.cursor().execute("SELECT 1")
    assert isinstance(mysql.source_error(lost.value), ServerUnreachable)
    with pytest.raises(pymysql.Error) as closed:
        conn.cursor().execute("SELECT 1")
    assert isinstance(mysql.source_error(closed.value), ServerUnreachable)

    session = postgresql.connect(there, autocommit=True)
    with postgresql.connect(there) as killer:
        killer.execute("SELECT pg_terminate_backend(%s)", [session.info.backend_pid])
    with pytest.raises(psycopg.Error) as ended:
        session.execute("SELECT 1")
    assert isinstance(postgresql.target_error(ended.value), ServerUnreachable)


def test_a_result_that_libpq_made_is_transient(there: Endpoint) -> None:
    """As those come by it who read a replication stream; the server's own word comes first."""
    session = postgresql.connect(there, autocommit=True)
    session.pgconn.send_query(b"SELECT pg_sleep(300)")
    asleep = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    number = [session.info.backend_pid]
    with postgresql.connect(there, autocommit=True) as killer:
        # A session that ends with a query unread may be heard no more.
        until(lambda: killer.execute(asleep, number).fetchall())
        killer.execute("SELECT pg_terminate_backend(%s)", number)
    results = list(iter(session.pgconn.get_result, None))
    errors = [psycopg.errors.error_from_result(result) for result in results]
    session.close()
    assert [error.sqlstate for error in errors] == ["57P01", None]
    for error in errors:
        assert isinstance(postgresql.target_error(error), ServerUnreachable)


def test_errors_of_the_bridge_stay_as_they_are() -> None:
    error = ConfigError("m", "h")
    assert mysql.source_error(error) is error
    assert postgresql.target_error(error) is error
