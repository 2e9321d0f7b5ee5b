"""A group that is armed for long: its tables are copied again, others come to it, rights change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing

import psycopg
import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.dual import app_name, as_role, drop_application
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start, wait_told
from tests.endtoend.project import Daemon, Project
from tests.endtoend.test_cutover import TABLES
from tests.endtoend.test_cutover_after import on_source, on_target
from tests.endtoend.test_cutover_operators import standing_still
from tests.endtoend.test_cutover_slots import armed

COPIED_AGAIN = ("purchase", "history")
ALL = [*TABLES, "history", "late"]
PUBLISHED = "SELECT tablename FROM pg_publication_tables ORDER BY 1"


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_what_is_written_after_all_that_comes_back(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE history (a int, b int)")
        cursor.execute("INSERT INTO history VALUES (1, 1), (1, 1), (2, 2)")
    prepare(project, OTHERS)
    into_the_group(project, "history")
    daemon = start(project)
    armed(project)
    copied_again(project, daemon)
    daemon = one_more(project, daemon)
    project.run("verify", "--certify")
    fenced(project)
    near(project)
    on_target(
        project,
        "INSERT INTO purchase (customer, amount) VALUES (1, 9.5)",
        "UPDATE purchase SET note = 'there' WHERE id = 7",
        "DELETE FROM history WHERE a = 2",
        "UPDATE history SET b = 5 WHERE a = 1",
        "INSERT INTO late VALUES (2, 'b')",
    )
    no_longer_published(project)
    move(project, "reverse")
    daemon.stop()
    assert assert_same(project.source, project.target, tables=ALL) > 600
    drop_application(project)


def into_the_group(project: Project, table: str) -> None:
    path = project.mapping(table)
    text = re.sub("^group: .*$", "group: customer", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)


def published(project: Project) -> list[str]:
    return [table for (table,) in project.ask(PUBLISHED)]


def copied_again(project: Project, daemon: Daemon) -> None:
    """Others take their places in the target, of which the publication knows nothing."""
    assert published(project) == ["customer", "history", "purchase"]
    for table in COPIED_AGAIN:
        project.run("tables", "resync", table)
    project.wait_until(lambda: published(project) == ["customer"], daemon=daemon)
    project.wait_streaming_again(daemon)


def one_more(project: Project, daemon: Daemon) -> Daemon:
    on_source(
        project,
        "CREATE TABLE late (id int PRIMARY KEY, text varchar(40))",
        "INSERT INTO late VALUES (1, 'a')",
    )
    project.init()
    into_the_group(project, "late")
    project.apply_schema()
    daemon.stop()
    daemon = project.sync()
    project.wait_until(lambda: project.stages().get("late") == "streaming", daemon=daemon)
    wait_told(project, daemon)
    return daemon


def fenced(project: Project) -> None:
    """Rights that the application was given since are taken away, and given back at the flip."""
    with project.target.connect() as conn:
        rights = f'INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "{project.source.name}"'
        conn.execute(f"GRANT SELECT, {rights} TO {app_name(project)}".encode())
    assert plan_of(project)["refused_by"] in ([], ["writers"])
    with standing_still(project, "fencing.closed", "fencing") as operator:
        assert may_write(project, ALL) == []
    assert operator.wait(60) == 0, operator.log
    assert may_write(project, ALL) == ALL
    assert published(project) == sorted(ALL)


def may_write(project: Project, tables: Sequence[str]) -> list[str]:
    """Those that the application may delete rows of in the target."""
    found = []
    for table in tables:
        with as_role(project) as conn:
            try:
                conn.execute(f'DELETE FROM "{project.source.name}".{table} WHERE false'.encode())
            except psycopg.errors.InsufficientPrivilege:
                continue
        found.append(table)
    return found


def no_longer_published(project: Project) -> None:
    """That is a closed gate, with what mends it."""
    name = f'"{project.source.name}".purchase'
    ((publication,),) = project.ask("SELECT pubname FROM pg_publication")
    with project.target.connect() as conn:
        conn.execute(f'ALTER PUBLICATION "{publication}" DROP TABLE {name}'.encode())
        found = plan_of(project, "--reverse")
        assert found["refused_by"] == ["reverse"], found
        (gate,) = [gate for gate in found["gates"] if gate["gate"] == "reverse"]
        assert f"lacks {project.source.name}.purchase" in gate["missing"], gate
        mends, _, rest = gate["command"].partition(";")
        assert "update each row that was written since to itself" in rest
        conn.execute(mends.encode())
    on_target(project, "UPDATE purchase SET note = note WHERE id = 7")
    assert plan_of(project, "--reverse")["refused_by"] == []
