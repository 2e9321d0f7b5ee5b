"""verify on tables that nobody writes: every planted difference is found, and nothing else."""

from __future__ import annotations

import pytest

from bridge.change.position import Position
from bridge.mapping.plan import TablePlan
from bridge.names import quote_postgres
from bridge.report.verification import Difference
from bridge.verify.applied import Quarantined
from bridge.verify.recheck import Standing
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.verifying import StandingStill, World, columns_of, keys_of, retyped

TYPES = """
CREATE TABLE every (
    id bigint unsigned NOT NULL PRIMARY KEY,
    ti tinyint, tu tinyint unsigned, si smallint, mi mediumint, i int, iu int unsigned, b bigint,
    bu bigint unsigned, flag tinyint(1), dec_a decimal(12,2), dec_b decimal(65,30), f float, d double,
    bits bit(12), y year,
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
        verdict = world.verify(plan, level)  # type: ignore[arg-type]
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
        world.postgres(
            f"UPDATE {table} SET {quote_postgres(column)} = NULL WHERE id = {number}"
        )
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


def _by_key(differences: tuple[Difference, ...]) -> list[Difference]:
    return sorted(differences, key=lambda difference: int(next(iter(difference.key.values()))))
