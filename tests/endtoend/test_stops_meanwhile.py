"""Tables that stop while something else is under way with them, or with others."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pymysql.cursors import Cursor

from tests.endtoend.arriving import goes_on, rows
from tests.endtoend.project import Daemon, Project

TABLES = """\
CREATE TABLE one (id int PRIMARY KEY, v int NOT NULL, KEY one_v (v));
CREATE TABLE two (id int PRIMARY KEY, v int NOT NULL);
CREATE TABLE bare (id int NOT NULL, v int NOT NULL);
CREATE TABLE other (id int PRIMARY KEY, v int NOT NULL)"""


@pytest.fixture
def cursor(project: Project) -> Iterator[Cursor]:
    """An administrator's session in the source; every table has two rows, and its target."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES.split(";\n"):
            cursor.execute(statement)
        for name in ("one", "two", "bare", "other"):
            cursor.execute(f"INSERT INTO {name} VALUES (1, 10), (2, 20)")
        project.init()
        project.consent_to_lock("bare")
        project.apply_schema()
        yield cursor


def generations(project: Project, table: str) -> list[tuple[int, str]]:
    return project.ask(
        "SELECT generation, stage FROM dbbridge.tables WHERE source_table = %s ORDER BY generation",
        table,
    )


def stops(project: Project, daemon: Daemon, table: str, code: str) -> None:
    project.wait_until(lambda: project.stages().get(table) == f"stopped: {code}", daemon=daemon)


def resumes(project: Project, daemon: Daemon, table: str, generation: int) -> None:
    """The table streams as this generation when it is resumed."""
    project.run("tables", "resume", table)
    wanted = [(generation, "streaming")]
    project.wait_until(lambda: generations(project, table) == wanted, daemon=daemon)
    assert project.stages()[table] == "streaming"


def administer(project: Project, statement: str) -> None:
    """Carries out what the target's administrator wants; {schema} and {role} are filled in."""
    with project.target.connect() as conn:
        words = {"schema": project.source.name, "role": project.accounts.name}
        conn.execute(statement.format(**words).encode())


def waited_for(project: Project, table: str, schema: str = "") -> bool:
    """Whether somebody waits for a lock on the target's table."""
    held = "SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass(%s)"
    return bool(project.ask(held, f"{schema or project.source.name}.{table}"))


@contextmanager
def about_to_copy(project: Project, table: str) -> Iterator[None]:
    """The table is to be copied again: the new one is there, and nothing is read for it yet."""
    with project.target.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE dbbridge.chunks IN SHARE MODE")
        project.run("tables", "resync", table)
        yield


@contextmanager
def held_copy(project: Project, daemon: Daemon, table: str, mode: str) -> Iterator[None]:
    """What fills the table's new copy, or indexes it, waits for a lock of this mode."""
    with project.target.connect() as holder, holder.transaction():
        with about_to_copy(project, table):
            copy = f"{project.source.name}.{table}__copy2"
            holder.execute(f"LOCK TABLE {copy} IN {mode} MODE".encode())
        project.wait_until(lambda: waited_for(project, f"{table}__copy2"), daemon=daemon)
        yield


def test_a_table_that_stops_while_its_copy_is_indexed_does_not_join(
    project: Project, cursor: Cursor
) -> None:
    daemon = project.sync()
    project.wait_streaming(daemon)
    # Rows may come in, indexes wait.
    with held_copy(project, daemon, "one", "ROW EXCLUSIVE"):
        administer(project, "REVOKE INSERT, UPDATE, DELETE ON {schema}.one FROM {role}")
        cursor.execute("UPDATE one SET v = v + 1")
        stops(project, daemon, "one", "refused-42501")
        administer(project, "GRANT INSERT, UPDATE, DELETE ON {schema}.one TO {role}")
        goes_on(project, cursor, daemon)
        said = "SELECT status ->> 'phase' FROM dbbridge.daemon"
        project.wait_until(lambda: project.ask(said) == [("indexing",)], daemon=daemon)
    project.wait_said_streaming(daemon)
    cursor.execute("UPDATE one SET v = v + 1 WHERE id = 1")
    goes_on(project, cursor, daemon)
    assert generations(project, "one") == [(1, "catching-up"), (2, "catching-up")]
    resumes(project, daemon, "one", 2)
    cursor.execute("UPDATE one SET v = v + 1 WHERE id = 2")
    cursor.execute("SELECT * FROM one ORDER BY id")
    there = list(cursor.fetchall())
    project.wait_until(lambda: rows(project, "one") == there, daemon=daemon)


