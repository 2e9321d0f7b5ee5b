"""What the source cannot hold is kept, counted, and made up for by a later change."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

import pytest

from bridge.cutover import wayback
from bridge.cutover.wayback import StreamBack
from bridge.reverse.representable import count_unheld
from tests.integration.copied import plan_of
from tests.integration.reverse.rig import GROUP, PATIENCE, PIPELINE, Rig

WIDE = """
    id int PRIMARY KEY, small tinyint unsigned NOT NULL, amount decimal(6,2), name varchar(10),
    fixed char(5), latin varchar(20) CHARACTER SET latin1, state enum('new','paid'),
    at timestamp NULL, day date, span time, raw varbinary(4), tags set('a','b'), doc json,
    big mediumtext"""
TARGETS = {
    "small": "numeric(20,0)", "amount": "numeric", "name": "text", "latin": "text", "fixed": "text"
}  # fmt: skip
BAD = {
    "small": ["256", "-1", "'NaN'"],
    "amount": ["10000", "1.005", "'NaN'"],
    "name": ["'elevenchars'", "'12345678901'"],
    "fixed": ["'ab '", "'toolong'"],
    "latin": ["'日本'"],
    "state": ["'gone'"],
    "at": ["'1969-12-31 00:00:00+00'", "'2039-01-01 00:00:00+00'", "'infinity'"],
    "day": ["'infinity'", "'0044-03-15 BC'", "'10000-01-01'"],
    "span": ["'1 day'", "'839:00:00'", "'00:00:00.5'"],
    "raw": ["'\\x0102030405'"],
    "tags": ["'{b,a}'", "'{c}'", "'{a,a}'"],
}


@pytest.fixture
def wide(rig: Rig) -> Rig:
    rig.make({"wide": WIDE}, wide={"targets": TARGETS})
    with rig.target.connect() as conn:
        place = f'"{rig.source.name}".wide'
        conn.execute(f"ALTER TABLE {place} ALTER big SET STORAGE EXTERNAL".encode())
    rig.start()
    rig.write("INSERT INTO wide SELECT n, 1, 1 FROM generate_series(1, 60) n")
    return rig


def kept(rig: Rig) -> dict[int, tuple[str, str]]:
    """Keys, each with code and column."""
    with rig.target.connect() as conn:
        found = conn.execute(
            "SELECT convert_from(key, 'UTF8'), code, column_name"
            " FROM dbbridge.reverse_unrepresentable WHERE superseded IS NULL"
        ).fetchall()
    return {int(key.split("\t")[0]): (code, column) for key, code, column in found}


def test_each_kind_is_found_before_it_is_written_and_healed(wide: Rig) -> None:
    wide.drain()
    values = [(column, value) for column, bad in BAD.items() for value in bad]
    for number, (column, value) in enumerate(values, 1):
        wide.write(f"UPDATE wide SET {column} = {value} WHERE id = {number}")
    facts = wide.drain()
    found = kept(wide)
    assert {key: column for key, (_, column) in found.items()} == {
        number: column for number, (column, _) in enumerate(values, 1)
    }
    assert (facts.unrepresentable, facts.rollback_available) == (len(values), False)
    assert wide.rows("SELECT COUNT(*) FROM wide WHERE small = 1 AND amount = 1") == [(60,)]
    with wide.bridge() as conn:
        conn.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'")
        scan = count_unheld(conn, wide.plans["wide"])
    assert scan.rows == len(values)
    assert {column for column, _ in scan.by} == set(BAD)
    half = len(values) // 2
    wide.write(
        "UPDATE wide SET small = 2, amount = 2, name = 'n', fixed = 'f', latin = 'é',"
        " state = 'paid', at = now(), day = '2024-01-01', span = '1:00', raw = '\\x00',"
        f" tags = '{{a,b}}' WHERE id <= {half}",
        f"DELETE FROM wide WHERE id > {half} AND id <= {len(values)}",
    )
    facts = wide.drain()
    assert (facts.unrepresentable, facts.rollback_available, kept(wide)) == (0, True, {})
    wide.write("UPDATE wide SET at = date_trunc('second', at)")
    wide.drain()
    wide.same()


def test_a_restart_knows_them_and_large_values_are_not_lost(wide: Rig) -> None:
    wide.write("UPDATE wide SET big = repeat('old', 3000) WHERE id < 9")
    wide.write("UPDATE wide SET big = repeat('new', 3000), small = 999 WHERE id = 3")
    wide.write("INSERT INTO wide (id, small, big) VALUES (100, 300, repeat('only', 3000))")
    wide.write("UPDATE wide SET id = 200, small = 300 WHERE id = 4")
    assert wide.drain().unrepresentable == 3
    assert wide.reverse is not None
    wide.reverse.stop()
    wide.start()
    assert wide.drain().unrepresentable == 3
    wide.write("UPDATE wide SET small = 3 WHERE id IN (3, 100)")  # the large value does not come
    assert wide.drain().unrepresentable == 1
    wide.write("UPDATE wide SET id = 4, small = 4 WHERE id = 200")
    assert wide.drain().unrepresentable == 0
    wide.same()


def test_the_next_switch_knows_nothing_of_them_and_a_resumed_one_does(wide: Rig) -> None:
    wide.write("UPDATE wide SET small = 999 WHERE id = 3")
    assert wide.drain().unrepresentable == 1
    assert wide.reverse is not None
    wide.reverse.stop()
    plans = list(wide.plans.values())
    with closing(wide.source.connect()) as source, wide.bridge() as target:
        way = StreamBack(PIPELINE, GROUP, wide.source.name, plans, source, target)
        target.execute(
            wayback.Q["add"], {"pipeline": PIPELINE, "group": GROUP, "slot": way.slot()[0]}
        )
        count, (named,) = way.unheld()
        assert (count, named) == (1, f"{wide.source.name}.wide 3 (small: out-of-range)")
        way.resume(2)
        assert way.unheld()[0] == 1
        with target.transaction():
            way.begin(3)
        assert way.unheld()[0] == 0


def test_parts_of_one_transaction_know_of_each_other(
    wide: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.reverse.builder.MOST_CHANGES", 2)
    wide.write("UPDATE wide SET big = repeat('old', 3000) WHERE id < 9")
    wide.write(
        "UPDATE wide SET big = repeat('new', 3000), small = 999 WHERE id = 3",
        "UPDATE wide SET small = 999 WHERE id = 4",
        "UPDATE wide SET small = 3 WHERE id = 3",  # the large value does not come
        "UPDATE wide SET amount = 5 WHERE id = 5",
    )
    assert wide.drain().unrepresentable == 1
    wide.write("DELETE FROM wide WHERE id = 4")
    assert wide.drain().unrepresentable == 0
    wide.same()


def test_keys_that_are_equal_to_the_source_only(rig: Rig) -> None:
    rig.make(
        {
            "folded": "code varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v int",
            "named": "id int PRIMARY KEY, v int,"
            " name varchar(20) COLLATE utf8mb4_general_ci UNIQUE",
        }
    )
    rig.start()
    rig.write(
        "INSERT INTO folded VALUES ('abc', 1), ('x', 1)", "INSERT INTO folded VALUES ('ABC', 2)"
    )
    rig.write("INSERT INTO named VALUES (1, 1, 'abc')")
    rig.write("INSERT INTO named VALUES (2, 2, 'ABC')", "UPDATE named SET v = 3 WHERE id = 1")
    facts = rig.drain()
    assert facts.unrepresentable == 2
    assert rig.rows("SELECT code, v FROM folded ORDER BY code") == [("abc", 1), ("x", 1)]
    assert rig.rows("SELECT id, name, v FROM named") == [(1, "abc", 3)]
    rig.write(
        "DELETE FROM folded WHERE code = 'ABC'", "UPDATE named SET name = 'other' WHERE id = 1"
    )
    assert rig.drain().unrepresentable == 0  # the second one had waited for the first one's name
    rig.same()


def test_rows_without_a_key(rig: Rig) -> None:
    rig.make({"log": "a tinyint, b varchar(5)"}, log={"targets": {"a": "integer", "b": "text"}})
    rig.start()
    rig.write(
        "INSERT INTO log VALUES (1, 'x'), (1, 'x'), (1, 'X'), (500, 'y'), (500, 'y'), (2, NULL)"
    )
    assert rig.drain().unrepresentable == 2
    rig.write("DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE a = 500)")
    assert rig.drain().unrepresentable == 1
    rig.write("UPDATE log SET a = 5 WHERE a = 500", "DELETE FROM log WHERE b = 'X'")
    assert rig.drain().unrepresentable == 0
    rig.same()
    rig.write("UPDATE log SET a = 400 WHERE a = 1")
    assert rig.drain().unrepresentable == 2
    rig.write("TRUNCATE log")
    assert rig.drain().unrepresentable == 0
    rig.same()


def test_an_enum_that_is_invalid_in_the_source_goes_back_as_it_was(rig: Rig) -> None:
    rig.make({"e": "id int PRIMARY KEY, state enum('new','paid') NOT NULL, n int"})
    rig.start()
    rig.write("INSERT INTO e VALUES (1, 'new', 1), (2, '', 2), (3, 'paid', 3)")
    assert rig.drain().unrepresentable == 0
    assert rig.rows("SELECT state + 0 FROM e ORDER BY id") == [(1,), (0,), (2,)]


def test_columns_that_only_the_source_has_keep_their_values(rig: Rig) -> None:
    rig.make({"s": "id int PRIMARY KEY, u int UNIQUE, v int"})
    with rig.target.connect() as conn:
        conn.execute(f'ALTER TABLE "{rig.source.name}".s ADD more text'.encode())
    plan = rig.plans["s"]
    rig.rows(
        "ALTER TABLE s ADD kept int NOT NULL DEFAULT 7, ADD twice int AS (v * 2) STORED,"
        " ADD changed timestamp NOT NULL DEFAULT '2001-01-01' ON UPDATE CURRENT_TIMESTAMP"
    )
    again = plan_of(rig.source, "s")
    columns = tuple(c for c in again.columns if c.source.name not in ("kept", "changed"))
    rig.plans["s"] = replace(again, columns=columns, target=plan.target)
    rig.start()
    rig.write("INSERT INTO s VALUES (1, 1, 1, 'x'), (2, 2, 2, NULL)")
    rig.drain()
    rig.rows("UPDATE s SET kept = id, changed = changed")
    rig.write(
        "UPDATE s SET u = 0 WHERE id = 1", "UPDATE s SET u = 1 WHERE id = 2",
        "UPDATE s SET u = 2, v = 5 WHERE id = 1", "UPDATE s SET id = 9 WHERE id = 2",
    )  # fmt: skip
    rig.drain()
    assert rig.rows("SELECT id, u, v, kept, twice FROM s ORDER BY id") == [
        (1, 2, 5, 1, 10), (9, 1, 2, 2, 4)
    ]  # fmt: skip
    assert rig.rows("SELECT DISTINCT YEAR(changed) FROM s") == [(2001,)]


def test_documents_that_are_too_deep(rig: Rig) -> None:
    rig.make({"d": "id int PRIMARY KEY, doc json"})
    rig.start()
    documents = {
        1: "[" * 100 + "]" * 100,
        2: '{"a": ' * 99 + "1" + "}" * 99,
        3: "[" * 100 + "null" + "]" * 100,
        4: '{"a": [' * 60 + "]}" * 60,
        5: '{"a": [' * 60 + '{"b": "c"}' + "]}" * 60,
    }
    for number, document in documents.items():
        rig.write(f"INSERT INTO d VALUES ({number}, '{document}')")
    deep = {3, 4, 5} if rig.source.server.kind == "mysql" else {*documents}
    assert rig.drain().unrepresentable == len(deep)
    assert kept(rig) == dict.fromkeys(deep, ("too-deep", "doc"))
    rig.write(f"DELETE FROM d WHERE id IN ({', '.join(map(str, deep))})")
    assert rig.drain().unrepresentable == 0
    rig.same()


def test_a_row_larger_than_the_server_takes(rig: Rig) -> None:
    rig.make({"large": "id int PRIMARY KEY, body longtext"})
    rig.start()
    most = rig.rows("SELECT @@max_allowed_packet")[0][0]
    rig.write(
        "INSERT INTO large VALUES (1, 'a')",
        f"INSERT INTO large VALUES (2, repeat('x', {most}))",
        "INSERT INTO large VALUES (3, 'c')",
    )
    assert rig.drain().unrepresentable == 1
    assert kept(rig) == {2: ("over-max-allowed-packet", "")}
    assert rig.rows("SELECT id FROM large ORDER BY id") == [(1,), (3,)]
    rig.write("UPDATE large SET body = 'b' WHERE id = 2")
    assert rig.drain().unrepresentable == 0
    rig.same()


def test_what_a_failover_of_the_source_made_bad_again_is_healed_again(wide: Rig) -> None:
    wide.write("UPDATE wide SET big = repeat('old', 3000) WHERE id = 3")
    wide.write("UPDATE wide SET big = repeat('new', 3000), small = 999 WHERE id = 3")
    before = wide.drain().applied
    wide.write("UPDATE wide SET small = 3 WHERE id = 3")  # the large value does not come
    wide.write("UPDATE wide SET small = 999 WHERE id = 3")
    wide.write("UPDATE wide SET small = 4 WHERE id = 3")
    assert wide.drain().unrepresentable == 0
    assert wide.reverse is not None
    wide.reverse.stop()
    wide.rows("UPDATE wide SET small = 1, big = REPEAT('old', 3000) WHERE id = 3")
    wide.rows(f"UPDATE _bridge_reverse SET lsn = {before}")
    wide.start()
    assert wide.drain().unrepresentable == 0
    wide.same()


def test_what_was_made_up_for_goes_once_it_cannot_come_again(wide: Rig) -> None:
    assert wide.reverse is not None
    wide.reverse.stop()
    reverse = wide.start(keep_seconds=0)
    reverse.press(True)  # tells the target at once how far all is
    wide.write("UPDATE wide SET small = 999 WHERE id = 3")
    wide.write("UPDATE wide SET small = 3 WHERE id = 3")
    wide.drain()
    deadline = time.monotonic() + PATIENCE
    with wide.bridge() as conn:
        while conn.execute("SELECT 1 FROM dbbridge.reverse_unrepresentable").fetchall():
            assert time.monotonic() < deadline
            wide.write("UPDATE wide SET amount = 2 WHERE id = 4")
            wide.drain()
