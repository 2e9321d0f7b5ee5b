"""The local servers themselves: what other tests and the demo rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import redis

from compose.local import launch, places, processes, programs, servers
from compose.local.errors import LocalStackError
from compose.local.servers import Server

DATABASES = tuple(kind for kind in programs.KINDS if kind != "redis")


@pytest.fixture(params=DATABASES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, of each kind in turn."""
    started = servers.start(request.param, tmp_path)
    yield started
    if processes.birth(started.pid) is not None:
        started.stop(kill=True)


def ask(server: Server, statement: str) -> list[tuple[Any, ...]]:
    if server.kind == "postgresql":
        with psycopg.connect(server.url("postgres"), autocommit=True) as target:
            result = target.execute(statement.encode())
            return result.fetchall() if result.description else []
    with (
        pymysql.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            autocommit=True,
        ) as source,
        source.cursor() as cursor,
    ):
        cursor.execute(statement)
        return list(cursor.fetchall())


def make_row(server: Server) -> None:
    schema = "SCHEMA" if server.kind == "postgresql" else "DATABASE"
    ask(server, f"CREATE {schema} kept")
    ask(server, "CREATE TABLE kept.t (id int PRIMARY KEY)")
    ask(server, "INSERT INTO kept.t VALUES (42)")


def test_a_free_port_can_be_listened_on() -> None:
    port = launch.free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()


@pytest.mark.parametrize("kill", [False, True], ids=["in order", "killed"])
def test_a_restart_keeps_port_and_data(server: Server, kill: bool) -> None:
    make_row(server)
    server.stop(kill=kill)
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection((server.host, server.port), timeout=1),
    ):
        pass
    again = server.restart()
    try:
        assert (again.port, again.password) == (server.port, server.password)
        assert again.pid != server.pid
        assert ask(again, "SELECT id FROM kept.t") == [(42,)]
    finally:
        again.stop()


def test_sources_log_full_rows(server: Server) -> None:
    if server.kind == "postgresql":
        assert ask(server, "SHOW wal_level") == [("logical",)]
        return
    names = "@@log_bin, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata"
    assert ask(server, f"SELECT {names}") == [(1, "ROW", "FULL", "FULL")]


def test_a_wrong_password_is_refused(server: Server) -> None:
    with pytest.raises(LocalStackError, match=r"no \w+ server answers"):
        servers.given(server.kind, server.url().replace(server.password, "wrong"))


def test_a_given_server_is_never_stopped(server: Server) -> None:
    given = servers.given(server.kind, server.url())
    with pytest.raises(LocalStackError, match="not started here"):
        given.stop()
    assert ask(given, "SELECT 1") == [(1,)]


def test_options_of_the_caller_win(tmp_path: Path) -> None:
    server = servers.start("mariadb", tmp_path, options=["--binlog-row-image=MINIMAL"])
    try:
        assert ask(server, "SELECT @@binlog_row_image") == [("MINIMAL",)]
    finally:
        server.stop()


def test_an_option_that_the_server_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="nonsense"):
        servers.start("mariadb", tmp_path, options=["--nonsense=1"])


def test_two_servers_of_a_kind_run_side_by_side(mysql: Server, tmp_path: Path) -> None:
    other = servers.start("mysql", tmp_path)
    try:
        assert other.port != mysql.port
        assert ask(other, "SELECT @@server_uuid") != ask(mysql, "SELECT @@server_uuid")
    finally:
        other.stop()


def test_data_left_by_an_earlier_process_are_served_again(tmp_path: Path) -> None:
    first = servers.start("mariadb", tmp_path)
    make_row(first)
    first.stop()
    with pytest.raises(LocalStackError, match="already holds"):
        servers.start("mariadb", tmp_path)
    second = servers.resume(tmp_path)
    assert (second.port, ask(second, "SELECT id FROM kept.t")) == (first.port, [(42,)])
    second.stop()


OWNER = """
import sys, time
from pathlib import Path
from compose.local import servers
print(servers.start(sys.argv[1], Path(sys.argv[2])).pid, flush=True)
time.sleep(600)
"""


def test_a_killed_redis_comes_back_empty(tmp_path: Path) -> None:
    server = servers.start("redis", tmp_path)
    with redis.Redis.from_url(server.url("0")) as client:
        client.set("kept", "no")
    server.stop(kill=True)
    again = server.restart()
    with redis.Redis.from_url(again.url("0")) as client:
        assert client.keys("*") == []
    with pytest.raises(LocalStackError, match="no redis server answers"):
        servers.given("redis", again.url().replace(again.password, "wrong"))
    again.stop()


@pytest.mark.crash
@pytest.mark.parametrize("kind", programs.KINDS)
def test_a_server_ends_with_its_owner_however_that_ends(kind: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, kind, str(tmp_path)],
        cwd=places.CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert processes.birth(pid) is not None
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while processes.birth(pid) is not None:
        assert time.monotonic() < deadline, f"{kind} outlived its owner"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", programs.KINDS)
def test_private_servers_ignore_those_on_path(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBBRIDGE_SERVERS", "private")
    programs.find.cache_clear()
    try:
        program = programs.find(kind)
        assert places.home() in program.base.parents
        server = servers.start(kind, tmp_path)
        assert servers.given(kind, server.url()).version == server.version
        server.stop()
    finally:
        programs.find.cache_clear()
