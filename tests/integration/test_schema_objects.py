"""Steps that bring a target to its plans, and refusals where something else is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pymysql.cursors import Cursor

from bridge.capture.catalog import read_catalog
from bridge.errors import ServerRefused
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.mapping.propose import propose_table
from bridge.sink.constraints import constraints
from bridge.sink.existing import normal_type
from bridge.sink.objects import (
    PHASES,
    Phase,
    Step,
    TargetDiffers,
    apply_steps,
    plan_hash,
    plan_schema,
)

if TYPE_CHECKING:
    import pymysql

    Source = pymysql.Connection[Cursor]
    Target = psycopg.Connection[Any]

SHOP = (
    (
        "CREATE TABLE customers (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        " email varchar(100) NOT NULL, doc json, made datetime(3) NOT NULL"
        " DEFAULT CURRENT_TIMESTAMP(3), changed timestamp(2) NULL ON UPDATE CURRENT_TIMESTAMP(2),"
        " UNIQUE KEY email (email)) COMMENT 'who buys'"
    ),
    (
        "CREATE TABLE orders (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, customer bigint unsigned,"
        " parent int, amount decimal(10,2) NOT NULL, amounts decimal(20,2) GENERATED ALWAYS AS"
        " (amount + 1) STORED, bits bit(3), t time, flags set('a','b'), touched datetime"
        " ON UPDATE CURRENT_TIMESTAMP, KEY customer (customer), KEY amounts (amounts),"
        " CONSTRAINT positive CHECK (amount >= 0),"
        " CONSTRAINT to_customer FOREIGN KEY (customer) REFERENCES customers (id) "
        " ON DELETE CASCADE,"
        " CONSTRAINT to_order FOREIGN KEY (parent) REFERENCES orders (id))"
    ),
)


@pytest.fixture
def conn(source_db: Any) -> Iterator[Source]:
    with source_db.connect() as connection:
        yield connection


@pytest.fixture
def target(target_db: Any) -> Iterator[Target]:
    with target_db.connect() as connection:
        yield connection


def plans(conn: Source, source_db: Any, *statements: str) -> list[TablePlan]:
    with conn.cursor(Cursor) as cursor:
        for statement in statements:
            cursor.execute(statement)
    return [
        compile_table(propose_table(table, ()), table)
        for table in read_catalog(conn, source_db.name).values()
    ]


def apply(target: Target, made: list[TablePlan], phase: Phase = "tables") -> list[Step]:
    steps = plan_schema(target, made, phase)
    done: list[Step] = []
    apply_steps(target, steps, done.append)
    assert done == steps
    return steps


def test_applying_twice_does_nothing_the_second_time(
    conn: Source, source_db: Any, target: Target
) -> None:
    made = plans(conn, source_db, *SHOP)
    name = source_db.name
    assert [step.name for step in apply(target, made)] == [
        f"schema {name}",
        f"table {name}.customers",
        f"table {name}.orders",
    ]
    assert [step.name for step in apply(target, made, "indexes")] == [
        "index customers_email",
        "index orders_amounts",
        "index orders_customer",
        "index orders_to_order",
    ]
    assert [step.name for step in apply(target, made, "constraints")] == [
        f"trigger customers_on_update of {name}.customers",
        f"check positive of {name}.orders",
        f"trigger orders_on_update of {name}.orders",
        f"foreign key to_customer of {name}.orders",
        f"foreign key to_order of {name}.orders",
        f"validate check positive of {name}.orders",
        f"validate foreign key to_customer of {name}.orders",
        f"validate foreign key to_order of {name}.orders",
    ]
    for phase in PHASES:
        assert plan_schema(target, made, phase) == []


def test_the_hash_is_of_the_steps(conn: Source, source_db: Any, target: Target) -> None:
    made = plans(conn, source_db, *SHOP)
    steps = plan_schema(target, made)
    assert plan_hash(steps) == plan_hash(plan_schema(target, made[::-1]))
    assert plan_hash(steps) != plan_hash(steps[1:])
    apply_steps(target, steps[:2])
    assert plan_schema(target, made) == steps[2:]


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ("ALTER COLUMN customer TYPE bigint", "customer", "it is bigint"),
        ("DROP COLUMN parent", "parent", "no such column"),
        ("ALTER COLUMN parent SET NOT NULL", "parent", "NOT NULL in the target"),
        ("ADD COLUMN more int NOT NULL", "more", "requires a value"),
        ("DROP CONSTRAINT orders_pkey", "", "no unique index"),
        ("ALTER COLUMN amounts DROP EXPRESSION", "amounts", "not computed"),
    ],
)
def test_another_shape_is_refused(
    conn: Source, source_db: Any, target: Target, change: str, column: str, message: str
) -> None:
    made = plans(conn, source_db, *SHOP)
    apply(target, made)
    orders = made[1].target
    target.execute(f"ALTER TABLE {orders.postgres} {change}".encode())
    for phase in PHASES:
        with pytest.raises(TargetDiffers) as raised:
            plan_schema(target, made, phase)
        (one,) = raised.value.findings
        assert (one.code, one.table, one.column) == ("T030", str(orders), column)
        assert message in one.message


def test_what_harms_no_row_is_accepted(conn: Source, source_db: Any, target: Target) -> None:
    made = plans(conn, source_db, *SHOP)
    apply(target, made)
    orders = made[1].target.postgres
    for change in (
        "ALTER COLUMN amount DROP NOT NULL",
        "ADD COLUMN more int",
        "ADD COLUMN filled int NOT NULL DEFAULT 5",
    ):
        target.execute(f"ALTER TABLE {orders} {change}".encode())
    target.execute(f"CREATE INDEX mine ON {orders} (customer)".encode())
    assert plan_schema(target, made) == []
    assert "index orders_customer" not in {s.name for s in plan_schema(target, made, "indexes")}


def test_a_view_of_that_name_is_refused(conn: Source, source_db: Any, target: Target) -> None:
    made = plans(conn, source_db, *SHOP)
    target.execute(f'CREATE SCHEMA "{source_db.name}"'.encode())
    target.execute(f"CREATE VIEW {made[0].target.postgres} AS SELECT 1 AS id".encode())
    with pytest.raises(TargetDiffers, match="no table"):
        plan_schema(target, made)


def test_indexes_need_tables(conn: Source, source_db: Any, target: Target) -> None:
    made = plans(conn, source_db, *SHOP)
    with pytest.raises(TargetDiffers, match="no such table"):
        plan_schema(target, made, "indexes")


def test_a_step_that_fails_names_itself(conn: Source, source_db: Any, target: Target) -> None:
    made = plans(conn, source_db, *SHOP)
    apply(target, made)
    customers = made[0].target.postgres
    for number in (1, 2):
        insert = f"INSERT INTO {customers} (id, email) VALUES ({number}, 'same')"
        target.execute(insert.encode())
    with pytest.raises(ServerRefused, match=r"index customers_email: .*unique"):
        apply(target, made, "indexes")


def test_triggers_act_once_they_are_enabled(conn: Source, source_db: Any, target: Target) -> None:
    made = plans(conn, source_db, *SHOP)
    for phase in PHASES:
        apply(target, made, phase)
    orders = made[1].target.postgres
    target.execute(f"INSERT INTO {orders} (id, amount) VALUES (1, 5)".encode())

    def touched(change: str) -> Any:
        query = f"UPDATE {orders} SET {change} WHERE id = 1 RETURNING touched"
        row = target.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    assert touched("amount = 6") is None
    target.execute(f"ALTER TABLE {orders} ENABLE TRIGGER ALL".encode())
    assert touched("amount = 6") is None
    first = touched("amount = 7")
    assert first is not None
    assert first.microsecond == 0
    assert str(touched("touched = '2000-01-01', amount = 8")) == "2000-01-01 00:00:00"
    customers = made[0].target.postgres
    target.execute(f"ALTER TABLE {customers} ENABLE TRIGGER ALL".encode())
    target.execute(f"INSERT INTO {customers} (id, email, doc) VALUES (1, 'a', '{{}}')".encode())
    row = target.execute(
        f"UPDATE {customers} SET email = 'b' RETURNING changed".encode()
    ).fetchone()
    assert row is not None
    assert row[0] is not None


def test_foreign_keys_without_an_equal_are_told(conn: Source, source_db: Any) -> None:
    made = plans(
        conn,
        source_db,
        "CREATE TABLE p (id int PRIMARY KEY, code varchar(9), big int unsigned, KEY code (code))",
        "CREATE TABLE c (id int PRIMARY KEY, p int, code varchar(9), CONSTRAINT f1 FOREIGN KEY (p)"
        " REFERENCES p (id))",
    )
    child = next(plan for plan in made if plan.target.table == "c")
    kept, lost = constraints([child])
    assert kept == []
    assert [(loss.code, "not among the tables" in loss.message) for _, loss in lost] == [
        ("T022", True)
    ]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("character varying(9)", "varchar(9)"),
        ("character(3)", "char(3)"),
        ("timestamp(3) without time zone", "timestamp(3)"),
        ("timestamp without time zone", "timestamp(6)"),
        ("timestamp with time zone", "timestamptz(6)"),
        ("timestamptz", "timestamptz(6)"),
        ("time(2) without time zone", "time(2)"),
        ("numeric(20, 0)", "numeric(20,0)"),
        ("text[]", "text[]"),
        ("bit", "bit(1)"),
        ("bit(3)", "bit(3)"),
        ("double precision", "double precision"),
        ("interval", "interval"),
        ("public.citext", "citext"),
    ],
)
def test_types_in_one_notation(text: str, normal: str) -> None:
    assert normal_type(text) == normal
