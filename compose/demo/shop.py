"""The shop's rows: the same ones each time, made by the server itself from numbers.

Each table is filled by one INSERT … SELECT over the numbers 1 to its count, on two
connections at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.names import quote_mysql
from compose.demo.databases import connect_source
from compose.demo.rows import CATEGORIES, COLUMNS, COUNTRIES, SETTINGS

if TYPE_CHECKING:
    from compose.demo.databases import Source

SCHEMA = Path(__file__).with_name("shop.sql")
ROWS = 365_000
"""Rows of all tables together, about, unless somebody asks for another size."""


@dataclass(frozen=True)
class Counts:
    """How many rows the tables get that grow with the shop."""

    customers: int
    products: int
    orders: int

    @classmethod
    def of(cls, rows: int) -> Counts:
        """About `rows` rows in all tables together."""
        unit = max(rows, 2_000) / ROWS
        return cls(round(24_000 * unit), round(9_000 * unit), round(60_000 * unit))

    def table(self) -> Mapping[str, int]:
        """Rows a table, for the generated ones, largest first."""
        return {
            "order_items": 2 * self.orders,
            "orders": self.orders,
            "payments": self.orders * 4 // 5,
            "addresses": self.customers * 3 // 2,
            "stock": 3 * self.products,
            "customers": self.customers,
            "products": self.products,
            "deliveries": self.orders * 3 // 10,
            "audit_log": self.orders // 20,
            "reviews": self.customers // 2,
            "sessions": self.customers // 4,
            "coupons": self.customers // 16,
            "categories": CATEGORIES,
        }


def fill(url: str, rows: int = ROWS) -> int:
    """Makes the tables in an empty database and fills them; the number of rows."""
    counts = Counts.of(rows)
    with closing(connect_source(url)) as conn:
        for statement in statements(SCHEMA.read_text("utf-8")):
            _run(conn, statement)
        total = _small_tables(conn)
    work = list(counts.table().items())
    with ThreadPoolExecutor(2) as pool:
        parts = pool.map(lambda part: _fill_part(url, counts, part), (work[::2], work[1::2]))
        return total + sum(parts)


def statements(script: str) -> list[str]:
    """The statements of a script that has no semicolon at a line's end but theirs."""
    bare = re.sub(r"^--.*\n", "", script, flags=re.MULTILINE)
    return [part.strip() for part in re.split(r";\n", bare) if part.strip()]


def tables(conn: Source) -> list[str]:
    """The shop's tables, by name."""
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = DATABASE() ORDER BY table_name"
        )
        return [str(row[0]) for row in cursor.fetchall()]


def _small_tables(conn: Source) -> int:
    """The tables whose rows are named one by one."""
    countries = [(c, n, f"{(ord(c[1]) % 9) + 17}.00", c != "GB") for c, n in COUNTRIES.items()]
    settings = [(name, value, "2013-03-31 01:30:00") for name, value in SETTINGS.items()]
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO countries (code, name, vat, in_union) VALUES (%s, %s, %s, %s)", countries
        )
        cursor.executemany(
            "INSERT INTO settings (name, value, changed_at) VALUES (%s, %s, %s)", settings
        )
    return len(countries) + len(settings)


def _fill_part(url: str, counts: Counts, part: Sequence[tuple[str, int]]) -> int:
    """Fills some tables over one connection."""
    with closing(connect_source(url)) as conn:
        _run(conn, "SET SESSION foreign_key_checks = 0, unique_checks = 0")
        _run(conn, "CREATE TEMPORARY TABLE numbers (n int unsigned NOT NULL PRIMARY KEY)")
        _run(conn, _numbers(max(count for _, count in part)))
        return sum(_run(conn, _insert(table, count, counts)) for table, count in part)


def _run(conn: Source, statement: str) -> int:
    with conn.cursor() as cursor:
        return cursor.execute(statement)


def _numbers(last: int) -> str:
    digits = " UNION ALL ".join(["SELECT 0 AS d", *(f"SELECT {digit}" for digit in range(1, 10))])
    places = [10**power for power in range(len(str(last)))]
    total = "1 + " + " + ".join(f"{place} * t{place}.d" for place in places)
    source = ", ".join(f"({digits}) t{place}" for place in places)
    return f"INSERT INTO numbers SELECT {total} AS n FROM {source} WHERE {total} <= {last}"


def _insert(table: str, count: int, counts: Counts) -> str:
    columns = COLUMNS[table]
    names = ", ".join(quote_mysql(name) for name in columns)
    values = ", ".join(columns.values())
    for name in ("customers", "products", "orders"):
        values = values.replace(f":{name}", str(getattr(counts, name)))
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM numbers WHERE n <= {count}"
