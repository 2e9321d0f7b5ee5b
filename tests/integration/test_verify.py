"""verify on tables that nobody writes: every planted difference is found, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from bridge.change.position import Position
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import quote_postgres
from bridge.report.verification import Difference
from bridge.verify import found, judge, ranges, sweep, table, walk
from bridge.verify.applied import Discarded, Quarantined
from bridge.verify.digest import row_digest
from bridge.verify.pace import Pace
from bridge.verify.recheck import Standing
from bridge.verify.source import SourceReader
from bridge.verify.subject import Subject
from bridge.verify.values import Glance
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.verifying import CurrentStream, StandingStill, World, columns_of, keys_of, retyped

TYPES = """
CREATE TABLE every (
    id bigint unsigned NOT NULL PRIMARY KEY,
    ti tinyint, tu tinyint unsigned, si smallint, mi mediumint, i int, iu int unsigned, b bigint,
    bu bigint unsigned, flag tinyint(1), dec_a decimal(12,2), dec_b decimal(65,30), f float,
    d double, bits bit(12), y year,
    da date, dt datetime(6), ts timestamp(3) NULL, t time(2),
    c char(10), v varchar(40), vl varchar(40) CHARACTER SET latin1, tx text, mt mediumtext,
    bi binary(4), vb varbinary(20), bl blob, long_bytes varbinary(200),
    e enum('new','paid','a,b'), s set('x','y','z'), j json
) CHARACTER SET utf8mb4
"""
FULL = """
INSERT INTO every VALUES (
    {id}, -5, 200, -300, -70000, -5, 4000000000, -9000000000000000000, 18000000000000000000, 1,
    1234.50, 12345678901234567890.123456789012345678901234567890, 1.25, -0.1, b'100000000001', 2024,
    '2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789', '-12:34:56.78',
    'padded', 'naïve ☃ 𝄞', 'déjà vu', 'line\\nbreak\\ttab\\\\', 'medium',
    x'00ff0000', x'0001', x'deadbeef', x'0102', 'paid', 'x,z', '{{"a": [1, 2, {{"b": null}}]}}')
"""
NULLS = "INSERT INTO every (id) VALUES ({id})"

CHANGES = {
    "ti": "-6", "tu": "201", "si": "1", "mi": "1", "i": "1", "iu": "1", "b": "1", "bu": "1",
    "flag": "0", "dec_a": "1234.51", "dec_b": "12345678901234567890.123456789012345678901234567891",
    "f": "1.2500001", "d": "-0.10000000000000002", "bits": "B'100000000000'", "y": "2023",
    "da": "'2024-03-01'", "dt": "'2024-02-29 12:34:56.789013'", "ts": "ts + interval '1 ms'",
    "t": "t + interval '10 ms'", "c": "'padded '", "v": "'naïve ☃'", "vl": "'deja vu'",
    "tx": "tx || ' '", "mt": "''", "bi": "'\\x00ff0001'", "vb": "'\\x00'", "bl": "'\\xdeadbeee'",
    "long_bytes": "'\\x0103'", "e": "'new'", "s": "'{x,y}'", "j": """'{"a": [1, 2, {"b": 0}]}'""",
}  # fmt: skip


@pytest.fixture
def world(source_db: SourceDatabase, target_db: TargetDatabase) -> World:
    return World(source_db, target_db)


@pytest.fixture(autouse=True)
def in_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tables are small, and tested as large ones are read."""
    monkeypatch.setattr(ranges, "WHOLE_ROWS", 0)
    monkeypatch.setattr(table, "HELPED_ROWS", 0)


def _every(world: World) -> TablePlan:
    world.mysql(
        TYPES,
        *(FULL.format(id=number) for number in range(1, 41)),
        *(NULLS.format(id=number) for number in range(41, 45)),
    )
    plan = world.copied("every")
    assert not world.bad
    return plan


