"""What messages are: literal ones, as Debezium 3.6.1 writes them."""

from __future__ import annotations

import pytest

from bridge.capture.debezium.envelope import (
    Heartbeat,
    InTransaction,
    Message,
    RowChange,
    SchemaChange,
    Source,
    Tombstone,
    TransactionMark,
    classify,
)
from bridge.errors import TableStopped
from bridge.names import TableName
from tests.unit.capture.debezium.samples import GTID, PLACE

SOURCE = (
    '"source":{"version":"3.6.1.Final","connector":"mysql","name":"shop","ts_ms":1700000000000,'
    '"snapshot":"%s","db":"shop","sequence":null,"ts_us":1700000000000000,'
    '"ts_ns":1700000000000000000,"table":"orders","server_id":223344,"gtid":%s,'
    '"file":"binlog.000003","pos":484,"row":1,"thread":7,"query":null}'
)
LOGGED = SOURCE % ("false", f'"{GTID}"')
CHANGE = '{"before":null,"after":{"id":1},%s,"transaction":%s,"op":"%s","ts_ms":1700000000123}'


def told(message: str | None, *, schemas: bool = False) -> Message:
    return classify(None if message is None else message.encode(), PLACE, schemas=schemas)


@pytest.mark.parametrize("op", ["c", "u", "d", "r", "t"])
def test_changes_of_rows(op: str) -> None:
    found = told(CHANGE % (LOGGED, "null", op))
    assert isinstance(found, RowChange)
    assert (found.op, found.transaction) == (op, None)
    assert found.source == Source(
        db="shop", file="binlog.000003", pos=484, ts_ms=1700000000000, table="orders", row=1,
        gtid=GTID, server_id=223344,
    )  # fmt: skip
    assert found.source.generation is None


def test_a_change_inside_its_transaction() -> None:
    inside = f'{{"id":"{GTID}","total_order":3,"data_collection_order":2}}'
    found = told(CHANGE % (LOGGED, inside, "u"))
    assert isinstance(found, RowChange)
    assert found.transaction == InTransaction(GTID, 3, 2)


@pytest.mark.parametrize(
    "marker", ["first", "first_in_data_collection", "true", "last_in_data_collection", "last"]
)
def test_rows_of_an_initial_snapshot(marker: str) -> None:
    """A snapshot that was started over has another position, by which its rows are told apart."""
    found = told(CHANGE % (SOURCE % (marker, "null"), "null", "r"))
    assert isinstance(found, RowChange)
    assert found.source.initial
    assert not found.source.incremental
    assert found.source.generation == ("binlog.000003", 484)


def test_rows_of_an_incremental_snapshot() -> None:
    found = told(CHANGE % (SOURCE % ("incremental", f'"{GTID}"'), "null", "r"))
    assert isinstance(found, RowChange)
    assert found.source.incremental
    assert found.source.generation is None


def test_tombstones() -> None:
    assert told(None) == told("null") == told("") == Tombstone()
    assert told('{"schema":null,"payload":null}', schemas=True) == Tombstone()


def test_heartbeats() -> None:
    assert told('{"ts_ms":1700000000123}') == Heartbeat(1700000000123)
    wrapped = (
        '{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"ts_ms"}],'
        '"optional":false,"name":"io.debezium.connector.common.Heartbeat","version":1},'
        '"payload":{"ts_ms":1700000000123}}'
    )
    assert told(wrapped, schemas=True) == Heartbeat(1700000000123)


def test_transaction_metadata() -> None:
    begin = (
        f'{{"status":"BEGIN","id":"{GTID}","event_count":null,"data_collections":null,'
        '"ts_ms":1700000000123}'
    )
    end = (
        f'{{"status":"END","id":"{GTID}","event_count":3,"data_collections":['
        '{"data_collection":"shop.orders","event_count":2},'
        '{"data_collection":"shop.lines","event_count":1}],"ts_ms":1700000000123}'
    )
    assert told(begin) == TransactionMark(begins=True, id=GTID)
    counts = (("shop.orders", 2), ("shop.lines", 1))
    assert told(end) == TransactionMark(begins=False, id=GTID, events=3, counts=counts)


def test_changes_of_definitions() -> None:
    change = (
        f'{{{LOGGED},"ts_ms":1700000000123,"databaseName":"shop","schemaName":null,'
        '"ddl":"ALTER TABLE orders ADD x int","tableChanges":[{"type":"ALTER",'
        '"id":"\\"shop\\".\\"or\\"\\"ders\\"","table":{"primaryKeyColumnNames":["id"]}}]}'
    )
    found = told(change)
    assert isinstance(found, SchemaChange)
    assert (found.database, found.ddl) == ("shop", "ALTER TABLE orders ADD x int")
    assert found.tables == (TableName("shop", 'or"ders'),)
    assert found.source.gtid == GTID
    database = f'{{{LOGGED},"databaseName":"x","ddl":"DROP DATABASE x","tableChanges":[]}}'
    assert told(database) == SchemaChange("x", "DROP DATABASE x", (), found.source)


@pytest.mark.parametrize(
    "message",
    [
        CHANGE % (LOGGED, "null", "m"),
        CHANGE % (LOGGED, "null", "x"),
        '{"before":null,"after":{"id":1},"op":"c"}',
        '{"id":1,"name":"flattened by a transformation"}',
        '{"id":1,"ts_ms":5}',
        '{"ts_ms":1.5}',
        '{"name":"a row with a time","ts_ms":5}',
        '{"status":"BEGIN","id":"7","name":"a row","ts_ms":5}',
        '{"schema":{},"payload":{"ts_ms":5}}',
        "{}",
        "[]",
        "1",
        "{",
        "not JSON",
    ],
)
def test_what_is_not_known_is_not_passed_over(message: str) -> None:
    with pytest.raises(TableStopped, match=r"shop\.shop\.orders\[2\]:41") as caught:
        told(message)
    assert caught.value.code == "unknown-event"


def test_settings_that_say_otherwise_than_messages() -> None:
    with pytest.raises(TableStopped):
        told(CHANGE % (LOGGED, "null", "c"), schemas=True)
    with pytest.raises(TableStopped):
        classify(b"\xff", PLACE, schemas=False)
