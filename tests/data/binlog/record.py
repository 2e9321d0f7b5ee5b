"""Records what a server sends after COM_BINLOG_DUMP, byte by byte, for the tests of the readers.

    python -m tests.data.binlog.record mysql://root:…@127.0.0.1:3307/ mysql-9.7.bin

The server must write row metadata in full; for a MariaDB's compressed events it runs with
``--log-bin-compress=ON --log-bin-compress-min-len=10``. Makes and drops a database ``recorded``.
"""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from bridge.capture.binlog import connection as binlog
from bridge.capture.binlog.positions import upper_bound
from bridge.change.position import Position
from bridge.databases.endpoint import parse_url
from bridge.databases.mysql import connect

TABLE = """
CREATE TABLE recorded.`odd name.` (id bigint unsigned NOT NULL, a int, e enum('x','ü'),
s set('p','q') CHARACTER SET latin1, d decimal(10,2) unsigned, c char(100), h char(10),
v varchar(300) CHARACTER SET latin1, b bit(9), dt datetime(6), ts timestamp(3) NULL, j json,
bl mediumblob, bi binary(16), y year, f float, PRIMARY KEY (id, c(7))) COMMENT 'x'
"""
ROW = """
INSERT INTO recorded.`odd name.` VALUES (1, -2, 'ü', 'p,q', 3.14, 'hello', 'h', 'wörld', 5,
'2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789', '{}', 'abc', 'x', 1999, 1.5)
"""
COMMON = (
    "CREATE DATABASE recorded CHARACTER SET utf8mb4",
    " ".join(TABLE.split()),
    " ".join(ROW.split()),
    "UPDATE recorded.`odd name.` SET a = NULL",
    "XA START 'abc', 'def', 7",
    "UPDATE recorded.`odd name.` SET a = 4",
    "XA END 'abc', 'def', 7",
    "XA PREPARE 'abc', 'def', 7",
    "XA COMMIT 'abc', 'def', 7",
)
MYSQL = (
    "SET SESSION binlog_transaction_compression = ON",
    "UPDATE recorded.`odd name.` SET a = 5",
    "SET SESSION binlog_transaction_compression = OFF",
    "SET SESSION binlog_rows_query_log_events = ON",
    "SET gtid_next = 'AUTOMATIC:a_tag'",
    "UPDATE recorded.`odd name.` SET a = 6",
    "SET gtid_next = 'AUTOMATIC'",
)
LAST = ("DELETE FROM recorded.`odd name.`", "DROP DATABASE recorded")


class _Recorder(socket.socket):
    """A socket that keeps what is received."""

    kept = bytearray()

    def recv_into(self, buffer: Any, *_: Any) -> int:
        count = super().recv_into(buffer)
        self.kept += bytes(memoryview(buffer)[:count])
        return count


def record(url: str) -> bytes:
    """What the server sends for a short history."""
    endpoint = parse_url(url)
    with closing(connect(endpoint)) as source, source.cursor() as cursor:
        start = upper_bound(source)
        cursor.execute("SET sql_mode = ''")
        mariadb = start.kind == "mariadb-gtid"
        for statement in (*COMMON, *(() if mariadb else MYSQL), *LAST):
            cursor.execute(statement)
        end = upper_bound(source)
    reader = binlog.BinlogConnection.open(
        lambda: connect(endpoint), Position.at(start.file, start.offset), 0x42000000, 0.5
    )
    recorder = _Recorder(fileno=reader._socket.detach())
    reader._socket = recorder
    reached = False
    while not reached:
        events = reader.read(5)
        reached = any(event[4] in (27, 41) for event in events) and end.offset > 0
    reader.close()
    return bytes(recorder.kept)


if __name__ == "__main__":
    (Path(__file__).parent / sys.argv[2]).write_bytes(record(sys.argv[1]))
