"""What counts as a write, and which rows it touched, on a source as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    Column,
    Executable,
    Integer,
    MetaData,
    Table,
    delete,
    insert,
    literal_column,
    text,
    update,
)
from sqlalchemy.schema import CreateTable

from bridge.dualwrite.recorder import NotCarried, operation_of
from bridge.names import TableName
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.layered import Layered, layered

ROWS = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer))
OTHER = Table("u", MetaData(), Column("id", Integer, primary_key=True))
TEMPORARY = Table("v", MetaData(), Column("id", Integer), prefixes=["TEMPORARY"])
WRITES = (
    "UPDATE t SET n = n + 1",
    "# who asked\n UPDATE t SET n = n + 1",
    "-- who asked\n UPDATE t SET n = n + 1",
    "/* who asked */ UPDATE t SET n = n + 1",
    "/*!50000 UPDATE t SET n = n + 1 */",
    "EXECUTE prepared",
)
OF_MYSQL = ("WITH c AS (SELECT 1 AS x) UPDATE t, c SET n = n + x",)
OF_MARIADB = (
    "ANALYZE UPDATE t SET n = n + 1",
    "EXECUTE IMMEDIATE 'UPDATE t SET n = n + 1'",
    "SET STATEMENT max_statement_time = 9 FOR UPDATE t SET n = n + 1",
    "BEGIN NOT ATOMIC UPDATE t SET n = n + 1; END",
)
READS = (
    "SELECT n FROM t",
    "(SELECT n FROM t) UNION (SELECT 2)",
    "# who asked\n SELECT n FROM t FOR UPDATE",
    "SHOW TABLES",
    "SET @x = 1",
    "EXPLAIN SELECT n FROM t",
    "WITH c AS (SELECT 1 AS x) SELECT x FROM c",
)
ENDS = (
    "TRUNCATE u",
    "CREATE TABLE w (i int)",
    "COMMIT",
    "START TRANSACTION",
    "# who asked\n LOCK TABLES u READ",
    "SET autocommit = 1",
    "ANALYZE TABLE u",
)


@pytest.fixture
def found(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Layered]:
    tables = (f"CREATE TABLE {name} (id int PRIMARY KEY, n int)" for name in "tu")
    with layered(source_db, target_db, *tables) as found:
        found.authority("t", "source", 1)
        found.authority("u", "source", 1)
        found.on_source("INSERT INTO t VALUES (1, 0), (2, 0)", "INSERT INTO u VALUES (1, 0)")
        yield found


def test_text_that_may_write_is_held(found: Layered) -> None:
    of_it = OF_MARIADB if found.source_db.server.kind == "mariadb" else OF_MYSQL
    for number, statement in enumerate((*WRITES, *of_it), 1):
        with found.dual.source.connect() as conn:
            conn.exec_driver_sql("SET @made = 'UPDATE t SET n = n + 1'")
            if statement == "EXECUTE prepared":
                conn.exec_driver_sql("PREPARE prepared FROM @made")
                conn.rollback()
            conn.exec_driver_sql(statement)
            conn.commit()
        assert found.count("_bridge_op") == number, statement
        assert found.count(f"t WHERE n = {number}") == 2, statement
    for statement in READS:
        with found.dual.source.begin() as conn:
            conn.execute(text(statement)).close()
    assert found.count("_bridge_op") == len(WRITES) + len(of_it)


def test_nothing_is_committed_past_the_look_at_the_epoch(found: Layered) -> None:
    statements: list[Executable] = [*map(text, ENDS), CreateTable(OTHER, if_not_exists=True)]
    for number, statement in enumerate(statements, 10):
        with found.dual.source.connect() as conn:
            conn.execute(insert(ROWS).values(id=number))
            with pytest.raises(NotCarried, match="ends the transaction"):
                conn.execute(statement)
            conn.rollback()
    assert (found.count("t"), found.count("u"), found.count("_bridge_op")) == (2, 1, 0)
    with found.dual.source.begin() as conn:
        conn.execute(insert(ROWS).values(id=3))
        conn.execute(CreateTable(TEMPORARY))
        conn.execute(text("DROP TEMPORARY TABLE v"))
    with found.dual.source.begin() as conn:  # alone it ends nothing
        conn.execute(text("ANALYZE TABLE u"))
    assert (found.count("t"), found.count("_bridge_op")) == (3, 1)
    with found.target_db.connect() as there:
        there.execute("CREATE TABLE t (id int, n int)")
    with found.dual.target.connect() as conn:
        conn.execute(insert(ROWS).values(id=4))
        with pytest.raises(NotCarried, match="ends the transaction"):
            conn.execute(text("COMMIT"))
        conn.rollback()
    with found.target_db.connect() as there:
        assert there.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_only_rows_that_are_there_are_touched(found: Layered) -> None:
    name = TableName(found.source_db.name, "t")
    with found.dual.source.connect() as conn:
        for statement, touched in (
            (update(ROWS).where(ROWS.c.id == 77).values(n=1), set()),
            (delete(ROWS).where(ROWS.c.id == 78), set()),
            (update(ROWS).where(ROWS.c.id == 1).values(n=1), {b"1"}),
            (delete(ROWS).where(ROWS.c.n == literal_column("0"), ROWS.c.id > 1), {b"1", b"2"}),
        ):
            conn.execute(statement)
            operation = operation_of(conn)
            assert operation is not None and operation.touched.get(name, set()) == touched
            assert operation.tables == {name} and not operation.unknown
        conn.rollback()