def test_a_table_that_somebody_stops_at_the_last_moment_is_not_swapped(
    project: Project, cursor: Cursor
) -> None:
    """Nobody else writes this with the binlog; with Kafka each consumer may."""
    daemon = halts_before_it_joins(project)
    project.run("tables", "resync", "one")
    project.wait_until(lambda: stands_still(daemon), daemon=daemon)
    before = project.ask("SELECT %s::regclass::oid", f"{project.source.name}.one")
    administer(project, "UPDATE dbbridge.tables SET paused = true WHERE source_table = 'one'")
    daemon.send(signal.SIGCONT)
    goes_on(project, cursor, daemon)
    assert [number for number, _ in generations(project, "one")] == [1, 2]
    assert project.ask("SELECT %s::regclass::oid", f"{project.source.name}.one") == before
    resumes(project, daemon, "one", 2)
    goes_on(project, cursor, daemon, "one")


def halts_before_it_joins(project: Project) -> Daemon:
    """All stream; when a table is to join, the process stops as by SIGSTOP."""
    first = project.sync()
    project.wait_streaming(first)
    first.stop()
    daemon = project.background("sync", DBBRIDGE_STOP_AT="join.before")
    project.wait_said_streaming(daemon)
    return daemon


def stands_still(daemon: Daemon) -> bool:
    """Whether the process was stopped by a signal."""
    status = Path(f"/proc/{daemon.process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


def test_a_copy_that_stops_ends_the_stream_of_what_serves(project: Project, cursor: Cursor) -> None:
    daemon = project.sync()
    project.wait_streaming(daemon)
    with about_to_copy(project, "one"):
        project.wait_until(lambda: waited_for(project, "chunks", "dbbridge"), daemon=daemon)
        administer(project, "INSERT INTO {schema}.one__copy2 VALUES (2, 0)")
    stops(project, daemon, "one", "duplicate-key")
    before = rows(project, "one")
    cursor.execute("UPDATE one SET v = v + 1")
    goes_on(project, cursor, daemon)
    assert rows(project, "one") == before
    administer(project, "TRUNCATE {schema}.one__copy2")
    resumes(project, daemon, "one", 2)
    goes_on(project, cursor, daemon, "one")


def test_an_index_that_cannot_be_built_stops_its_table(project: Project, cursor: Cursor) -> None:
    administer(project, "ALTER TABLE {schema}.one OWNER TO CURRENT_USER")
    administer(project, "GRANT ALL ON {schema}.one TO {role}")
    daemon = project.sync()
    stops(project, daemon, "one", "index-failed")
    project.wait_until(lambda: project.stages().get("other") == "streaming", daemon=daemon)
    goes_on(project, cursor, daemon)
    administer(project, "ALTER TABLE {schema}.one OWNER TO {role}")
    resumes(project, daemon, "one", 1)
    goes_on(project, cursor, daemon, "one")


def test_a_table_that_cannot_be_replaced_stops(project: Project, cursor: Cursor) -> None:
    daemon = project.sync()
    project.wait_streaming(daemon)
    administer(project, "CREATE VIEW {schema}.hangs AS SELECT v FROM {schema}.one")
    project.run("tables", "resync", "one")
    stops(project, daemon, "one", "swap-refused")
    goes_on(project, cursor, daemon)
    administer(project, "DROP VIEW {schema}.hangs")
    resumes(project, daemon, "one", 2)
    goes_on(project, cursor, daemon, "one")


def test_definitions_that_changed_ahead_of_the_stream(project: Project, cursor: Cursor) -> None:
    """Another table is copied again, so that the catalogue is read anew."""
    daemon = halts_before_it_joins(project)
    project.run("tables", "pause", "two")
    cursor.execute("ALTER TABLE two ADD COLUMN extra int")
    project.run("tables", "resync", "other")
    project.wait_until(lambda: stands_still(daemon), daemon=daemon)
    cursor.execute("ALTER TABLE one ADD COLUMN extra int")
    project.start("tables", "resync", "other")
    asked = "SELECT FROM dbbridge.requests WHERE done_at IS NULL"
    project.wait_until(lambda: bool(project.ask(asked)))
    daemon.send(signal.SIGCONT)
    stops(project, daemon, "one", "definition-changed")
    project.wait_until(lambda: generations(project, "other") == [(3, "streaming")], daemon=daemon)
    project.run("tables", "resume", "two")
    stops(project, daemon, "two", "definition-changed")
    goes_on(project, cursor, daemon)
    project.init()
    project.run("tables", "resync", "one", "two")
    project.wait_streaming_again(daemon)
    for table in ("one", "two"):
        goes_on(project, cursor, daemon, table)


def test_others_go_on_when_a_table_stops_while_one_without_a_key_is_copied(
    project: Project, cursor: Cursor
) -> None:
    daemon = project.sync()
    project.wait_streaming(daemon)
    with held_copy(project, daemon, "bare", "SHARE"):
        cursor.execute("ALTER TABLE one ADD COLUMN extra int")
        stops(project, daemon, "one", "ddl")
        goes_on(project, cursor, daemon)
    project.wait_until(lambda: generations(project, "bare") == [(2, "streaming")], daemon=daemon)
    goes_on(project, cursor, daemon, "bare")
