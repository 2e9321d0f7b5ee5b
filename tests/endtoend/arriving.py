"""What arrives in the target of a table's changes."""

from __future__ import annotations

from typing import Any

from pymysql.cursors import Cursor

from tests.endtoend.project import Daemon, Project


def rows(project: Project, table: str) -> list[Any]:
    """All that the target's table has, by the first column."""
    return project.ask(f'SELECT * FROM "{project.source.name}"."{table}" ORDER BY 1')


def goes_on(project: Project, cursor: Cursor, daemon: Daemon, table: str = "other") -> None:
    """A later change of the table arrives, and with it all earlier ones."""
    cursor.execute(f"UPDATE {table} SET v = v + 1")
    cursor.execute(f"SELECT * FROM {table} ORDER BY id")
    there = list(cursor.fetchall())
    project.wait_until(lambda: rows(project, table) == there, daemon=daemon)
