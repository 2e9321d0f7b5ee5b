"""Names of tables and columns, and the only functions that quote them into SQL."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass

POSTGRES_NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers silently (NAMEDATALEN - 1)."""
MYSQL_NAME_CHARACTERS = 64
"""MySQL refuses longer ones (Identifier Length Limits)."""


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table with its database (MySQL) or schema (PostgreSQL); printed as ``database.table``."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"

    @property
    def word(self) -> str:
        """One word of a command line, whatever it holds."""
        return shlex.quote(str(self))

    def left_out_of(self, message: str) -> str:
        """A message about the table, for a reader who has been told which table it is."""
        return message.removeprefix(f"{self}: ")

    @property
    def mysql(self) -> str:
        """Quoted for MySQL."""
        return f"{quote_mysql(self.schema)}.{quote_mysql(self.table)}"

    @property
    def postgres(self) -> str:
        """Quoted for PostgreSQL."""
        return f"{quote_postgres(self.schema)}.{quote_postgres(self.table)}"


def group_option(group: str) -> str:
    """``--group NAME``, for a command line, whatever the group is called."""
    return f"--group {shlex.quote(group)}"


def quote_mysql(name: str) -> str:
    """An identifier for MySQL, in backticks, whatever it holds."""
    return "`" + name.replace("`", "``") + "`"


def quote_postgres(name: str) -> str:
    """An identifier for PostgreSQL, in double quotes, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal_mysql(text: str) -> str:
    """A string constant for MySQL that no sql_mode reads differently (hexadecimal, utf8mb4)."""
    return f"_utf8mb4 0x{text.encode().hex()}" if text else "_utf8mb4 ''"


def literal_postgres(text: str) -> str:
    """A string constant for PostgreSQL with standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"


def bindable(sql: str) -> str:
    """SQL for a statement with bound values, in which percent signs of names stand for themselves.

    Placeholders are added afterwards.
    """
    return sql.replace("%", "%%")


def fit_postgres(name: str) -> str:
    """The name, or its beginning with a hash of the whole where PostgreSQL would cut it.

    Two names that agree in their first 63 bytes stay different.
    """
    raw = name.encode()
    if len(raw) <= POSTGRES_NAME_BYTES:
        return name
    mark = _mark(name)
    return raw[: POSTGRES_NAME_BYTES - len(mark)].decode(errors="ignore") + mark


def fit_mysql(name: str) -> str:
    """The same for MySQL, which would refuse it."""
    if len(name) <= MYSQL_NAME_CHARACTERS:
        return name
    mark = _mark(name)
    return name[: MYSQL_NAME_CHARACTERS - len(mark)] + mark


def _mark(name: str) -> str:
    return "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
