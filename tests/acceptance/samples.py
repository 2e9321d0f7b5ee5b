"""Sample databases: loading their scripts, and random changes of any schema."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from tests.fix_servers import SourceDatabase

_DELIMITER = re.compile(r"^DELIMITER\s+(\S+)\s*$", re.MULTILINE | re.IGNORECASE)
_COMMENTS = re.compile(r"^\s*--.*?$|/\*(?!!).*?\*/", re.MULTILINE | re.DOTALL)
_LEFT_OUT = re.compile(
    r"(USE|DROP (SCHEMA|DATABASE)|CREATE .*?(SCHEMA|DATABASE|PROCEDURE|FUNCTION|VIEW))\b",
    re.IGNORECASE,
)
"""The test has a database of its own name, which the views do not know; and routines need rights
that have nothing to do with tables."""
_NUMBERS = ("int", "decimal", "smallint", "mediumint", "bigint", "float", "double")
"""Not tinyint: flags that held only 0 and 1 are boolean in the target, and 7 is for quarantine."""
_TEXTS = ("varchar", "char", "text")
_REFUSED = (1451, 1452, 1062, 1205, 1213, 1264, 1406)
"""Foreign keys, duplicates, locks and ranges: what a random change may run into."""


def statements(script: str) -> Iterator[str]:
    """The statements of a script for the mysql client, its DELIMITER lines obeyed."""
    delimiter = ";"
    parts = _DELIMITER.split(script)
    for text, following in zip(parts[::2], [*parts[1::2], None], strict=True):
        for one in re.split(rf"{re.escape(delimiter)}[ \t]*$", text, flags=re.MULTILINE):
            bare = _COMMENTS.sub("", one).strip()
            if bare and not _LEFT_OUT.match(bare):
                yield one.strip()
        delimiter = following or delimiter


def load(database: SourceDatabase, *scripts: Path) -> None:
    """Runs the scripts in the test's database."""
    with closing(database.connect()) as conn, conn.cursor() as cursor:
        for script in scripts:
            for statement in statements(script.read_text()):
                cursor.execute(statement)
        conn.commit()


class Changes:
    """A writer that updates, copies and deletes random rows of every table of a database."""

    def __init__(self, database: SourceDatabase, seed: int) -> None:
        self._database = database
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self.done = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Changes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with (
                closing(self._database.connect(autocommit=False)) as conn,
                conn.cursor() as cursor,
            ):
                cursor.execute("SET SESSION sql_mode = ''")
                tables = _tables(cursor, self._database.name)
                while not self._stopping.wait(0.002):
                    self._transaction(conn, cursor, tables)
        except BaseException as error:  # noqa: BLE001 (raised where the writer is ended)
            self._failure = error

    def _transaction(self, conn: Any, cursor: Cursor, tables: list[_Table]) -> None:
        try:
            for _ in range(self._chance.randint(1, 4)):
                table = self._chance.choice(tables)
                verb = self._chance.choice((table.update, table.update, table.copy, table.delete))
                verb(cursor, self._chance)
            conn.commit()
            self.done += 1
        except (
            pymysql.err.IntegrityError,
            pymysql.err.OperationalError,
            pymysql.err.DataError,
        ) as e:
            conn.rollback()
            if e.args[0] not in _REFUSED:
                raise


class _Table:
    """What random changes need to know of a table."""

    def __init__(self, name: str, columns: list[tuple[str, str, str]], referring: set[str]) -> None:
        self.name = name
        self.key = [column for column, _, key in columns if key == "PRI"]
        self.columns = [column for column, _, _ in columns]
        free = [(c, kind) for c, kind, key in columns if key != "PRI" and c not in referring]
        self.numbers = [c for c, kind in free if kind in _NUMBERS]
        self.texts = [c for c, kind in free if kind in _TEXTS]

    def pick(self, cursor: Cursor, chance: random.Random) -> tuple[Any, ...] | None:
        """The key of some row."""
        keys = ", ".join(f"`{c}`" for c in self.key)
        cursor.execute(f"SELECT COUNT(*) FROM `{self.name}`")
        (count,) = cursor.fetchone() or (0,)
        if not count:
            return None
        at = chance.randrange(count)
        cursor.execute(f"SELECT {keys} FROM `{self.name}` LIMIT 1 OFFSET %s", (at,))
        return cursor.fetchone()

    def update(self, cursor: Cursor, chance: random.Random) -> None:
        """Another number or text in some row."""
        key = self.pick(cursor, chance)
        if key is None or not (self.numbers or self.texts):
            return
        column = chance.choice(self.numbers + self.texts)
        value = chance.randrange(100) if column in self.numbers else chance.choice(("é", "x", "\\"))
        cursor.execute(
            f"UPDATE `{self.name}` SET `{column}` = %s WHERE {self._where()}", (value, *key)
        )

    def copy(self, cursor: Cursor, chance: random.Random) -> None:
        """Some row once more, under a new key."""
        key = self.pick(cursor, chance)
        if key is None or not isinstance(key[0], int):
            return
        new = chance.randrange(1, 250)
        rest = ", ".join(f"`{c}`" for c in self.columns if c != self.key[0])
        cursor.execute(
            f"INSERT INTO `{self.name}` (`{self.key[0]}`, {rest})"
            f" SELECT %s, {rest} FROM `{self.name}` WHERE {self._where()}",
            (new, *key),
        )

    def delete(self, cursor: Cursor, chance: random.Random) -> None:
        """Some row less; often a foreign key forbids it."""
        key = self.pick(cursor, chance)
        if key is not None and chance.random() < 0.5:
            cursor.execute(f"DELETE FROM `{self.name}` WHERE {self._where()}", key)

    def _where(self) -> str:
        return " AND ".join(f"`{c}` = %s" for c in self.key)


def _tables(cursor: Cursor, database: str) -> list[_Table]:
    cursor.execute(
        "SELECT c.table_name, c.column_name, c.data_type, c.column_key"
        " FROM information_schema.columns c JOIN information_schema.tables t"
        " USING (table_schema, table_name)"
        " WHERE c.table_schema = %s AND t.table_type = 'BASE TABLE'"
        " ORDER BY c.table_name, c.ordinal_position",
        (database,),
    )
    columns: dict[str, list[tuple[str, str, str]]] = {}
    for table, *facts in cursor.fetchall():
        columns.setdefault(table, []).append((facts[0], facts[1], facts[2]))
    cursor.execute(
        "SELECT table_name, column_name FROM information_schema.key_column_usage"
        " WHERE table_schema = %s AND referenced_table_name IS NOT NULL",
        (database,),
    )
    referring: dict[str, set[str]] = {}
    for table, column in cursor.fetchall():
        referring.setdefault(table, set()).add(column)
    return [_Table(name, found, referring.get(name, set())) for name, found in columns.items()]
