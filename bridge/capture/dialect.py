"""Which server a connection talks to: MySQL or MariaDB, and which version."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pymysql
from pymysql.cursors import Cursor

from bridge.types.base import Flavor


@dataclass(frozen=True, slots=True)
class Dialect:
    """Flavour and version of a source, for queries that differ between servers."""

    flavor: Flavor
    version: tuple[int, int, int]
    text: str = ""
    """VERSION() as the server prints it."""

    @property
    def mariadb(self) -> bool:
        """Whether the server is MariaDB."""
        return self.flavor == "mariadb"

    def mysql_since(self, *version: int) -> bool:
        """Whether the server is MySQL of that version or later."""
        return not self.mariadb and self.version >= version

    def __str__(self) -> str:
        name = "MariaDB" if self.mariadb else "MySQL"
        return f"{name} {'.'.join(map(str, self.version))}"


def parse_version(text: str) -> Dialect:
    """The dialect that VERSION() tells, ``10.11.19-MariaDB-log`` or ``8.4.3``.

    A prefix ``5.5.5-``, which MariaDB puts before its version in the handshake, is skipped.
    """
    numbers = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)(?:\.(\d+))?", text)
    version = tuple(int(n or 0) for n in numbers.groups()) if numbers else (0, 0, 0)
    flavor: Flavor = "mariadb" if "mariadb" in text.lower() else "mysql"
    return Dialect(flavor, (version[0], version[1], version[2]), text)


def read_dialect(conn: pymysql.Connection[Cursor]) -> Dialect:
    """Asks the server for its version."""
    with conn.cursor(Cursor) as cursor:
        cursor.execute("SELECT VERSION()")
        row = cursor.fetchone()
    return parse_version(str(row[0]) if row else "")


def logs_cascades(conn: pymysql.Connection[Cursor]) -> bool:
    """Whether the server logs what its foreign keys do to child rows."""
    if not read_dialect(conn).mysql_since(9, 6, 0):
        return False
    with conn.cursor(Cursor) as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
        native = cursor.fetchone()
    return native is None or str(native[1]).upper() not in ("ON", "1")
