"""The tables of both sides counted without dbbridge, which might be wrong about itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from psycopg import sql

from bridge.cli.output import aligned, number
from bridge.names import quote_mysql
from compose.demo import databases, shop


@dataclass(frozen=True)
class Counted:
    """Rows of one table."""

    table: str
    source: int
    target: int

    @property
    def equal(self) -> bool:
        """Whether both sides have as many."""
        return self.source == self.target


def counts(source: str, target: str) -> list[Counted]:
    """Every table of the shop, by name."""
    found = []
    with (
        closing(databases.connect_source(source)) as mysql,
        closing(databases.connect_target(target)) as postgres,
        mysql.cursor() as cursor,
    ):
        for name in shop.tables(mysql):
            cursor.execute(f"SELECT COUNT(*) FROM {quote_mysql(name)}")
            here = cursor.fetchone()
            table = sql.Identifier(databases.NAME, name)
            there = postgres.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
            assert here is not None
            assert there is not None
            found.append(Counted(name, int(here[0]), int(there[0])))
    return found


def lines(counted: Sequence[Counted]) -> list[str]:
    """A table for people."""
    headers = ("table", "source", "target", "")
    rows = [
        (each.table, number(each.source), number(each.target), "equal" if each.equal else "DIFFERS")
        for each in counted
    ]
    return aligned(headers, rows, right=headers[1:3])
