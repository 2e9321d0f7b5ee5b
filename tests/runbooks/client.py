"""`mysql -NB DATABASE -e SQL` and `psql -AtX DATABASE -c SQL`, as the real clients print it.

The runbooks show these, and tests need no clients for it: `python -m tests.runbooks.client KIND URL
OPTIONS…` takes the administrator's URL and the rest as the client does.
"""

from __future__ import annotations

import sys

import psycopg
import pymysql

from bridge.databases.endpoint import parse_url

_OF_MYSQL = {"None": "NULL"}
_OF_PSQL = {"None": "", "True": "t", "False": "f"}


def main() -> int:
    """Prints the rows; exits 1 with what the server says."""
    kind, url, *words = sys.argv[1:]
    statement = words[-1]
    try:
        rows = _mysql(url, statement) if kind == "mysql" else _psql(url, statement)
    except (psycopg.Error, pymysql.Error) as error:
        print(f"ERROR: {error.args[-1]}", file=sys.stderr)
        return 1
    between, words_for = ("\t", _OF_MYSQL) if kind == "mysql" else ("|", _OF_PSQL)
    for row in rows:
        print(between.join(words_for.get(repr(cell), str(cell)) for cell in row))
    return 0


def _mysql(url: str, statement: str) -> list[tuple[object, ...]]:
    where = parse_url(url)
    conn = pymysql.connect(
        host=where.host,
        port=where.port,
        user=where.user,
        password=where.password.reveal(),
        database=where.database,
        autocommit=True,
        charset="utf8mb4",
    )
    with conn, conn.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _psql(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


if __name__ == "__main__":
    sys.exit(main())
