from __future__ import annotations

import struct

from bridge.capture.binlog import events as ev
from bridge.change.position import Position
from bridge.cutover.proposals import Together, propose, spanning
from bridge.cutover.sampling import Sample, Transactions, recent, spans
from bridge.names import TableName
from bridge.types.table import ForeignKey, SourceTable


def name(table: str) -> TableName:
    return TableName("shop", table)


def table(own: str, *parents: str) -> SourceTable:
    keys = tuple(
        ForeignKey(f"{own}_{parent}", (parent,), name(parent), ("id",)) for parent in parents
    )
    return SourceTable(name(own), "mysql", "InnoDB", (), ("id",), foreign_keys=keys)


TABLES = [
    table("customer"),
    table("orders", "customer"),
    table("line", "orders", "product"),
    table("product"),
    table("a", "b"),
    table("b", "c"),
    table("c", "a"),
    table("tree", "tree"),
    table("stock"),
    table("elsewhere", "unknown"),
]


def groups(together: list[Together], least: int = 2) -> dict[str, set[str]]:
    found = propose(TABLES, together, least=least)
    return {each.name: {one.table for one in each.tables} for each in found}


def test_foreign_keys_tie_tables() -> None:
    assert groups([]) == {
        "a": {"a", "b", "c"},
        "customer": {"customer", "orders", "line", "product"},
        "elsewhere": {"elsewhere"},
        "stock": {"stock"},
        "tree": {"tree"},
    }
    found = {each.name: each for each in propose(TABLES)}
    assert found["a"].cycles == ((name("a"), name("b"), name("c")),)
    assert found["tree"].cycles == ((name("tree"),),)
    assert found["customer"].cycles == ()
    assert [tie.name for tie in found["customer"].ties] == [
        "orders_customer", "line_orders", "line_product",
    ]  # fmt: skip


def test_transactions_tie_tables() -> None:
    seen = [
        Together(frozenset({name("stock"), name("orders")}), 3, "log.1:50"),
        Together(frozenset({name("stock"), name("orders"), name("unknown")}), 4, "log.1:70"),
        Together(frozenset({name("tree"), name("stock")}), 1, "log.1:90"),
    ]
    assert groups(seen)["customer"] == {"customer", "orders", "line", "product", "stock"}
    assert groups(seen)["tree"] == {"tree"}
    assert "tree" not in groups(seen, least=1)
    (proposal,) = [each for each in propose(TABLES, seen) if each.name == "customer"]
    assert proposal.document()["ties"][-1] == {
        "kind": "transaction",
        "tables": ["shop.orders", "shop.stock"],
        "transactions": 7,
        "example": "log.1:50",
    }


def test_transactions_over_several_groups() -> None:
    together = [
        Together(frozenset({name("a"), name("b")}), 5, "log.1:9"),
        Together(frozenset({name("a"), name("stock")}), 2, "log.1:10"),
        Together(frozenset({name("a"), name("unknown")}), 9, "log.1:11"),
    ]
    given = {name("a"): "one", name("b"): "one", name("stock"): "two"}
    assert spanning(given, together) == [together[1]]
    (span,) = spans(Sample(tuple(together), 16, "", ""), given)
    assert (span.groups, span.count, span.example) == (("one", "two"), 2, "log.1:10")


def event(kind: int, body: bytes, end: int) -> bytes:
    return ev.HEADER.pack(0, kind, 1, 19 + len(body), end, 0) + body


def mapped(number: int, table: str, end: int) -> bytes:
    names = b"".join(bytes([len(text)]) + text.encode() + b"\0" for text in ("shop", table))
    return event(ev.TABLE_MAP, number.to_bytes(6, "little") + b"\0\0" + names, end)


def rows(number: int, end: int) -> bytes:
    return event(30, number.to_bytes(6, "little") + b"\0" * 4, end)


def test_which_tables_a_transaction_writes() -> None:
    found = Transactions("log.1")
    xid = struct.pack("<Q", 1)
    for each in (
        mapped(1, "a", 100), mapped(2, "b", 150), rows(1, 200), rows(2, 250),
        event(ev.XID, xid, 280),
        mapped(1, "a", 300), rows(1, 350), mapped(3, "_bridge_op", 360), rows(3, 370),
        event(ev.XID, xid, 380),
        mapped(2, "b", 400), mapped(1, "a", 420), rows(2, 450), rows(1, 470),
        event(ev.QUERY, b"\0" * 14 + b"COMMIT", 500),
        rows(1, 520), event(ev.QUERY, b"\0" * 14 + b"ROLLBACK", 540),
    ):  # fmt: skip
        found.take(each)
    assert found.together() == [
        Together(frozenset({name("a"), name("b")}), 2, "log.1:280"),
        Together(frozenset({name("a")}), 1, "log.1:380"),
    ]
    assert found.count == 3 and found.offset == 540


UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
OTHER = "4e11fa47-71ca-11e1-9e33-c80aa9429562"


def test_some_transactions_back() -> None:
    def back(text: str, itself: str, by: int) -> str | None:
        found = recent(Position.parse(text), itself, by)
        return None if found is None else found.text

    assert back(f"{UUID}:1-100:200-210,{OTHER}:1-5", UUID, 20) == f"{UUID}:1-91,{OTHER}:1-5"
    assert back(f"{UUID}:1-100,{OTHER}:1-5", UUID, 500) == f"{OTHER}:1-5"
    assert back(f"{UUID}:1-100", UUID, 500) is None
    assert back("0-1-100,1-2-50", "1", 30) == "0-1-70,1-2-50"
    assert back("0-1-10", "1", 30) == "0-1-1"
    assert recent(Position.at("log.000001", 9), "1", 5) is None
