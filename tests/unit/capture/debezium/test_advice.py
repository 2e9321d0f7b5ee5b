"""What a connector captures, under which names, and how safely its messages are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.capture.debezium.advice import Capturing, judge_capture
from bridge.capture.debezium.captured import (
    captures_column,
    captures_table,
    expressions,
    message_keys,
)
from bridge.capture.debezium.naming import collisions, rerouted, topic_of
from bridge.capture.debezium.topics import Topic, judge_topic
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.table import IndexPart, SourceIndex
from tests.plans import plan

ORDERS = TableName("shop", "orders")
TABLE = plan("t", [("id", "bigint"), ("a", "int"), ("b", "int")])
WEEK = {
    "cleanup.policy": "delete", "retention.ms": "604800000", "retention.bytes": "-1",
    "delete.retention.ms": "86400000", "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
}  # fmt: skip
ROUTE = {
    "transforms": "a, route",
    "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
}


def unique(*columns: str) -> SourceIndex:
    """A unique index over these columns."""
    return SourceIndex("_".join(columns), tuple(IndexPart(name) for name in columns), unique=True)


def with_indexes(made: TablePlan, *indexes: SourceIndex, key: tuple[str, ...] = ()) -> TablePlan:
    """A plan whose source has these indexes and this primary key, and no column is NULL."""
    columns = tuple(replace(one, nullable=False) for one in made.table.columns)
    table = replace(made.table, columns=columns, indexes=indexes, primary_key=key)
    return replace(made, table=table, indexes=indexes)


# -- what is captured -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "captured"),
    [
        ({}, True),
        ({"table.include.list": r"shop\.orders"}, True),
        ({"table.include.list": "shop.customers, SHOP.ORDERS"}, True),
        ({"table.include.list": "shop.order"}, False),
        ({"table.include.list": "orders"}, False),
        ({"table.include.list": r"shop\.(a|orders)"}, True),
        ({"table.include.list": r"shop\.[a,o]rders"}, True),
        ({"table.exclude.list": "shop.ord.*"}, False),
        ({"table.exclude.list": "other.*"}, True),
        ({"database.include.list": "shop"}, True),
        ({"database.include.list": "sho"}, False),
        ({"database.exclude.list": "s.*"}, False),
        ({"database.include.list": "shop", "table.include.list": "shop.x"}, False),
        ({"table.include.list": "shop.*(?<!x)++("}, None),
        ({"table.exclude.list": "("}, None),
        ({"database.include.list": "x", "table.include.list": "("}, False),
    ],
)
def test_captured_tables(config: dict[str, str], captured: bool | None) -> None:
    assert captures_table(config, ORDERS) is captured


def test_captured_columns() -> None:
    assert captures_column({}, ORDERS, "id")
    assert captures_column({"column.exclude.list": r"shop\.orders\.note"}, ORDERS, "id")
    assert not captures_column({"column.exclude.list": r"shop\.orders\.note"}, ORDERS, "note")
    assert not captures_column({"column.include.list": "shop.orders.(id|at)"}, ORDERS, "note")


def test_lists_of_expressions() -> None:
    assert list(expressions(r" a\.b , c{1,3},[x,y], d\,e ,,")) == [
        r"a\.b",
        "c{1,3}",
        "[x,y]",
        "d,e",
    ]
    assert list(expressions("")) == []


def test_the_key_of_messages() -> None:
    table = TABLE.table
    assert message_keys({}, table) == {("id",)}
    assert message_keys({"message.key.columns": "x.y:a;(.*).t:b,id"}, table) == {("b", "id")}
    bare = replace(table, primary_key=())
    assert message_keys({}, bare) == {()}
    columns = tuple(replace(one, nullable=one.name == "b") for one in table.columns)
    indexes = (unique("a"), unique("id", "a"), unique("b"))
    several = replace(bare, columns=columns, indexes=indexes)
    assert message_keys({}, several) == {("a",), ("id", "a")}


# -- names ------------------------------------------------------------------------------------


def test_names_of_topics() -> None:
    assert topic_of("p", ORDERS) == "p.shop.orders"
    assert topic_of("p", TableName("shop", "Zähler 1$")) == "p.shop.Z_hler_1_"


def test_collisions() -> None:
    names = ["a b", "a_b", "a.b", "ab", "ä", "ö", "x-y", "x_y"]
    tables = [TableName("s", name) for name in names]
    found = [{table.table for table in each} for each in collisions("p", tables)]
    assert found == [{"a b", "a_b", "a.b"}, {"ä", "ö"}]


def test_transformations_of_names() -> None:
    config = {**ROUTE, "transforms.route.regex": "p\\.(.*)", "transforms.route.replacement": "q.$1"}
    assert rerouted(config, "p.shop.t") == "q.shop.t"
    assert rerouted(config, "other") == "other"


def found(
    plans: list[TablePlan],
    others: tuple[str, ...] = (),
    snapshot: str = "bridge",
    changed: dict[str, str] | None = None,
) -> set[tuple[str, str]]:
    """(code, severity) of what is said of a connector that is set well but for a few settings."""
    config = {
        "topic.prefix": "p",
        "snapshot.mode": "no_data",
        "heartbeat.interval.ms": "1000",
        **(changed or {}),
    }
    capturing = Capturing(config, {}, "p", snapshot)  # type: ignore[arg-type]
    return {
        (one.code, one.severity)
        for one in judge_capture(capturing, plans, [TableName("s", name) for name in others])
    }


def test_a_connector_that_serves() -> None:
    assert found([TABLE]) == set()
    assert found([TABLE], snapshot="debezium", changed={"snapshot.mode": "initial"}) == set()
    quiet = {**ROUTE, "transforms.route.regex": "x(.*)", "transforms.route.replacement": "$1"}
    assert found([TABLE], others=("other",), changed=quiet) == set()


@pytest.mark.parametrize(
    ("changed", "code", "severity"),
    [
        ({"topic.prefix": "q"}, "K022", "error"),
        ({"topic.delimiter": "_"}, "K022", "error"),
        ({"topic.naming.strategy": "mine"}, "K022", "error"),
        ({**ROUTE, "transforms.route.regex": "(.*)"}, "K022", "error"),
        ({**ROUTE, "transforms.route.regex": "("}, "K022", "error"),
        ({"table.exclude.list": "s.t"}, "K023", "error"),
        ({"column.exclude.list": "s.t.b"}, "K024", "error"),
        ({"producer.override.acks": "1"}, "K036", "error"),
        ({"heartbeat.interval.ms": "0"}, "K037", "warning"),
        ({"snapshot.mode": "initial_only"}, "K038", "error"),
        ({"snapshot.mode": "when_needed"}, "K038", "warning"),
        ({"snapshot.mode": "always"}, "K038", "warning"),
        ({"snapshot.mode": "recovery"}, "K038", "warning"),
        ({"snapshot.mode": "initial"}, "K038", "info"),
    ],
)
def test_a_connector_that_does_not(changed: dict[str, str], code: str, severity: str) -> None:
    assert found([TABLE], changed=changed) == {(code, severity)}


def test_nobody_fills_the_tables() -> None:
    assert found([TABLE], snapshot="debezium") == {("K038", "error")}


def test_collisions_concern_carried_tables_or_stop_the_connector() -> None:
    umlaut, dotted = plan("ä", [("id", "int")]), plan("x.y", [("id", "int")])
    assert found([umlaut], others=("ö",)) == {("K026", "error")}
    assert found([TABLE], others=("ä", "ö")) == set()
    assert found([TABLE], others=("x.y", "x_y")) == {("K026", "error")}
    assert found([dotted], others=("x_y",), changed={"table.include.list": r"s\.x\.y"}) == set()


# -- topics -----------------------------------------------------------------------------------


ONCE = {"exactly.once.support": "required"}


def of_topic(
    made: TablePlan,
    partitions: int = 1,
    replicas: int = 3,
    changed: dict[str, str] | None = None,
    config: dict[str, str] = ONCE,
) -> list[tuple[str, str]]:
    topic = Topic("p.s.t", partitions, replicas, WEEK | (changed or {}))
    return [(one.code, one.severity) for one in judge_topic(config, made, topic)]


def test_rows_without_a_key_must_not_come_twice() -> None:
    assert of_topic(plan("t", [("id", "int")], key=0), config={}) == [("K043", "error")]
    assert of_topic(TABLE, config={}) == []


def test_a_topic_that_serves() -> None:
    assert of_topic(TABLE) == []
    assert of_topic(TABLE, partitions=4) == []
    assert of_topic(plan("t", [("id", "int")], key=0)) == []
    assert judge_topic({}, TABLE, Topic("p.s.t", 1, 1, None)) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"retention.ms": "3600000"}, [("K030", "warning")]),
        ({"retention.bytes": "1000"}, [("K030", "warning")]),
        ({"retention.ms": "-1"}, []),
        ({"cleanup.policy": "compact", "retention.ms": "1"}, [("K031", "error")]),
        ({"cleanup.policy": "compact", "delete.retention.ms": "604800000"}, [("K031", "warning")]),
        ({"cleanup.policy": "compact,delete", "retention.ms": "1"},
         [("K030", "warning"), ("K031", "error")]),
        ({"min.insync.replicas": "1"}, [("K032", "info")]),
        ({"unclean.leader.election.enable": "true"}, [("K032", "info")]),
    ],
)  # fmt: skip
def test_a_topic_that_does_not(changed: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert of_topic(TABLE, changed=changed) == expected


def test_one_replica() -> None:
    assert of_topic(TABLE, replicas=1) == [("K032", "info")]


def test_partitions_and_keys() -> None:
    assert of_topic(plan("t", [("id", "int")], key=0), 2) == [("K027", "error")]
    secondary = with_indexes(TABLE, unique("a"), key=("id",))
    assert of_topic(secondary, 2) == [("K029", "warning")]
    # the target's key is another one than that of messages
    other = with_indexes(TABLE, key=("a",))
    assert of_topic(other, 2) == [("K028", "error")]
    assert of_topic(other, 1) == []
    # a part of the key keeps a row's changes together as well
    wide = plan("t", [("id", "int"), ("a", "int")], key=2)
    assert of_topic(with_indexes(wide, key=("a",)), 2) == []
    # one of several unique indexes, nobody knows which
    several = with_indexes(TABLE, unique("id"), unique("b"))
    assert [code for code, _ in of_topic(several, 2)] == ["K028", "K029"]
