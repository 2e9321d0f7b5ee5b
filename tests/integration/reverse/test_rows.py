"""What changes in the target is the same in the source afterwards."""

from __future__ import annotations

import time

import pytest

from tests.endtoend.tables import TABLES
from tests.integration.reverse.rig import Rig

BIG = "t" * 3 + "big text ' \\ é 日本 😀 "


def test_rows_of_every_kind_come_and_change_and_go(rig: Rig) -> None:
    rig.make(TABLES)
    rig.start()
    rig.write(
        "INSERT INTO item (id, kind, small, flag, amount, name, state, tags, doc, payload, fixed,"
        " bits, single, twice, born, at, changed, span, since, latin, japanese, medium, big)"
        " SELECT n, n % 200, -n, n % 2, n * 1.005, 'it''s \\ ' || n, 'it''s back', '{red,\"x y\"}',"
        " '{\"b\": [1, 2.5, null], \"a\": \"\\u00e9\"}', '\\x00ff27', '\\x0102030405',"
        " '00000000101', 0.1, -1e-7, '2020-02-29', '9999-12-31 23:59:59.999999',"
        " '2038-01-19 03:14:07.999+00', '-838:59:59', 1901, 'äöü€', '日本', NULL,"
        " 18446744073709551615"
        " FROM generate_series(1, 3000) n",
        "INSERT INTO keyless SELECT n % 3, 'x' || n % 2, '2020-01-01'"
        " FROM generate_series(1, 40) n",
        "INSERT INTO keyless VALUES (NULL, NULL, '2021-01-01'), (1, 'X1', '2020-01-01')",
        "INSERT INTO composite SELECT n, 'b' || n, n % 7, n, NULL FROM generate_series(1, 500) n",
        "INSERT INTO parent SELECT n, n FROM generate_series(1, 20) n",
        "INSERT INTO child_of SELECT n, 1 + n % 20, n FROM generate_series(1, 60) n",
        "INSERT INTO emptied SELECT n, n FROM generate_series(1, 300) n",
    )
    rig.drain()
    assert rig.same() == 3922
    rig.write(
        "UPDATE item SET name = name || '!', big = NULL, tags = '{}' WHERE id % 3 = 0",
        "DELETE FROM item WHERE id % 5 = 0",
        "UPDATE item SET id = id + 100000 WHERE id % 7 = 0",
        "DELETE FROM keyless WHERE a = 2",
        "UPDATE keyless SET b = 'y' WHERE a IS NULL OR b = 'x1'",
        "UPDATE composite SET b = 'c' || a WHERE a < 100",
        "TRUNCATE emptied",
        "INSERT INTO emptied VALUES (5, 5)",
        "DELETE FROM child_of WHERE parent = 3", "DELETE FROM parent WHERE id = 3",
    )  # fmt: skip
    facts = rig.drain()
    rig.same()
    assert (facts.unrepresentable, facts.error, facts.rollback_available) == (0, None, True)


def test_values_that_wander_between_rows(rig: Rig) -> None:
    rig.make({"slot": TABLES["slot"], "folded": TABLES["folded"]})
    rig.start()
    rig.write("INSERT INTO slot SELECT n, n, 'e' || n, 0 FROM generate_series(1, 50) n")
    rig.drain()
    for first in range(1, 40, 3):
        rig.write(
            f"UPDATE slot SET place = -1, email = NULL WHERE id = {first}",
            f"UPDATE slot SET place = {first}, email = 'e{first}' WHERE id = {first + 1}",
            f"UPDATE slot SET place = {first + 1}, email = 'E{first + 1}' WHERE id = {first}",
        )
    rig.write(
        "DELETE FROM slot WHERE id = 50", "INSERT INTO slot VALUES (51, 50, 'e50', 1)",
        "UPDATE slot SET id = 52 WHERE id = 49", "INSERT INTO slot VALUES (49, 99, 'new', 1)",
        "INSERT INTO folded VALUES ('abc', 1, 'x')", "UPDATE folded SET code = 'ABC'",
    )  # fmt: skip
    rig.drain()
    rig.same()
    assert rig.rows("SELECT code FROM folded") == [("ABC",)]


def test_large_values_that_did_not_change_stay(rig: Rig) -> None:
    rig.make(
        {"doc": "id int PRIMARY KEY, n int NOT NULL, body longtext, kept int NOT NULL DEFAULT 7"},
        doc={},
    )
    with rig.target.connect() as conn:
        name = rig.source.name
        conn.execute(f'ALTER TABLE "{name}".doc ALTER body SET STORAGE EXTERNAL'.encode())
    rig.start()
    rig.write(
        "INSERT INTO doc SELECT n, n, repeat('äb''\\', 5000) || n, 7 FROM generate_series(1, 30) n"
    )
    rig.write("UPDATE doc SET n = n + 1", "UPDATE doc SET n = n + 1 WHERE id < 10")
    rig.write(
        "UPDATE doc SET id = id + 100 WHERE id > 20", "UPDATE doc SET body = 'short' WHERE id = 5"
    )
    rig.write(
        "INSERT INTO doc VALUES (6000, 1, repeat('z', 70000), 1)",
        "UPDATE doc SET n = 9 WHERE id = 6000",
        "UPDATE doc SET id = 7000 WHERE id = 6000",
    )
    rig.drain()
    rig.same()


def test_a_transaction_larger_than_a_batch_is_one_in_the_source(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.reverse.builder.MOST_CHANGES", 300)
    rig.make({"bulk": TABLES["bulk"], "slot": TABLES["slot"]})
    rig.start()
    rig.write(
        "INSERT INTO bulk SELECT n, n, repeat('x', 200) FROM generate_series(1, 5000) n",
        "UPDATE bulk SET v = v + 1 WHERE id % 2 = 0", "DELETE FROM bulk WHERE id < 100",
        "INSERT INTO slot VALUES (1, 1, 'a', 1)",
    )  # fmt: skip
    rig.drain()
    rig.same()
    rig.write("INSERT INTO bulk SELECT n, n, 'x' FROM generate_series(10001, 10600) n")
    rig.drain()  # its end comes alone
    rig.same()
    assert rig.rows("SELECT COUNT(*) FROM bulk WHERE id > 10000") == [(600,)]


def test_a_drain_returns_at_once_and_passes_what_is_of_no_concern(rig: Rig) -> None:
    rig.make({"slot": TABLES["slot"]})
    reverse = rig.start()
    rig.drain()
    took = []
    for place in range(20):
        rig.write(f"INSERT INTO slot VALUES ({place}, {place}, NULL, 0)")
        began = time.monotonic()
        rig.drain()
        took.append(time.monotonic() - began)
    # Some milliseconds on an idle machine, the connection included; who only looked once a second
    # would take most of it each time.
    assert sorted(took)[10] < 0.5
    with rig.target.connect() as conn:
        conn.execute("CREATE TABLE other (a text)")
        conn.execute("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        found = conn.execute("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone()
    assert found is not None
    rig.until(lambda facts: facts.applied >= int(found[0]))
    assert reverse.facts().lag_seconds == 0


def test_what_was_written_before_the_flip_is_not_sent_back(rig: Rig) -> None:
    rig.make({"slot": TABLES["slot"]})
    rig.arm()
    rig.write("INSERT INTO slot VALUES (1, 1, 'by the forward stream', 0)")
    rig.start()
    rig.write("INSERT INTO slot VALUES (2, 2, NULL, 0)")
    rig.drain()
    assert rig.rows("SELECT id FROM slot") == [(2,)]
