"""An application that writes through the dual-write layer, as a user would set it up."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pymysql
import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.engine import Engine

from bridge.dualwrite import opening
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.opening import open_dual_write
from bridge.dualwrite.provisional import LIMITS
from bridge.names import quote_postgres
from bridge.replicate.ops import AUTHORITY_TABLE, definitions
from compose.local.servers import Server
from tests.endtoend.project import CHECKOUT, Project

DOCUMENT = CHECKOUT / "docs" / "dual-writes.md"


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of this process leaves nothing to the stream only because a server is slow.

    For tests that count what was written early, or tell which side is read. What waits for a
    lock, or for a server that stands still, is given up as ever.
    """
    monkeypatch.setattr(opening, "CONNECT_SECONDS", 60)
    monkeypatch.setattr(opening, "READ_SECONDS", 60.0)
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(LIMITS, limit, "60s")


def grant_dual_writes(project: Project) -> None:
    """What an administrator does once: the layer's tables, and exactly the rights of the document.

    The application's account, which may else write the tables there are, is `app_name`.
    """
    name, app = project.source.name, app_name(project)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        tables = [str(table) for (table,) in cursor.fetchall()]
        cursor.execute(f"CREATE USER '{app}'@'%' IDENTIFIED BY '{project.accounts.password}'")
        for table in tables:
            rights = "SELECT, INSERT, UPDATE, DELETE"
            cursor.execute(f"GRANT {rights} ON `{name}`.`{table}` TO '{app}'@'%'")
        for statement in definitions(name).values():
            cursor.execute(statement)
        for line in documented(project, DOCUMENT, 0):
            cursor.execute(line)


def has_dual_writes(project: Project) -> bool:
    """Whether that was done."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        return bool(cursor.execute(f"SHOW TABLES LIKE '{AUTHORITY_TABLE}'"))


def grant_on_target(project: Project) -> None:
    """The same in the target, where the control schema is by now."""
    app, name = app_name(project), project.source.name
    with project.target.connect() as conn:
        conn.execute(f"CREATE ROLE {app} LOGIN PASSWORD '{project.accounts.password}'".encode())
        conn.execute(f'GRANT USAGE ON SCHEMA "{name}" TO {app}'.encode())
        rights = "SELECT, INSERT, UPDATE, DELETE"
        conn.execute(f'GRANT {rights} ON ALL TABLES IN SCHEMA "{name}" TO {app}'.encode())
        for line in documented(project, DOCUMENT, 1):
            conn.execute(line.encode())


def drop_application(project: Project) -> None:
    """The application's account goes, and the one that keeps it out during a switch."""
    app = app_name(project)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"DROP USER IF EXISTS '{app}'@'%', '{fence_name(project)}'@'%'")
    with project.target.connect() as there:
        if there.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (app,)).fetchone():
            there.execute(f"DROP OWNED BY {app} CASCADE".encode())
            there.execute(f"DROP ROLE {app}".encode())


def move_to_target(project: Project) -> None:
    """The target has authority over all groups from now on; both sides are equal, and idle.

    It has its foreign keys then, and keys that it generates go on behind those that it has.
    """
    phase = ("--phase", "constraints")
    plan = project.run("schema", "plan", *phase, "--format", "json").json["plan"]
    project.run("schema", "apply", *phase, "--plan", plan)
    give_to_target(project)
    with project.target.connect() as there:
        identities = there.execute(
            "SELECT attrelid::regclass::text, attname FROM pg_attribute a JOIN pg_class c"
            " ON c.oid = attrelid WHERE attidentity <> '' AND relnamespace = %s::regnamespace",
            (project.source.name,),
        )
        for table, column in identities.fetchall():
            name = quote_postgres(column)
            there.execute(
                f"SELECT setval(pg_get_serial_sequence(%s, %s),"
                f" (SELECT coalesce(max({name}), 0) + 1 FROM {table}), false)".encode(),
                (table, column),
            )


def give_to_target(project: Project) -> None:
    """The rows of authority alone, on both sides."""
    moved = "SET authority = 'target', epoch = epoch + 1"
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"UPDATE {AUTHORITY_TABLE} {moved}")
    with project.target.connect() as there:
        there.execute(f"UPDATE dbbridge.authority {moved}".encode())


def app_name(project: Project) -> str:
    """The application's account."""
    return f"{project.accounts.name}_app"


def of_application(project: Project, **options: Any) -> pymysql.Connection[Any]:
    """A session of it on the source that knows of no bridge."""
    who = _application(project, project.source.server)
    return pymysql.connect(**who, database=project.source.name, **options)


def as_role(project: Project, **options: Any) -> psycopg.Connection[Any]:
    """The same on the target; in autocommit mode."""
    who = _application(project, project.target.server)
    return psycopg.connect(**who, dbname=project.target.name, autocommit=True, **options)


def _application(project: Project, server: Server) -> dict[str, Any]:
    who, password = app_name(project), project.accounts.password
    return {"host": server.host, "port": server.port, "user": who, "password": password}


def fence_name(project: Project) -> str:
    """The account in the source that keeps it out during a switch."""
    return f"{project.accounts.name}_fence"


def documented(project: Project, document: Path, number: int) -> list[str]:
    """The statements of a block of SQL of a document, for this project's names."""
    script = re.findall(r"```sql\n(.*?)```", document.read_text(), re.DOTALL)[number]
    names = {
        "shop": f"`{project.source.name}`",
        "bridge": project.accounts.name,
        "app": app_name(project),
        "fence": fence_name(project),
    }
    bare = re.sub(r"--.*", "", script)
    return [
        re.sub(r"(?<![.\w'])(shop|bridge|app|fence)\b", lambda match: names[match[1]], line)
        for line in filter(None, map(str.strip, bare.split(";")))
    ]


def source_url(project: Project, driver: str = "mysql+pymysql") -> URL:
    """Where the application finds the source."""
    server = project.source.server
    return URL.create(
        driver,
        app_name(project),
        project.accounts.password,
        server.host,
        server.port,
        project.source.name,
        {"charset": "utf8mb4"},
    )


def target_url(project: Project) -> URL:
    """Where it finds the target."""
    server = project.target.server
    return URL.create(
        "postgresql+psycopg",
        app_name(project),
        project.accounts.password,
        server.host,
        server.port,
        project.target.name,
    )


def source_engine(project: Project, **options: Any) -> Engine:
    """The application's engine for the source."""
    return create_engine(source_url(project), **options)


def target_engine(project: Project) -> Engine:
    """The application's engine for the target, in which the schema is found without its name."""
    path = f"-csearch_path={project.source.name}"
    return create_engine(target_url(project), connect_args={"options": path})


def dual_write(project: Project, *, strict: bool = False, **options: Any) -> DualWrite:
    """The layer between both engines; `options` are those of the source's."""
    with mock.patch.dict(os.environ, project.accounts.environment):
        return open_dual_write(
            project.folder / "bridge.yaml",
            source=source_engine(project, **options),
            target=target_engine(project),
            strict=strict,
        )
