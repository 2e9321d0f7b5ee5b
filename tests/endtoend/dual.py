"""An application that writes through the dual-write layer, as a user would set it up."""

from __future__ import annotations

import os
from contextlib import closing
from unittest import mock

from sqlalchemy import URL, create_engine
from sqlalchemy.engine import Engine

from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.opening import open_dual_write
from bridge.replicate.ops import definitions
from tests.endtoend.project import Project


def grant_dual_writes(project: Project) -> None:
    """What an administrator does once: the layer's tables, and the bridge's rights on them."""
    name = project.source.name
    account = f"'{project.accounts.name}'@'%'"
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in definitions(name).values():
            cursor.execute(statement)
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE ON `{name}`._bridge_authority TO {account}")
        cursor.execute(f"GRANT SELECT, DELETE ON `{name}`._bridge_op TO {account}")


def source_url(project: Project, driver: str = "mysql+pymysql") -> URL:
    """Where the application finds the source."""
    server = project.source.server
    return URL.create(
        driver,
        server.user,
        server.password,
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
        server.user,
        server.password,
        server.host,
        server.port,
        project.target.name,
    )


def source_engine(project: Project) -> Engine:
    """The application's engine for the source."""
    return create_engine(source_url(project))


def target_engine(project: Project) -> Engine:
    """The application's engine for the target, in which the schema is found without its name."""
    path = f"-csearch_path={project.source.name}"
    return create_engine(target_url(project), connect_args={"options": path})


def dual_write(project: Project, *, strict: bool = False) -> DualWrite:
    """The layer between both engines."""
    with mock.patch.dict(os.environ, project.accounts.environment):
        return open_dual_write(
            project.folder / "bridge.yaml",
            source=source_engine(project),
            target=target_engine(project),
            strict=strict,
        )
