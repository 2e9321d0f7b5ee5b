"""A server that follows another one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pymysql

from tests.fix_servers import SourceDatabase
from tests.waiting import until

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


def poll(true: Callable[[], bool]) -> None:
    """Waits until the replica follows so far."""

    def holds() -> bool:
        with suppress(pymysql.err.ProgrammingError):  # no such table yet
            return true()
        return False

    until(holds)


def run(database: SourceDatabase, *statements: str) -> list[Any]:
    found: list[Any] = []
    with closing(database.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            found = list(cursor.fetchall())
    return found
