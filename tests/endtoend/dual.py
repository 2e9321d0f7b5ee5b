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


def source_engine(project: Project, driver: str = "mysql+pymysql") -> Engine:
    """The application's engine for the source."""
    server = project.source.server
    return create_engine(
        URL.create(
            driver,
            server.user,
            server.password,
            server.host,
            server.port,
            project.source.name,
            {"charset": "utf8mb4"},
        )
    )


def target_engine(project: Project) -> Engine:
    """The application's engine for the target, in which the schema is found without its name."""
    server = project.target.server
    url = URL.create(
        "postgresql+psycopg",
        server.user,
        server.password,
        server.host,
        server.port,
        project.target.name,
    )
    return create_engine(url, connect_args={"options": f"-csearch_path={project.source.name}"})


def dual_write(project: Project, *, strict: bool = False) -> DualWrite:
    """The layer between both engines."""
    with mock.patch.dict(os.environ, project.accounts.environment):
        return open_dual_write(
            project.folder / "bridge.yaml",
            source=source_engine(project),
            target=target_engine(project),
            strict=strict,
        )
