"""What recorded events say."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.expand import plain, transaction
from bridge.capture.binlog.table_map import table_map, table_name
from bridge.errors import BridgeError, ServerUnreachable, SourceError
from bridge.names import TableName
from bridge.types import layout
from tests.unit.capture.binlog.recorded import SOURCES, event, only, recorded

MYSQL, MARIADB = SOURCES


def test_description_and_rotation() -> None:
    assert ev.format_description(only(MYSQL, 15)[0]) == ev.FormatDescription("9.7.4-2", True)
    maria = ev.format_description(only(MARIADB, 15)[0])
    assert maria.server_version.startswith("10.11.19-MariaDB")
    assert maria.checksum
    first = recorded(MYSQL)[0]
    assert first[4] == ev.ROTATE
    assert first[17] & ev.ARTIFICIAL
    assert ev.rotate(first)[0].startswith("binlog.0")


def query_event(statement: bytes, collation: int) -> bytes:
    status = b"\4" + collation.to_bytes(2, "little") * 3
    head = bytes(8) + b"\4" + bytes(2) + len(status).to_bytes(2, "little")
    return event(ev.QUERY, head + status + b"shop\0" + statement)


def test_statements_in_the_clients_character_set() -> None:
    latin1, gbk, binary, utf8mb4, hebrew = 8, 28, 63, 255, 16
    name = "DROP TABLE ä"
    assert ev.query(query_event(name.encode("latin-1"), latin1)).statement == name
    assert ev.query(query_event("DROP TABLE 表".encode("gbk"), gbk)).statement == "DROP TABLE 表"
    assert ev.query(query_event(name.encode(), binary)).statement == name
    assert ev.query(query_event(name.encode(), utf8mb4)).statement == name
    assert "\ufffd" in ev.query(query_event(b"DROP TABLE \xff", hebrew)).statement
    assert ev.query(query_event(b"DROP TABLE t", 1 << 14)).database == "shop"


def test_a_load_statement_is_a_query() -> None:
    whole = query_event(b"LOAD DATA INFILE 'x' INTO TABLE t", 255)
    load = whole[:4] + bytes([ev.EXECUTE_LOAD_QUERY]) + whole[5:32] + bytes(13) + whole[32:]
    assert plain(load) == whole
    assert ev.query(plain(load)).statement.startswith("LOAD DATA")


def test_gtids_of_mysql() -> None:
    found = [ev.gtid(each) for each in only(MYSQL, ev.GTID)]
    assert len({sid for sid, _ in found}) == 1
    numbers = [number for _, number in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    times = [ev.commit_micros(each) for each in only(MYSQL, ev.GTID)]
    assert times == sorted(times)
    assert times[0] // 1_000_000 == ev.HEADER.unpack_from(only(MYSQL, ev.GTID)[0])[0]


def test_gtid_with_a_tag() -> None:
    (found,) = only(MYSQL, ev.GTID_TAGGED)
    tagged = ev.tagged_gtid(found)
    sid, _ = ev.gtid(only(MYSQL, ev.GTID)[0])
    assert tagged.sid == f"{sid}:a_tag"
    assert tagged.number == 1
    assert tagged.commit_micros > ev.commit_micros(only(MYSQL, ev.GTID)[-3])
    assert tagged.transaction_bytes == 623


def test_gtids_of_mariadb() -> None:
    found = [ev.mariadb_gtid(each) for each in only(MARIADB, ev.MARIADB_GTID)]
    assert [sequence for _, _, sequence, _ in found] == list(range(found[0][2], found[0][2] + 8))
    flags = [flag for *_, flag in found]
    assert [bool(flag & ev.MARIADB_STANDALONE) for flag in flags] == [
        True, True, False, False, False, True, False, True,
    ]  # fmt: skip
    assert flags[4] & ev.MARIADB_PREPARED_XA
    assert flags[5] & ev.MARIADB_COMPLETED_XA
    assert flags[0] & ev.MARIADB_DDL


def test_queries() -> None:
    queries = [ev.query(each) for each in only(MYSQL, ev.QUERY)]
    assert queries[0].statement == "CREATE DATABASE recorded CHARACTER SET utf8mb4"
    assert queries[0].database == "recorded"
    assert "enum('x','ü')" in queries[1].statement
    assert queries[1].sql_mode == 0
    begins = [ev.is_begin(each) for each in only(MYSQL, ev.QUERY)]
    assert begins == [query.statement == "BEGIN" for query in queries]
    assert not ev.is_begin(event(2, bytes(13) + b"\0INSERT INTO t VALUES ('\0BEGIN"))


@pytest.mark.parametrize("source", SOURCES)
def test_xa(source: str) -> None:
    found = ev.xa_prepare(only(source, ev.XA_PREPARE)[0])
    assert found == ev.XaPrepare(False, 7, b"abc", b"def")
    queries = [ev.query(each).statement for each in only(source, ev.QUERY)]
    assert f"XA COMMIT {found.sql}" in queries


def test_small_events() -> None:
    assert [ev.rows_query(each) for each in only(MYSQL, ev.ROWS_QUERY)] == [
        "UPDATE recorded.`odd name.` SET a = 6", "DELETE FROM recorded.`odd name.`",
    ]  # fmt: skip
    assert ev.heartbeat(only(MYSQL, ev.HEARTBEAT_V2)[0])[0].startswith("binlog.")
    assert ev.heartbeat(only(MARIADB, ev.HEARTBEAT)[0])[1] > 256
    large = b"\1\5bin.7\2\11\xfe" + (5 << 32).to_bytes(8, "little") + b"\0"
    assert ev.heartbeat(event(ev.HEARTBEAT_V2, large)) == ("bin.7", 5 << 32)
    large = (5 << 32).to_bytes(8, "little") + b"bin.000007"
    assert ev.heartbeat(event(ev.HEARTBEAT, large)) == ("bin.000007", 5 << 32)
    gtids = b"\2\0\0\0" + b"".join(n.to_bytes(4, "little") for n in (0, 5, 9, 0, 1, 6, 8, 0))
    assert ev.mariadb_gtid_list(event(163, gtids)) == [(0, 5, 9), (1, 6, 8)]
    assert ev.mariadb_checkpoint(event(161, b"\5\0\0\0bin.1")) == "bin.1"
    assert ev.incident(event(26, b"\1\0\3abc")) == "abc"
    assert ev.xid(event(16, (77).to_bytes(8, "little"))) == 77
    assert ev.rows_query(event(160, b"SELECT")) == "SELECT"


def test_positions_over_four_gigabytes() -> None:
    assert ev.widen(100, 50) == 100
    assert ev.widen(100, 0xFFFFFF00) == (1 << 32) + 100
    assert ev.widen(100, (3 << 32) + 99) == (3 << 32) + 100
    assert ev.widen(100, (3 << 32) + 100) == (3 << 32) + 100


@pytest.mark.parametrize("source", SOURCES)
def test_table_map(source: str) -> None:
    mapped = only(source, ev.TABLE_MAP)[0]
    assert table_name(mapped) == TableName("recorded", "odd name.")
    found = table_map(mapped)
    assert found.name == TableName("recorded", "odd name.")
    assert found.names == (
        "id", "a", "e", "s", "d", "c", "h", "v", "b", "dt", "ts", "j", "bl", "bi", "y", "f",
    )  # fmt: skip

    assert found.primary_key == ((0, 0), (5, 7))
    columns = dict(zip(found.names, found.columns, strict=True))
    assert [name for name, column in columns.items() if not column.nullable] == ["id", "c"]
    assert {name for name, column in columns.items() if column.unsigned} == {"id", "d", "y"}
    assert columns["a"].unsigned is False
    assert columns["e"].unsigned is None
    assert columns["e"].labels == ("x", "ü")
    assert columns["s"].labels == ("p", "q")
    charsets = {name: column.charset for name, column in columns.items() if column.charset}
    assert charsets.pop("j", "utf8mb4") == "utf8mb4"
    assert charsets == {
        "e": "utf8mb4", "s": "latin1", "c": "utf8mb4", "h": "utf8mb4", "v": "latin1",
        "bl": "binary", "bi": "binary",
    }  # fmt: skip
    forms = {name: (column.code, column.meta) for name, column in columns.items()}
    assert forms.pop("j") == ((layout.JSON if source == MYSQL else layout.BLOB), 4)
    assert forms == {
        "id": (layout.LONGLONG, 0), "a": (layout.LONG, 0), "e": (layout.ENUM, 1),
        "s": (layout.SET, 1), "d": (layout.NEWDECIMAL, 10 << 8 | 2), "c": (layout.STRING, 400),
        "h": (layout.STRING, 40), "v": (layout.VARCHAR, 300), "b": (layout.BIT, 9),
        "dt": (layout.DATETIME2, 6), "ts": (layout.TIMESTAMP2, 3), "bl": (layout.BLOB, 3),
        "bi": (layout.STRING, 16), "y": (layout.YEAR, 0), "f": (layout.FLOAT, 4),
    }  # fmt: skip


def test_table_map_without_metadata() -> None:
    whole = only(MYSQL, ev.TABLE_MAP)[0]
    # What is optional follows the NULL bits of the sixteen columns.
    columns = table_map(whole).columns
    bare = whole[: whole.index(b"\xde\xff") + 2]
    found = table_map(bare)
    assert found.names is None
    assert found.primary_key is None
    assert [(each.code, each.meta, each.nullable) for each in found.columns] == [
        (each.code, each.meta, each.nullable) for each in columns
    ]
    assert {(each.unsigned, each.charset, each.labels) for each in found.columns} == {(None,) * 3}


def test_compressed_transaction() -> None:
    (outer,) = only(MYSQL, ev.TRANSACTION_PAYLOAD)
    pieces = list(transaction(outer, 1))
    assert [[each[4] for each in piece] for piece in pieces] == [[2], [19], [31], [16]]
    assert {each[13:17] for piece in pieces for each in piece} == {outer[13:17]}
    (whole,) = transaction(outer, 1 << 20)
    assert whole == [each for piece in pieces for each in piece]
    assert ev.is_begin(whole[0])


def test_uncompressed_payload() -> None:
    inner = [event(2, b"x" * 30), event(16, b"y" * 8)]
    inner = [each[:9] + len(each).to_bytes(4, "little") + each[13:] for each in inner]
    body = b"".join(inner)
    outer = event(40, b"\2\3\xfc\xff\0\1\1" + bytes([len(body)]) + b"\0" + body, end=99)
    (found,) = transaction(outer, 1 << 20)
    assert found == [each[:13] + b"c\0\0\0" + each[17:] for each in inner]


def test_damaged_payloads() -> None:
    (outer,) = only(MYSQL, ev.TRANSACTION_PAYLOAD)
    broken = bytearray(outer)
    broken[-20] ^= 0xFF
    with pytest.raises(ServerUnreachable, match="damaged"):
        list(transaction(bytes(broken), 1))
    with pytest.raises(SourceError):
        list(transaction(outer[:-5], 1))
    with pytest.raises(SourceError, match="not known"):
        list(transaction(event(40, b"\2\1\7\1\1\0\0"), 1))


def test_compressed_events_of_mariadb() -> None:
    (query,) = only(MARIADB, ev.MARIADB_QUERY_COMPRESSED)
    found = plain(query)
    assert found[4] == ev.QUERY
    assert ev.query(found).statement.startswith("CREATE TABLE recorded.`odd name.` (id")
    for code, kind in ((166, ev.INSERT), (167, ev.UPDATE), (168, ev.DELETE)):
        rows = plain(only(MARIADB, code)[0])
        assert ev.ROW_KIND[rows[4]] == kind
        assert b"hello" in rows
    broken = bytearray(query)
    broken[-9] ^= 0xFF
    with pytest.raises(ServerUnreachable, match="damaged"):
        plain(bytes(broken))


READERS: dict[int, Callable[[bytes], object]] = {
    ev.ROTATE: ev.rotate, ev.FORMAT_DESCRIPTION: ev.format_description, ev.QUERY: ev.query,
    ev.GTID_TAGGED: ev.tagged_gtid, ev.XA_PREPARE: ev.xa_prepare, ev.TABLE_MAP: table_map,
    ev.HEARTBEAT_V2: ev.heartbeat, ev.ROWS_QUERY: ev.rows_query,
    ev.TRANSACTION_PAYLOAD: lambda each: list(transaction(each, 1)),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_damage_is_a_clear_error_or_another_value(source: str) -> None:
    rng = random.Random(7)
    for each in recorded(source):
        read = READERS.get(each[4])
        for _ in range(60 if read else 0):
            assert read is not None
            broken = bytearray(each)
            broken[rng.randrange(19, len(each))] = rng.randrange(256)
            for damaged in (bytes(broken), each[: rng.randrange(19, len(each))]):
                with contextlib.suppress(BridgeError):
                    read(damaged)