def test_equal_tables_match_whatever_their_types(world: World) -> None:
    plan = _every(world)
    for level in ("counts", "checksums", "values"):
        verdict = world.verify(plan, level)
        assert (verdict.verdict, verdict.source_rows, verdict.target_rows) == ("match", 44, 44)
        assert not verdict.differences and not verdict.reason


def test_a_change_in_any_column_is_found_and_named(world: World) -> None:
    plan = _every(world)
    table = plan.target.postgres
    for number, (column, value) in enumerate(CHANGES.items(), 1):
        name = quote_postgres(column)
        world.postgres(f"UPDATE {table} SET {name} = {value} WHERE id = {number}")
    verdict = world.verify(plan)
    assert verdict.verdict == "mismatch"
    assert verdict.differing == len(CHANGES)
    assert [(d.kind, [c.name for c in d.columns]) for d in _by_key(verdict.differences)] == [
        ("differs", [column]) for column in CHANGES
    ]
    assert all(c.source != c.target for d in verdict.differences for c in d.columns)


def test_null_is_neither_empty_nor_zero_nor_false(world: World) -> None:
    plan = _every(world)
    table = plan.target.postgres
    for number, column in enumerate(CHANGES, 1):
        world.postgres(f"UPDATE {table} SET {quote_postgres(column)} = NULL WHERE id = {number}")
    world.postgres(
        f"UPDATE {table} SET v = '' WHERE id = 41",
        f"UPDATE {table} SET i = 0 WHERE id = 42",
        f"UPDATE {table} SET flag = 0 WHERE id = 43",
        f"UPDATE {table} SET vb = '' WHERE id = 44",
    )
    verdict = world.verify(plan)
    assert verdict.differing == len(CHANGES) + 4
    for difference, column in zip(_by_key(verdict.differences), CHANGES, strict=False):
        assert [(c.name, c.target) for c in difference.columns] == [(column, None)]


def test_different_rows_have_different_hashes(world: World) -> None:
    """Whatever stands where: separators, lengths, NULLs, empty texts."""
    world.mysql(
        "CREATE TABLE word (w varchar(20), n int)",
        "INSERT INTO word VALUES (NULL, NULL), ('', 0), ('a', 1), ('1', 10), (x'1f', 11),"
        " (x'1f61', NULL), (x'311f61', 0), (x'301f', 1), ('00', 10), ('1a', 11)",
        "CREATE TABLE puzzle (id int AUTO_INCREMENT PRIMARY KEY, a varchar(20), n int,"
        " b varchar(20), m int, c varchar(20))",
        "INSERT INTO puzzle (a, n, b, m, c) SELECT a.w, a.n, b.w, b.n, c.w"
        " FROM word a, word b, word c",
    )
    plan = world.copied("puzzle")
    assert world.verify(plan).verdict == "match"
    hashed = row_digest(plan.columns[1:])
    with closing(world.source()) as conn, conn.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), COUNT(DISTINCT {hashed.source}) FROM puzzle")
        assert cursor.fetchall() == ((1000, 1000),)
    with closing(world.target()) as target:
        query = f"SELECT count(DISTINCT {hashed.target}) FROM {plan.target.postgres}"
        assert target.execute(query.encode()).fetchall() == [(1000,)]


def test_columns_may_be_called_as_ours_are(world: World) -> None:
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, bucket int, h int, hashed int)")
    rows = ", ".join(f"({number}, {number % 7}, {number % 3}, 1)" for number in range(1, 2001))
    world.mysql(f"INSERT INTO t VALUES {rows}")
    plan = world.copied("t")
    assert world.verify(plan).verdict == "match"
    world.postgres(f"UPDATE {plan.target.postgres} SET bucket = 9 WHERE id IN (3, 700)")
    assert keys_of(world.verify(plan), "differs") == [("3",), ("700",)]


