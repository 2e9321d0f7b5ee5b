"""Creates and upgrades the control schema.

Migrations are the files ``migrations/NNN_*.sql``, each applied once, in order, in one transaction
together with its number; two processes that start at once wait for each other.
"""

from __future__ import annotations

from importlib.resources import files

import psycopg

from bridge.errors import ServerRefused

_LOCK = 7_220_563_184_401
"""Advisory lock for migrations: any constant that nothing else uses."""


def migrate(conn: psycopg.Connection[tuple[object, ...]]) -> int:
    """Brings the control schema to this version's form; returns the number of migrations applied.

    `conn` is in autocommit mode. Raises ServerRefused where the role may not create a schema.
    """
    try:
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            applied = _applied(conn)
            wanted = [(number, sql) for number, sql in _migrations() if number not in applied]
            for number, sql in wanted:
                conn.execute(sql.encode())
                conn.execute("INSERT INTO dbbridge.migrations (number) VALUES (%s)", (number,))
            return len(wanted)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ServerRefused(
            f"the control schema cannot be created: {error.diag.message_primary}",
            "GRANT CREATE ON DATABASE … TO the bridge's role, as `dbbridge check` prints it",
        ) from error


def _applied(conn: psycopg.Connection[tuple[object, ...]]) -> set[object]:
    found = conn.execute("SELECT to_regclass('dbbridge.migrations')").fetchone()
    if found and found[0]:
        return {number for (number,) in conn.execute("SELECT number FROM dbbridge.migrations")}
    conn.execute("CREATE SCHEMA IF NOT EXISTS dbbridge")
    conn.execute(
        "CREATE TABLE dbbridge.migrations (number integer PRIMARY KEY,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    return set()


def _migrations() -> list[tuple[int, str]]:
    folder = files("bridge.store") / "migrations"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name[:3]), (folder / name).read_text(encoding="utf-8")) for name in names]
