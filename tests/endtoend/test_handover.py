"""Markers in the source's log: the stream leaves tables to the target, and takes them back."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from bridge.names import TableName
from bridge.replicate.ops import definitions, marker
from bridge.reverse.position import REVERSE_TABLE
from tests.endtoend.compare import assert_same
from tests.endtoend.project import Project


def mark(cursor: Any, project: Project, stage: str, *tables: str) -> int:
    """Writes a marker; its number."""
    names = [TableName(project.source.name, table) for table in tables]
    cursor.execute(*marker(project.source.name, stage, names))
    return int(cursor.lastrowid)


def test_a_marker_ends_and_begins_a_table_exactly_there(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in definitions(project.source.name).values():
            cursor.execute(statement)
        cursor.execute(f"CREATE TABLE {REVERSE_TABLE} (grp varchar(64) PRIMARY KEY, lsn bigint)")
        cursor.execute("CREATE TABLE gone (id int PRIMARY KEY, v int)")
        cursor.execute("CREATE TABLE kept (id int PRIMARY KEY, v int)")
        project.begin()
        daemon = project.sync()
        project.wait_streaming(daemon)
        conn.autocommit(False)
        for n in range(200):
            cursor.execute("INSERT INTO gone VALUES (%s, 0)", (n,))
            conn.commit()
        number = mark(cursor, project, "switched", "gone", "unknown")
        cursor.execute("INSERT INTO gone VALUES (1000, 0)")  # of the marker's own transaction
        conn.commit()
        cursor.execute("INSERT INTO gone VALUES (1001, 0)")
        cursor.execute("INSERT INTO kept VALUES (1, 0)")
        conn.commit()

        def stage(table: str) -> tuple[Any, ...]:
            query = "SELECT stage, marker, violations FROM dbbridge.tables WHERE source_table = %s"
            return tuple(project.ask(query, table)[0])

        project.wait_until(lambda: stage("gone")[0] == "switched", daemon=daemon)
        schema = project.source.name
        kept = f'SELECT count(*) FROM "{schema}".kept'
        project.wait_until(lambda: project.ask(kept) == [(1,)], daemon=daemon)
        assert stage("gone") == ("switched", number, 1)
        found = project.ask(f'SELECT count(*), max(id) FROM "{schema}".gone')
        assert found == [(201, 1000)]
        # What the reverse stream writes is no violation, after a restart of the daemon either.
        daemon.stop()
        cursor.execute(f"INSERT INTO {REVERSE_TABLE} VALUES ('g', 1)")
        cursor.execute("DELETE FROM gone WHERE id < 100")
        conn.commit()
        cursor.execute("ALTER TABLE gone COMMENT 'somebody was here'")
        cursor.execute("TRUNCATE TABLE gone")
        conn.commit()
        daemon = project.sync()
        project.wait_until(lambda: stage("gone")[2] == 3, daemon=daemon)
        assert project.ask(f'SELECT count(*) FROM "{schema}".gone') == [(201,)]
        assert project.table("gone")["violations"] == 3
        refused = project.run("tables", "resync", f"{schema}.gone", code=1)
        assert "dbbridge cutover reverse" in refused.out
        cursor.execute(f"UPDATE {REVERSE_TABLE} SET lsn = 2")
        cursor.executemany("INSERT INTO gone VALUES (%s, 0)", [(n,) for n in (*range(200), 1000)])
        conn.commit()
        mark(cursor, project, "streaming", "gone")
        conn.commit()
        cursor.execute("INSERT INTO gone VALUES (2000, 7)")
        conn.commit()
        project.wait_until(lambda: stage("gone")[0] == "streaming", daemon=daemon)
        query = f'SELECT v FROM "{schema}".gone WHERE id = 2000'
        project.wait_until(lambda: project.ask(query) == [(7,)], daemon=daemon)
        daemon.stop()
    assert assert_same(project.source, project.target, tables=["gone", "kept"]) == 203
