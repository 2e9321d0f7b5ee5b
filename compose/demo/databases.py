"""The two databases of the demo: reaching them, and making them anew only where they are its own.

What the demo did not make it never drops: the shop carries a mark in the source (the comment of its
table ``settings``) and in the target (the comment of its schema).
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pymysql
from psycopg import sql

from bridge.databases.endpoint import parse_url
from bridge.names import quote_mysql

NAME = "shop"
"""The database in the source, the schema in the target, and the pipeline."""
MARK = "made by the dbbridge demo, which may drop this database"
"""The comment of ``settings`` in shop.sql."""
TARGET_MARK = "made by the dbbridge demo, which may drop this schema"
LOCK_SECONDS = 2

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    Source = Connection[Cursor]
    Target = psycopg.Connection[tuple[Any, ...]]


class NotOurs(Exception):
    """Something of that name exists which the demo did not make, or another demo is using it."""


def shop_url(url: str) -> str:
    """The address of the shop on the server that a URL leads to, whatever database it names."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{NAME}"))


def connect_source(url: str, **options: Any) -> Source:
    """A session as the shop's application has it: UTC, and no strictness."""
    endpoint = parse_url(url)
    where: dict[str, Any] = (
        {"unix_socket": endpoint.socket}
        if endpoint.socket
        else {"host": endpoint.host, "port": endpoint.port}
    )
    return pymysql.connect(
        **where,
        user=endpoint.user,
        password=endpoint.password.reveal(),
        database=endpoint.database or None,
        charset="utf8mb4",
        init_command="SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'",
        **{"autocommit": True, **options},
    )


def connect_target(url: str) -> Target:
    """A session of the administrator, with autocommit."""
    endpoint = parse_url(url)
    return psycopg.connect(
        host=endpoint.socket or endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        password=endpoint.password.reveal(),
        dbname=endpoint.database,
        autocommit=True,
    )


def named(url: str) -> str:
    """The target's address with the database that it leads to; without one, ``postgres``."""
    parts = urlsplit(url)
    return url if parts.path.strip("/") else urlunsplit(parts._replace(path="/postgres"))


def hold(url: str) -> Source:
    """A session whose lock keeps other demos from this source. Raises NotOurs."""
    conn = _connect_server(url)
    with conn.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('dbbridge demo', %s)", (LOCK_SECONDS,))
        row = cursor.fetchone()
    if not row or row[0] != 1:
        conn.close()
        raise NotOurs("another demo is running on this source")
    return conn


def hold_target(url: str) -> Target:
    """A session whose lock keeps other demos from this target. Raises NotOurs."""
    conn = connect_target(url)
    row = conn.execute("SELECT pg_try_advisory_lock(hashtext('dbbridge demo'))").fetchone()
    if not row or not row[0]:
        conn.close()
        raise NotOurs("another demo is running into this target")
    return conn


def make_source(url: str) -> None:
    """An empty database ``shop``. Raises NotOurs if there is one that the demo did not make."""
    with closing(_connect_server(url)) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, table_comment FROM information_schema.tables"
            " WHERE table_schema = %s",
            (NAME,),
        )
        comments = dict(cursor.fetchall())
        if comments and comments.get("settings") != MARK:
            raise NotOurs(f"the source has a database {NAME} that this demo did not make")
        cursor.execute(f"DROP DATABASE IF EXISTS {quote_mysql(NAME)}")
        cursor.execute(
            f"CREATE DATABASE {quote_mysql(NAME)} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        )


def make_target(url: str) -> None:
    """An empty schema ``shop``, and a control schema that knows no pipeline of that name.

    Raises NotOurs if there is one that the demo did not make.
    """
    with closing(connect_target(url)) as conn, conn.transaction():
        mark, pipeline = _marked(conn), _pipeline_known(conn)
        if mark not in (None, TARGET_MARK) or (mark is None and pipeline):
            thing = "schema" if mark is not None else "pipeline"
            raise NotOurs(f"the target has a {thing} {NAME} that this demo did not make")
        name = sql.Identifier(NAME)
        conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        conn.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(name, sql.Literal(TARGET_MARK)))
        if pipeline:
            for table in _with_pipelines(conn):
                conn.execute(
                    sql.SQL("DELETE FROM dbbridge.{} WHERE pipeline = %s").format(
                        sql.Identifier(table)
                    ),
                    [NAME],
                )
            conn.execute("DELETE FROM dbbridge.pipeline WHERE name = %s", [NAME])


def drop_slots(conn: Target) -> None:
    """Replication slots that a cutover of this pipeline left keep WAL for ever: they go."""
    conn.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
        " WHERE database = current_database() AND slot_name LIKE %s AND active",
        [f"dbbridge\\_{NAME}\\_%"],
    )
    for (slot,) in conn.execute(
        "SELECT slot_name FROM pg_replication_slots"
        " WHERE database = current_database() AND slot_name LIKE %s",
        [f"dbbridge\\_{NAME}\\_%"],
    ).fetchall():
        conn.execute("SELECT pg_drop_replication_slot(%s)", [slot])
        conn.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(slot)))


def _connect_server(url: str) -> Source:
    """A session without a database: the one that the URL names may not exist yet."""
    return connect_source(urlunsplit(urlsplit(url)._replace(path="")))


def _marked(conn: Target) -> str | None:
    """The comment of the target's schema; '' if it has none, None if there is no schema."""
    row = conn.execute(
        "SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace"
        " WHERE nspname = %s",
        [NAME],
    ).fetchone()
    return str(row[0]) if row else None


def _pipeline_known(conn: Target) -> bool:
    row = conn.execute("SELECT to_regclass('dbbridge.pipeline')").fetchone()
    if not row or row[0] is None:
        return False
    found = conn.execute("SELECT 1 FROM dbbridge.pipeline WHERE name = %s", [NAME])
    return found.fetchone() is not None


def _with_pipelines(conn: Target) -> list[str]:
    """The control schema's tables that have a column ``pipeline``, children before parents."""
    rows = conn.execute(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'dbbridge' AND column_name = 'pipeline'"
        " ORDER BY table_name = 'tables', table_name"
    )
    return [str(row[0]) for row in rows]