@pytest.mark.parametrize("far", [0, 4 * 10**9])
def test_a_table_read_at_once(world: World, monkeypatch: pytest.MonkeyPatch, far: int) -> None:
    """Also where nearly all keys are near each other and one is not."""
    monkeypatch.setattr(ranges, "WHOLE_ROWS", 10**9)
    monkeypatch.setattr(sweep, "OPEN_ROWS", 1000)
    monkeypatch.setattr(sweep, "OPEN_BUCKETS", 3)
    world.mysql("CREATE TABLE t (id bigint, n int, v varchar(9), PRIMARY KEY (id, n))")
    rows = ", ".join(f"({number - 2000}, {number % 3}, 'v')" for number in range(6000))
    world.mysql(f"INSERT INTO t VALUES {rows}", f"INSERT INTO t VALUES ({far}, 7, 'far')")
    plan = world.copied("t")
    verdict = world.verify(plan)
    assert (verdict.verdict, verdict.source_rows) == ("match", 6001)
    target = plan.target.postgres
    world.postgres(
        f"UPDATE {target} SET v = 'x' WHERE id % 500 = 1",
        f"DELETE FROM {target} WHERE id = -77",
        f"INSERT INTO {target} VALUES (5000, 1, 'y'), (-1500, 9, 'z')",
    )
    verdict = world.verify(plan)
    assert [int(key[0]) for key in keys_of(verdict, "differs")] == sorted(
        (1, 501, 1001, 1501, 2001, 2501, 3001, 3501), key=str
    )
    assert keys_of(verdict, "missing") == [("-77", "0")]
    assert keys_of(verdict, "extra") == [("-1500", "9"), ("5000", "1")]


@pytest.mark.parametrize("glanced", [True, False])
@pytest.mark.parametrize("first", [7, 2900])
def test_ranges_are_compared_as_a_whole_until_something_differs(
    world: World, monkeypatch: pytest.MonkeyPatch, first: int, glanced: bool
) -> None:
    """What differs early makes later ranges come in buckets; what differs late is found as well."""
    monkeypatch.setattr(ranges, "WHOLE_ROWS", 10**9)
    monkeypatch.setattr(Subject, "glanced", glanced)
    monkeypatch.setattr(walk, "FIRST_ROWS", 100)
    asked: list[str] = []
    totals, glance = SourceReader.totals, SourceReader.glance

    def at_once(reader: SourceReader, conditions: Sequence[str]) -> Glance:
        asked.append("0")
        return glance(reader, conditions)

    def watched(
        reader: SourceReader, conditions: Sequence[str], bucket: str = "0"
    ) -> dict[int, tuple[int, int]]:
        asked.append(bucket)
        return totals(reader, conditions, bucket)

    monkeypatch.setattr(SourceReader, "totals", watched)
    monkeypatch.setattr(SourceReader, "glance", at_once)
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))")
    rows = ", ".join(f"({number}, 'v')" for number in range(1, 3001))
    world.mysql(f"INSERT INTO t VALUES {rows}", "ANALYZE TABLE t")
    plan = world.copied("t")
    assert world.verify(plan).verdict == "match"
    assert len(asked) > 10
    assert set(asked) == {"0"}
    asked.clear()
    target = plan.target.postgres
    world.postgres(
        f"UPDATE {target} SET v = 'x' WHERE id IN ({first}, {first + 1})",
        f"DELETE FROM {target} WHERE id = 2950",
        f"INSERT INTO {target} VALUES (4000, 'y')",
    )
    verdict = world.verify(plan)
    assert keys_of(verdict, "differs") == [(str(first),), (str(first + 1),)]
    assert (keys_of(verdict, "missing"), keys_of(verdict, "extra")) == ([("2950",)], [("4000",)])
    assert (verdict.source_rows, verdict.target_rows) == (3000, 3000)
    assert asked[0] == "0"
    assert any("DIV" in bucket for bucket in asked)  # two threads ask, in any order


def test_wide_tables(world: World) -> None:
    """More columns than a function of PostgreSQL takes arguments."""
    columns = ", ".join(f"c{n} varchar(10) CHARACTER SET ascii" for n in range(240))
    world.mysql(
        f"CREATE TABLE wide (id int PRIMARY KEY, {columns})",
        "INSERT INTO wide (id, c0, c100, c239) VALUES (1, 'a', 'b', 'c'), (2, NULL, '', 'x')",
    )
    plan = world.copied("wide")
    assert world.verify(plan).verdict == "match"
    world.postgres(f"UPDATE {plan.target.postgres} SET c100 = NULL, c101 = '' WHERE id = 2")
    assert columns_of(world.verify(plan)) == {"c100": ("", None), "c101": (None, "")}


