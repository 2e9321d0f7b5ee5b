"""Commits that fail: an answer that is lost, an epoch that changed; nothing is done twice."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pymysql
import pytest
from sqlalchemy import create_engine

from bridge.capture.catalog import read_catalog
from bridge.dualwrite.http.answers import Once
from bridge.dualwrite.http.models import Insert
from bridge.dualwrite.http.problems import Problem, problem_of
from bridge.dualwrite.http.tables import Tables
from bridge.dualwrite.http.writes import Writes
from bridge.dualwrite.layer import DualWrite, Sides
from bridge.errors import BridgeError
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.replicate.ops import definitions
from tests.fix_servers import SourceDatabase, TargetDatabase


@pytest.mark.parametrize("once", [None, Once.of("caller", "key", "asked")])
def test_a_lost_answer(
    source_db: SourceDatabase, target_db: TargetDatabase, once: Once | None
) -> None:
    plans = made(source_db)
    lost: list[int] = []

    def connect() -> Any:
        conn = source_db.connect(autocommit=False)
        commit = conn.commit

        def committed() -> None:
            commit()
            if not lost:
                lost.append(1)
                conn.close()
                raise pymysql.err.OperationalError(2013, "Lost connection during query")

        vars(conn)["commit"] = committed
        return conn

    source = create_engine("mysql+pymysql://", creator=connect)
    target = create_engine("postgresql+psycopg://", creator=target_db.connect)
    source.connect().close()  # the dialect looks around, and commits nothing
    sides = Sides("p", source_db.name, source_db.connect, target_db.connect)
    dual = DualWrite(sides, plans, source, target)
    writes = Writes(dual, Tables(plans, source_db.name))
    insert = [Insert(do="insert", table="t", values={"n": 1})]
    if once is None:
        with pytest.raises(Problem) as unknown:
            writes.run(insert, None)
        assert (unknown.value.status, unknown.value.code) == (503, "commit-unknown")
    else:
        outcome = writes.run(insert, once)
        assert outcome.repeated and b'"id":1' in outcome.results
    assert lost and rows(source_db) == 1
    dual.close()
    source.dispose()
    target.dispose()


def test_an_epoch_that_changed(source_db: SourceDatabase, target_db: TargetDatabase) -> None:
    plans = made(source_db)
    source = create_engine("mysql+pymysql://", creator=lambda: source_db.connect(autocommit=False))
    target = create_engine("postgresql+psycopg://", creator=target_db.connect)
    sides = Sides("p", source_db.name, source_db.connect, target_db.connect)
    dual = DualWrite(sides, plans, source, target)
    writes = Writes(dual, Tables(plans, source_db.name))
    insert = [Insert(do="insert", table="t", values={"n": 1})]
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO _bridge_authority VALUES ('t', 'p', 1, 'source', 'cdc', 0)")
        assert writes.run(insert, None).after
        cursor.execute("UPDATE _bridge_authority SET epoch = epoch + 1")
        assert writes.run(insert, None).after
        cursor.execute("UPDATE _bridge_authority SET epoch = epoch + 1, authority = 'closed'")
        with pytest.raises(BridgeError) as closed:
            writes.run(insert, None)
        problem = problem_of(closed.value)
        assert problem and (problem.status, problem.code, problem.again) == (503, "closed", 1)
    assert rows(source_db) == 2
    dual.close()
    source.dispose()
    target.dispose()


def made(source_db: SourceDatabase) -> dict[TableName, TablePlan]:
    """A table, and those of the layer."""
    name = TableName(source_db.name, "t")
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, n int)")
        for statement in definitions(source_db.name).values():
            cursor.execute(statement)
        table = read_catalog(conn, source_db.name, {"t"})[name]
    return {name: compile_table(propose_table(table, (), target=TableName("public", "t")), table)}


def rows(source_db: SourceDatabase) -> int:
    """How many there are."""
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        row: Any = cursor.fetchone()
        return int(row[0])
