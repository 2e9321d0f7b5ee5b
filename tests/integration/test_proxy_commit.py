"""A commit whose answer is lost: a key finds what was answered, and nothing is done twice."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pymysql
import pytest
from sqlalchemy import create_engine

from bridge.capture.catalog import read_catalog
from bridge.dualwrite.http.answers import Once
from bridge.dualwrite.http.models import Insert
from bridge.dualwrite.http.problems import Problem
from bridge.dualwrite.http.tables import Tables
from bridge.dualwrite.http.writes import Writes
from bridge.dualwrite.layer import DualWrite, Sides
from bridge.mapping.compile import compile_table
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.replicate.ops import definitions
from tests.fix_servers import SourceDatabase, TargetDatabase


@pytest.mark.parametrize("once", [None, Once.of("caller", "key", "asked")])
def test_a_lost_answer(
    source_db: SourceDatabase, target_db: TargetDatabase, once: Once | None
) -> None:
    name = TableName(source_db.name, "t")
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, n int)")
        for statement in definitions(source_db.name).values():
            cursor.execute(statement)
        table = read_catalog(conn, source_db.name, {"t"})[name]
    plans = {name: compile_table(propose_table(table, (), target=TableName("public", "t")), table)}
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
    assert lost
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM t")
        assert cursor.fetchone() == (1,)
    dual.close()
    source.dispose()
    target.dispose()
