"""A server that follows another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pymysql

from tests.fix_servers import SourceDatabase

FORGET = {"mariadb": "RESET MASTER", "mysql": "RESET BINARY LOGS AND GTIDS"}
FOLLOW = {
    "mariadb": "CHANGE MASTER TO MASTER_HOST='{0.host}', MASTER_PORT={0.port},"
    " MASTER_USER='{0.user}', MASTER_PASSWORD='{0.password}', MASTER_USE_GTID=slave_pos,"
    " MASTER_CONNECT_RETRY=1",
    "mysql": "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{0.host}', SOURCE_PORT={0.port},"
    " SOURCE_USER='{0.user}', SOURCE_PASSWORD='{0.password}', SOURCE_AUTO_POSITION=1,"
    " GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1",
}
START = {"mariadb": "START SLAVE", "mysql": "START REPLICA"}
STOP = {"mariadb": "STOP SLAVE", "mysql": "STOP REPLICA"}
SEE = {"mariadb": "GRANT SLAVE MONITOR ON *.* TO {}", "mysql": ""}
PATIENCE = 60.0


def poll(true: Callable[[], bool]) -> None:
    """Waits until it is."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(pymysql.err.ProgrammingError):  # no such table yet
            if true():
                return
        assert time.monotonic() < deadline, "the replica does not follow"
        time.sleep(0.05)


def run(database: SourceDatabase, *statements: str) -> list[Any]:
    found: list[Any] = []
    with closing(database.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            found = list(cursor.fetchall())
    return found
