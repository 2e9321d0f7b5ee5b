"""Fences of other kinds through a switch and back, and the operator's commands around it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from compose.local import servers
from compose.local.errors import Unavailable
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import as_role, drop_application, fence_name
from tests.endtoend.fixtures import NewProject
from tests.endtoend.moves import OTHERS, move, near, prepare, start
from tests.endtoend.project import Project
from tests.endtoend.test_cutover import TABLES, as_application
from tests.endtoend.test_cutover_operators import INSERT, standing, writes
from tests.fix_servers import UNAVAILABLE, SourceDatabase, TargetDatabase

HOOKS = "  hooks: {{before_fence: '{}', after_flip: 'false', on_abort: 'touch {}'}}\n"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[SourceDatabase]:
    """A database on a server that is nobody else's."""
    try:
        server = servers.start("mariadb", tmp_path / "alone")
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: mariadb ({reason})")
    try:
        database = SourceDatabase(server, f"t_{secrets.token_hex(5)}")
        with closing(SourceDatabase(server, "mysql").connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {database.name}")
        yield database
    finally:
        server.stop()


@pytest.fixture
def whole(alone: SourceDatabase, target_db: TargetDatabase, new_project: NewProject) -> Project:
    """A project whose source has a server to itself."""
    return new_project(alone, target_db)


def as_root(project: Project, *statements: str) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_locked_accounts_and_hooks(project: Project) -> None:
    aborted = project.folder / "aborted"
    prepare(project, OTHERS + "  fence: lock_account\n" + HOOKS.format("false", aborted))
    as_root(project, f"GRANT CREATE USER ON *.* TO '{fence_name(project)}'@'%'")
    daemon = start(project)
    result = move(project, "switch", code=1)
    assert "hook before_fence (false) ended with 1" in result.err
    assert standing(project)["state"] == "armed" and aborted.exists()
    writes(project)
    path = project.folder / "bridge.yaml"
    path.write_text(path.read_text().replace("before_fence: 'false'", "before_fence: 'true'"))
    done = move(project, "switch", "--format", "json").json
    assert [(hook["event"], hook["code"]) for hook in done["hooks"]] == [
        ("before_fence", 0),
        ("after_flip", 1),
    ]
    with pytest.raises(pymysql.err.OperationalError, match="locked"):
        writes(project)
    assert standing(project)["fence"]["stands"] is True
    back_again(project)
    daemon.stop()
    assert assert_same(project.source, project.target, tables=TABLES) > 600
    drop_application(project)


def test_read_only(whole: Project) -> None:
    prepare(whole, OTHERS)
    name = whole.accounts.name
    as_root(whole, f"GRANT READ ONLY ADMIN ON *.* TO '{name}'@'%'")
    daemon = start(whole)
    move(whole, "switch")
    with as_application(whole) as old, old.cursor() as cursor:
        with pytest.raises(pymysql.err.OperationalError) as raised:
            cursor.execute(INSERT)
        assert raised.value.args[0] == 1290
    found = standing(whole)
    assert (found["fence"]["kind"], found["fence"]["stands"]) == ("read_only", True)
    as_root(whole, "SET GLOBAL read_only = 0")  # as a restart of the server does
    found = standing(whole)
    assert found["fence"]["stands"] is False
    assert "SET GLOBAL read_only = 1" in found["next_steps"]
    assert "DOES NOT STAND" in whole.run("cutover", "status").out
    as_root(whole, "SET GLOBAL read_only = 1")
    back_again(whole)
    daemon.stop()
    assert assert_same(whole.source, whole.target, tables=TABLES) > 600


def back_again(project: Project) -> None:
    """What was written in the target comes along, and the application writes to the source."""
    with as_role(project) as new:
        table = f'"{project.source.name}".purchase'
        new.execute(f"INSERT INTO {table} (customer, amount) VALUES (1, 2.5)".encode())
    near(project)
    move(project, "reverse")
    assert standing(project)["fence"] is None
    writes(project)
    query = f'SELECT max(id) FROM "{project.source.name}".purchase'
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM purchase")
        (newest,) = cursor.fetchone() or (0,)
    project.wait_until(lambda: project.ask(query) == [(newest,)])