def _by_key(differences: tuple[Difference, ...]) -> list[Difference]:
    return sorted(differences, key=lambda difference: int(next(iter(difference.key.values()))))


def _numbers(world: World, rows: int = 3000) -> TablePlan:
    """Rows 10, 20, … of a table (id, a, b)."""
    world.mysql(
        "CREATE TABLE numbers (id int PRIMARY KEY, a int NOT NULL, b varchar(20) NOT NULL)",
        "INSERT INTO numbers VALUES "
        + ",".join(f"({10 * n}, {n}, 'text {n}')" for n in range(1, rows + 1)),
    )
    return world.copied("numbers")


def test_missing_extra_and_swapped_rows(world: World) -> None:
    plan = _numbers(world)
    table = plan.target.postgres
    world.postgres(
        f"DELETE FROM {table} WHERE id IN (10, 15000, 30000)",
        f"INSERT INTO {table} VALUES (5, 1, 'before'), (15005, 1, 'between'), (99999, 1, 'after')",
        # Two changes of opposite sign in one column, and two rows that change places.
        f"UPDATE {table} SET a = a + 1 WHERE id = 500",
        f"UPDATE {table} SET a = a - 1 WHERE id = 510",
        f"UPDATE {table} t SET a = o.a, b = o.b FROM {table} o"
        " WHERE (t.id, o.id) IN ((2000, 2010), (2010, 2000))",
    )
    verdict = world.verify(plan)
    assert verdict.verdict == "mismatch"
    assert keys_of(verdict, "missing") == [("10",), ("15000",), ("30000",)]
    assert keys_of(verdict, "extra") == [("15005",), ("5",), ("99999",)]
    assert keys_of(verdict, "differs") == [("2000",), ("2010",), ("500",), ("510",)]
    assert (verdict.source_rows, verdict.target_rows, verdict.differing) == (3000, 3000, 10)


def test_counts_sees_rows_and_not_their_values(world: World) -> None:
    plan = _numbers(world, 100)
    table = plan.target.postgres
    world.postgres(f"UPDATE {table} SET a = 0")
    assert world.verify(plan, "counts").verdict == "match"
    world.postgres(
        f"DELETE FROM {table} WHERE id = 500", f"INSERT INTO {table} VALUES (505, 1, '')"
    )
    verdict = world.verify(plan, "counts")
    assert (verdict.verdict, verdict.differing) in (("match", 0), ("mismatch", 2))
    world.postgres(f"DELETE FROM {table} WHERE id = 600")
    verdict = world.verify(plan, "counts")
    assert verdict.verdict == "mismatch"
    assert ("600",) in keys_of(verdict, "missing")


def test_an_empty_target_and_an_empty_source(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "MOST_SUSPECTS", 1000)
    monkeypatch.setattr(found, "KEPT_DIFFERENCES", 500)
    plan = _numbers(world, 3000)
    table = plan.target.postgres
    world.postgres(f"CREATE TABLE kept AS SELECT * FROM {table}", f"TRUNCATE {table}")
    verdict = world.verify(plan)
    assert (verdict.verdict, verdict.differing) == ("mismatch", 3000)
    assert len(verdict.differences) == 500
    world.postgres(f"INSERT INTO {table} SELECT * FROM kept")
    world.mysql("DELETE FROM numbers")
    verdict = world.verify(plan)
    assert (verdict.verdict, verdict.differing) == ("mismatch", 3000)
    assert {d.kind for d in verdict.differences} == {"extra"}
    world.postgres(f"TRUNCATE {table}")
    assert world.verify(plan).verdict == "match"


