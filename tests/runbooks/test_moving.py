"""A group goes and comes back by the runbooks, on MariaDB."""

from __future__ import annotations

from contextlib import closing

import pymysql
import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.dual import app_name, drop_application, grant_on_target
from tests.endtoend.moves import OTHERS, near, prepare, wait_followed, wait_told
from tests.endtoend.project import Daemon, Project
from tests.runbooks.book import Book

SETTINGS = f"{OTHERS}  survivors: wait\n"


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_the_evening(project: Project) -> None:
    prepare(project, SETTINGS)
    daemon = project.sync()
    project.wait_streaming(daemon)
    grant_on_target(project)
    wait_told(project, daemon)
    _before_the_day(project)
    _the_day(project, daemon)
    _reverse(project)
    _abort(project)
    held = f"SELECT count(*) FROM \"{project.source.name}\".customer WHERE name = 'held'"
    project.wait_until(lambda: project.ask(held) == [(1,)], daemon=daemon)
    daemon.stop()
    assert assert_same(project.source, project.target, tables=["customer", "purchase"]) > 600
    drop_application(project)


def _before_the_day(project: Project) -> None:
    book = Book(project, "before-the-day")
    for _ in range(4):
        book.block()
    book.end()


def _the_day(project: Project, daemon: Daemon) -> None:
    book = Book(project, "the-day")
    for _ in range(3):
        book.block()
    near(project)
    book.block()
    project.wait_until(lambda: len(rows(project)) == len(there(project)), daemon=daemon)
    book.block()
    book.end()


def _reverse(project: Project) -> None:
    book = Book(project, "reverse", {"cutover reverse": lambda: wait_followed(project)})
    near(project)
    for _ in range(3):
        book.block()
    book.end()


def _abort(project: Project) -> None:
    book = Book(project, "abort")
    server = project.source.server
    holder = pymysql.connect(
        host=server.host,
        port=server.port,
        user=app_name(project),
        password=project.accounts.password,
        database=project.source.name,
    )
    with closing(holder), holder.cursor() as cursor:
        project.run("cutover", "waive", "writers", "--reason", "as before", code=None)
        cursor.execute("UPDATE customer SET name = 'held' WHERE id = 3")
        book.block()
        book.block()
        holder.commit()
    book.block()
    book.end()


def rows(project: Project) -> list[int]:
    """Keys in the source."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id FROM purchase")
        return [key for (key,) in cursor.fetchall()]


def there(project: Project) -> list[int]:
    """Keys in the target."""
    return [key for (key,) in project.ask(f'SELECT id FROM "{project.source.name}".purchase')]
