"""Findings about servers, rights, schemas and targets, from real ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql
import pytest
from psycopg import sql
from pymysql.cursors import Cursor

from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import lower_bound, oldest_available, upper_bound
from bridge.capture.catalog import read_catalog
from bridge.capture.dialect import read_dialect
from bridge.capture.findings import (
    grant_findings,
    grant_lines,
    object_findings,
    schema_findings,
    server_findings,
)
from bridge.capture.findings.grants import quote_account
from bridge.findings import Finding
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.mapping.propose import propose_table
from bridge.sink.findings import plan_findings, target_findings
from bridge.sink.objects import apply_steps, plan_schema

if TYPE_CHECKING:
    Conn = pymysql.Connection[Cursor]

PASSWORD = "Few-rights-1"


@pytest.fixture
def conn(source_db: Any) -> Iterator[Conn]:
    with source_db.connect() as connection:
        run(connection, "SET SESSION sql_mode = ''")
        yield connection


def run(conn: Conn, statement: str) -> None:
    with conn.cursor(Cursor) as cursor:
        cursor.execute(statement)


def plans(conn: Conn, source_db: Any) -> list[TablePlan]:
    return [
        compile_table(propose_table(table, ()), table)
        for table in read_catalog(conn, source_db.name).values()
    ]


def said(findings: list[Finding]) -> set[tuple[str, str, str]]:
    return {(one.code, one.table.rpartition(".")[2], one.column) for one in findings}


def test_the_tests_own_servers_are_fit(conn: Conn) -> None:
    assert [one for one in server_findings(conn) if one.severity == "error"] == []


def test_exactly_the_printed_rights_are_enough(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES t (id))")
    run(conn, "INSERT INTO t VALUES (1, NULL)")
    account = quote_account(f"{source_db.name}@%")
    run(conn, f"CREATE USER {account} IDENTIFIED BY '{PASSWORD}'")
    try:
        with closing(login(source_db)) as few:
            found = grant_findings(few, "mysql")
            assert [one.code for one in found] == ["G001", "G002", "G003"]
            dialect = read_dialect(few)
        lines = grant_lines(dialect, account, source_db.name)
        for line in lines:
            run(conn, line)
        with closing(login(source_db)) as few:
            assert grant_findings(few, source_db.name) == []
            assert [one.code for one in grant_findings(few, "mysql")] == ["G001"]
            locked = grant_findings(few, source_db.name, lock_tables=True)
            assert [one.hint for one in locked] == [lines[0].replace("SELECT", "LOCK TABLES")]
            everything_works(few, source_db)
    finally:
        run(conn, f"DROP USER {account}")


def login(source_db: Any) -> Conn:
    server = source_db.server
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user=source_db.name,
        password=PASSWORD,
        charset="utf8mb4",
        autocommit=True,
    )


def everything_works(few: Conn, source_db: Any) -> None:
    assert len(read_catalog(few, source_db.name)) == 1
    assert not [one for one in server_findings(few) if one.severity == "error"]
    low = lower_bound(few, with_snapshot=True)
    with few.cursor(Cursor) as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {source_db.name}.t")
        assert cursor.fetchone() == (1,)
    few.rollback()
    upper_bound(few)
    assert low.covers(oldest_available(few))
    server_id = secrets.randbelow(10**6) + 10**6
    with BinlogConnection.open(lambda: login(source_db), low, server_id, 1.0) as stream:
        assert stream.read(60.0)


def test_schema_hazards(conn: Conn, source_db: Any) -> None:
    long = "ä" * 40
    parent = (
        "CREATE TABLE p (id bigint unsigned PRIMARY KEY, code varchar(9), UNIQUE KEY code (code))"
        " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    )
    child = (
        "CREATE TABLE c (id int PRIMARY KEY, p bigint unsigned, code varchar(9), body text,"
        f" `{long}` int, flag tinyint(1), g geometry, at datetime ON UPDATE CURRENT_TIMESTAMP,"
        " e enum('a?'), wide varchar(750), bin varchar(9) COLLATE utf8mb4_bin,"
        " UNIQUE KEY begin (body(9)), KEY wide (wide), UNIQUE KEY bin (bin),"
        " FULLTEXT KEY words (body), CONSTRAINT f FOREIGN KEY (p) REFERENCES p (id)"
        " ON DELETE CASCADE, CONSTRAINT g FOREIGN KEY (code) REFERENCES p (code))"
        " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    )
    for statement in (
        parent,
        child,
        "CREATE TABLE keyless (a int) PARTITION BY HASH (a) PARTITIONS 2",
        "CREATE TABLE standin (a int NOT NULL, UNIQUE KEY a (a)) ENGINE=MyISAM",
    ):
        run(conn, statement)
    dialect = read_dialect(conn)
    findings = schema_findings(read_catalog(conn, source_db.name), dialect)
    wanted = {
        ("T016", "p", "id"),
        ("T005", "p", "code"),
        ("T016", "c", "p"),
        ("T006", "c", "code"),
        ("T004", "c", long),
        ("T015", "c", "flag"),
        ("T003", "c", "g"),
        ("T014", "c", "at"),
        ("T021", "c", "e"),
        ("T007", "c", "body"),
        ("T005", "c", "body"),
        ("T008", "c", ""),
        ("T011", "c", ""),
        ("T001", "keyless", ""),
        ("T010", "keyless", ""),
        ("T001", "standin", ""),
        ("T002", "standin", ""),
    }
    if not dialect.mysql_since(9, 6, 0):
        wanted.add(("T009", "c", ""))
    assert said(findings) == wanted
    keyless = next(one for one in findings if one.code == "T001" and "keyless" in one.table)
    assert keyless.severity == ("warning" if dialect.mariadb else "error")


def test_consent_to_a_short_lock(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (a int)")
    catalog = read_catalog(conn, source_db.name)
    (one,) = schema_findings(catalog, read_dialect(conn), consented=tuple(catalog))
    assert (one.code, one.severity) == ("T001", "warning")


def test_what_is_not_moved(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY)")
    run(conn, "CREATE VIEW v AS SELECT * FROM t")
    run(conn, "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @x = 1")
    wanted = {("T013", "t", ""), ("T023", "v", "")}
    if read_dialect(conn).mariadb:
        run(conn, "CREATE SEQUENCE s")
        run(conn, "CREATE TABLE old (id int PRIMARY KEY) WITH SYSTEM VERSIONING")
        wanted |= {("T023", "s", ""), ("T023", "old", "")}
    assert said(object_findings(conn, source_db.name)) == wanted


def test_what_the_plan_loses(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, d date DEFAULT '0000-00-00', s varchar(9),"
        " CONSTRAINT c CHECK (s <> 'abc'))",
    )
    assert said(plan_findings(plans(conn, source_db))) == {("T019", "t", "d"), ("T020", "t", "")}


def test_a_fresh_target_is_fit(conn: Conn, source_db: Any, target_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY)")
    made = plans(conn, source_db)
    with target_db.connect() as target:
        assert target_findings(target, made) == []
        apply_steps(target, plan_schema(target, made))
        assert target_findings(target, made) == []


def test_exactly_the_printed_rights_are_enough_in_the_target(
    conn: Conn, source_db: Any, target_db: Any
) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY)")
    made = plans(conn, source_db)
    role = target_db.name
    with target_db.connect() as admin:
        name = sql.Identifier(role)
        login = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(PASSWORD))
        admin.execute(login)
        try:
            few = psycopg.connect(
                host=target_db.server.host,
                port=target_db.server.port,
                dbname=target_db.name,
                user=role,
                password=PASSWORD,
                autocommit=True,
            )
            with few:
                (one,) = target_findings(few, made)
                assert one.code == "G010"
                admin.execute(one.hint.encode())
                assert target_findings(few, made) == []
                apply_steps(few, plan_schema(few, made))
                assert target_findings(few, made) == []
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
            admin.execute(sql.SQL("DROP ROLE {}").format(name))


def test_rights_on_what_others_made(conn: Conn, source_db: Any, target_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY)")
    made = plans(conn, source_db)
    with target_db.connect() as admin:
        apply_steps(admin, plan_schema(admin, made))
        admin.execute("CREATE SCHEMA dbbridge")
        role = sql.Identifier(target_db.name)
        admin.execute(sql.SQL("CREATE ROLE {}").format(role))
        try:
            admin.execute(sql.SQL("SET ROLE {}").format(role))
            found = target_findings(admin, made)
            assert [one.code for one in found] == ["G011", "G011", "G012"]
            admin.execute("RESET ROLE")
            for one in found:
                admin.execute(one.hint.encode())
            admin.execute(sql.SQL("SET ROLE {}").format(role))
            assert target_findings(admin, made) == []
            admin.execute("RESET ROLE")
        finally:
            admin.execute("RESET ROLE")
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
            admin.execute(sql.SQL("DROP ROLE {}").format(role))


def test_what_acts_on_applied_rows(conn: Conn, source_db: Any, target_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, p int)")
    made = plans(conn, source_db)
    table = made[0].target.postgres
    with target_db.connect() as target:
        apply_steps(target, plan_schema(target, made))
        target.execute(f"CREATE TABLE other (t int REFERENCES {table})".encode())
        target.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES {table}".encode()
        )
        target.execute(
            b"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
        )
        make = f"CREATE TRIGGER g BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION f()"
        target.execute(make.encode())
        found = target_findings(target, made)
        assert [one.code for one in found] == ["T031", "T031", "T031"]
        for one in found[:2]:
            target.execute(one.hint.encode())
        assert len(target_findings(target, made)) == 1