class Cancelling(Pace):
    """The target's first sum is cancelled, as an operator or a limit would cancel it."""

    statement_seconds = 600.0  # so that ranges are read in buckets

    def __init__(self, world: World, plan: TablePlan) -> None:
        self._admin, self._blocker = world.target(), world.target()
        self._lock = f"LOCK TABLE {plan.target.postgres} IN ACCESS EXCLUSIVE MODE"
        self._thread = threading.Thread(target=self._cancel)
        self._first = threading.Lock()
        self.cancelled = False

    def wait(self, halted: Callable[[], bool]) -> None:
        with self._first:
            if self._thread.ident is None:
                self._blocker.execute("BEGIN")
                self._blocker.execute(self._lock.encode())
                self._thread.start()

    def _cancel(self) -> None:
        """Lets the lock go when the statement that waited for it has ended."""
        with self._admin, self._blocker:
            waiting = self._until_blocked()
            self.cancelled = bool(waiting)
            if waiting:
                self._admin.execute("SELECT pg_cancel_backend(%s)", waiting[0][:1])
            deadline = time.monotonic() + 60
            while waiting and waiting[0] in self._blocked() and time.monotonic() < deadline:
                time.sleep(0.01)

    def _until_blocked(self) -> list[tuple[object, ...]]:
        deadline = time.monotonic() + 60
        while not (found := self._blocked()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def _blocked(self) -> list[tuple[object, ...]]:
        return self._admin.execute(
            "SELECT pid, query_start FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchall()

    def close(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()


@pytest.mark.parametrize(
    ("key", "gone", "extra"),
    [
        ("bigint", "TRUE", 3000),
        ("bigint", "id < 20000", 1999),  # in buckets that the source has no rows in
        ("varchar(20) COLLATE utf8mb4_bin", "TRUE", 3000),
    ],
)
def test_a_sum_that_was_cancelled_is_no_empty_one(
    world: World, key: str, gone: str, extra: int
) -> None:
    rows = ",".join(f"({n * 10}, {n})" for n in range(1, 3001))
    world.mysql(
        f"CREATE TABLE numbers (id {key} PRIMARY KEY, a int)", f"INSERT INTO numbers VALUES {rows}"
    )
    plan = world.copied("numbers")
    world.mysql(f"DELETE FROM numbers WHERE {gone}")
    result, subject = found.Found(plan), Subject.of(plan, plan.target, "values")
    pace = Cancelling(world, plan)
    with closing(world.source()) as source, closing(pace):
        walking = table.Walking(world, pace)
        table.sweep(subject, world, CurrentStream(source), result, walking=walking)
    assert pace.cancelled
    assert (result.partial, result.kinds) == ("", {"extra": extra})
    assert result.tally.rows == 3000 - extra


def test_a_column_that_differs_throughout_is_one_finding(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "MOST_SUSPECTS", 2000)
    plan = _numbers(world, 12_000)
    table = plan.target.postgres
    world.postgres(f"UPDATE {table} SET a = -a", f"UPDATE {table} SET b = 'x' WHERE id = 119990")
    verdict = world.verify(plan)
    whole = {c.name: c.whole for c in verdict.columns}
    assert whole == {"a": True, "b": False}
    # Once the column is known to differ throughout, the others are still compared.
    assert any([c.name for c in d.columns] == ["b"] for d in verdict.differences)
    assert verdict.differing < 12_000


KEYS = {
    "varchar(40) COLLATE utf8mb4_bin": "concat('key ', n)",
    "varchar(40)": "concat(if(n % 2, 'Key ', 'kEY '), char(97 + n % 26), char(65 + n % 26), n)",
    "char(36)": "concat(lower(hex(n * 7919)), '-', lower(hex(n)))",
    "varchar(30) CHARACTER SET latin1": "concat(char(192 + n % 60 using latin1), n)",
    "binary(16)": "unhex(substr(sha2(n, 256), 1, 32))",
    "varbinary(60)": "unhex(concat(hex(n * 7919), 'ff00'))",
    "decimal(12,3)": "n * 1.001 - 2000",
    "datetime(3)": "'2024-01-01' + interval n minute",
    "timestamp": "'2024-01-01' + interval n minute",
    "date": "'1990-01-01' + interval n day",
    "time(1)": "sec_to_time(n * 31 - 40000)",
    "bigint unsigned": "cast(n as unsigned) * 6000000000000000",
    "bigint": "(n - 1500) * 4000000000000000",
    "smallint": "n - 1500",
    "double": "n / 7 - 100",
    "enum('a','b')": "n",
}
"""Types of keys with an expression over the numbers from 1 to 3000."""


def test_any_key(world: World) -> None:
    world.mysql(
        "CREATE TABLE seq (n int PRIMARY KEY)",
        "INSERT INTO seq VALUES " + ",".join(f"({n})" for n in range(1, 3001)),
    )
    for place, (key, values) in enumerate(KEYS.items()):
        _check_key(world, f"keyed_{place}", key, values, 2 if "enum" in key else 3000)


def _check_key(world: World, table: str, key: str, values: str, rows: int) -> None:
    world.mysql(
        f"CREATE TABLE {table} (k {key} NOT NULL PRIMARY KEY, n int NOT NULL)"
        " CHARACTER SET utf8mb4",
        f"INSERT INTO {table} SELECT {values}, n FROM seq WHERE n <= {rows}",
    )
    plan = world.copied(table)
    verdict = world.verify(plan)
    assert (verdict.verdict, verdict.source_rows, verdict.target_rows) == ("match", rows, rows), key
    target = plan.target.postgres
    if rows == 2:
        world.postgres(f"UPDATE {target} SET n = 0 WHERE n = 2")
        assert columns_of_differing(world.verify(plan).differences) == [("n", "2", "0")]
        return
    world.postgres(
        f"UPDATE {target} SET n = 0 WHERE n = 77",
        f"DELETE FROM {target} WHERE n IN (1, 1500, 3000)",
    )
    world.mysql(f"DELETE FROM {table} WHERE n IN (2, 1501, 2999)")
    verdict = world.verify(plan)
    assert verdict.verdict == "mismatch", key
    assert len(keys_of(verdict, "missing")) == 3, key
    assert len(keys_of(verdict, "extra")) == 3, key
    assert columns_of_differing(verdict.differences) == [("n", "77", "0")], key
    assert (verdict.source_rows, verdict.target_rows) == (2997, 2997), key


def columns_of_differing(
    differences: tuple[Difference, ...],
) -> list[tuple[str, str | None, str | None]]:
    return [
        (c.name, c.source, c.target) for d in differences if d.kind == "differs" for c in d.columns
    ]


def test_composite_keys(world: World) -> None:
    world.mysql(
        "CREATE TABLE order_lines (tenant int, sku varchar(20), day date, n int,"
        " PRIMARY KEY (tenant, sku, day))",
        "CREATE TABLE seq (n int PRIMARY KEY)",
        "INSERT INTO seq VALUES " + ",".join(f"({n})" for n in range(1, 3001)),
        "INSERT INTO order_lines SELECT n % 3, concat('Sku', n DIV 10),"
        " '2024-01-01' + interval n % 10 day, n FROM seq",
    )
    plan = world.copied("order_lines")
    assert world.verify(plan).verdict == "match"
    table = plan.target.postgres
    world.postgres(
        f"DELETE FROM {table} WHERE n = 1234",
        f"INSERT INTO {table} VALUES (1, 'sku7', '2024-01-01', 5)",
        f"UPDATE {table} SET n = NULL WHERE n = 2345",
    )
    verdict = world.verify(plan)
    assert keys_of(verdict, "missing") == [("1", "Sku123", "2024-01-05")]
    assert keys_of(verdict, "extra") == [("1", "sku7", "2024-01-01")]
    assert keys_of(verdict, "differs") == [("2", "Sku234", "2024-01-06")]


def test_keys_that_differ_in_case_or_spaces_only(world: World) -> None:
    world.mysql(
        "CREATE TABLE names (name varchar(30) PRIMARY KEY, n int)",
        "INSERT INTO names VALUES ('Anna', 1), ('bert', 2), ('Cäsar', 3), ('dora ', 4)",
    )
    plan = world.copied("names")
    assert world.verify(plan).verdict == "match"
    table = plan.target.postgres
    world.postgres(
        f"UPDATE {table} SET name = 'anna' WHERE n = 1",
        f"UPDATE {table} SET name = 'Cäsar ' WHERE n = 3",
        f"UPDATE {table} SET name = 'dora' WHERE n = 4",
    )
    verdict = world.verify(plan)
    assert keys_of(verdict, "missing") == [("Anna",), ("Cäsar",), ("dora ",)]
    assert keys_of(verdict, "extra") == [("Cäsar ",), ("anna",), ("dora",)]


def test_tables_without_a_key_are_multisets(world: World) -> None:
    world.mysql(
        "CREATE TABLE log (a int, b varchar(20))",
        "INSERT INTO log VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL), (2, NULL), (3, ''),"
        " (NULL, NULL)",
    )
    plan = world.copied("log", lambda mapping: mapping)
    assert plan.key == 0
    verdict = world.verify(plan)
    assert (verdict.verdict, verdict.source_rows, verdict.target_rows) == ("match", 7, 7)
    table = plan.target.postgres
    world.postgres(
        f"DELETE FROM {table} WHERE ctid = (SELECT max(ctid) FROM {table} WHERE a = 1)",
        f"UPDATE {table} SET b = '' WHERE ctid = (SELECT min(ctid) FROM {table} WHERE a = 2)",
    )
    verdict = world.verify(plan)
    assert verdict.verdict == "mismatch"
    rows = sorted(
        (d.kind, d.rows, *((c.source if d.kind == "missing" else c.target) for c in d.columns))
        for d in verdict.differences
    )
    assert rows == [("extra", 1, "2", ""), ("missing", 1, "1", "x"), ("missing", 1, "2", None)]
    assert (verdict.source_rows, verdict.target_rows, verdict.differing) == (7, 6, 3)


def test_rows_that_the_filter_leaves_out_are_extra_in_the_target(world: World) -> None:
    world.mysql(
        "CREATE TABLE tenants (id int PRIMARY KEY, tenant int NOT NULL)",
        "INSERT INTO tenants VALUES (1, 0), (2, 1), (3, 0), (4, 2)",
    )
    plan = world.copied("tenants", lambda mapping: replace(mapping, where="tenant <> 0"))
    verdict = world.verify(plan)
    assert (verdict.verdict, verdict.source_rows) == ("match", 2)
    world.postgres(f"INSERT INTO {plan.target.postgres} VALUES (1, 0)")
    assert keys_of(world.verify(plan), "extra") == [("1",)]


def test_masked_values_are_never_printed(world: World) -> None:
    world.mysql(
        "CREATE TABLE cards (id int PRIMARY KEY, number varchar(20), name varchar(20))",
        "INSERT INTO cards VALUES (1, '4111', 'a'), (2, '4222', 'b')",
    )

    def mask(mapping: TableMapping) -> TableMapping:
        columns = tuple(replace(c, mask=c.source in ("number", "id")) for c in mapping.columns)
        return replace(mapping, columns=columns)

    plan = world.copied("cards", mask)
    world.postgres(f"UPDATE {plan.target.postgres} SET number = '4999' WHERE id = 1")
    (difference,) = world.verify(plan).differences
    assert difference.key == {"id": "•••"}
    assert [(c.name, c.source, c.target) for c in difference.columns] == [("number", "•••", "•••")]


def test_quarantined_rows_are_no_surprise_and_no_match(world: World) -> None:
    plan = _numbers(world, 50)
    world.postgres(f"DELETE FROM {plan.target.postgres} WHERE id IN (10, 20)")
    world.mysql("UPDATE numbers SET b = '\\0' WHERE id IN (10, 20)")
    stream = _stream(world)
    stream.kept_out = [Quarantined(b"10", "nul-character", "b")]
    stream.given_up = {b"20": Discarded("nul-character", "test data")}
    verdict = world.verify(plan, stream=stream)
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == "1 rows are in quarantine"
    assert keys_of(verdict, "quarantined") == [("10",)]
    assert (verdict.source_rows, verdict.target_rows, verdict.discarded) == (50, 48, 1)
    stream.kept_out = []
    stream.given_up |= {b"10": Discarded("nul-character", "test data")}
    verdict = world.verify(plan, stream=stream)
    assert verdict.verdict == "match"
    assert [(e.reason, e.rows) for e in verdict.equivalences] == [
        ("discarded by an operator: test data", 2)
    ]
    assert (verdict.source_rows, verdict.target_rows, verdict.discarded) == (50, 48, 2)
    # What the source has mended is not given up any more; of a row that the target refused for
    # reasons of its own nobody can tell.
    stream.given_up |= {b"10": Discarded("refused-23514", "test data")}
    world.mysql("UPDATE numbers SET b = 'mended' WHERE id IN (10, 20)")
    verdict = world.verify(plan, stream=stream)
    assert (verdict.verdict, verdict.discarded) == ("mismatch", 1)
    assert keys_of(verdict, "missing") == [("20",)]


def test_a_table_that_stands_still_is_inconclusive_at_once(world: World) -> None:
    plan = _numbers(world, 10)
    still = StandingStill(Standing(None, "paused", "dbbridge tables resume numbers"))
    verdict = world.verify(plan, stream=still)
    assert (verdict.verdict, verdict.reason) == ("inconclusive", "paused")
    assert verdict.hint == "dbbridge tables resume numbers"


def test_a_stream_that_stays_behind_proves_nothing(world: World) -> None:
    plan = _numbers(world, 10)
    world.postgres(f"UPDATE {plan.target.postgres} SET a = 5000 WHERE id = 10")
    behind = StandingStill(
        Standing(Position.at("none.000001", 4), "no sync is running", "dbbridge sync")
    )
    verdict = world.verify(plan, stream=behind)
    assert (verdict.verdict, verdict.hint) == ("inconclusive", "dbbridge sync")
    assert keys_of(verdict, "in-flight") == [("10",)]


def test_documents_are_equal_by_value(world: World) -> None:
    world.mysql(
        "CREATE TABLE documents (id int PRIMARY KEY, j json)",
        """INSERT INTO documents VALUES (1, '{"a": 1e30, "b": [1,2]}'), (2, '{"x":   -1.5e-7}'),
           (3, '[]'), (4, '{"z": 1, "aa": 2}')""",
    )
    plan = world.copied("documents", retyped(j="jsonb"))
    assert world.verify(plan).verdict == "match"
    world.postgres(f"""UPDATE {plan.target.postgres} SET j = '{{"x": -1.6e-7}}' WHERE id = 2""")
    verdict = world.verify(plan)
    assert verdict.verdict == "mismatch"
    assert keys_of(verdict, "differs") == [("2",)]


def test_one_character_in_a_large_text(world: World) -> None:
    world.mysql(
        "CREATE TABLE texts (id int PRIMARY KEY, t mediumtext, j json)",
        "INSERT INTO texts VALUES"
        """ (1, repeat('0123456789', 100000), concat('["', repeat('a', 50000), '"]'))""",
    )
    plan = world.copied("texts")
    assert world.verify(plan).verdict == "match"
    world.postgres(f"UPDATE {plan.target.postgres} SET t = overlay(t placing 'X' from 700001)")
    columns = columns_of(world.verify(plan))
    assert set(columns) == {"t"}
    assert all(text is not None and len(text) <= 202 for text in columns["t"])


def test_a_table_that_is_gone_is_inconclusive(world: World) -> None:
    plan = _numbers(world, 10)
    world.postgres(f"DROP TABLE {plan.target.postgres}")
    verdict = world.verify(plan)
    assert verdict.verdict == "inconclusive"
    assert "does not exist" in verdict.reason


def _stream(world: World) -> CurrentStream:
    return CurrentStream(world.source())
