"""The dual-write layer out of the settings that the pipeline has."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from sqlalchemy.engine import Engine

from bridge.capture.plans import read_plans
from bridge.config import load
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.lookout import Sides
from bridge.dualwrite.provisional import LIMITS
from bridge.errors import ConfigError
from bridge.mapping.files import read_all

CONNECT_SECONDS = 2
READ_SECONDS = 5.0
"""How long the layer's own reads of the source may take."""


def open_dual_write(
    config: str | Path = "bridge.yaml", *, source: Engine, target: Engine, strict: bool = False
) -> DualWrite:
    """The layer for an application with these two engines, by the settings of a pipeline.

    The mapping files and the source's catalogue are read once. Raises ConfigError, MappingError,
    ServerUnreachable and ServerRefused.
    """
    settings = load(Path(config), os.environ)
    sides = open_sides(
        settings.name,
        settings.endpoint(settings.pipeline.source),
        settings.endpoint(settings.pipeline.target),
    )
    with closing(sides.open_source()) as conn:
        plans = read_plans(conn, read_all(settings.mappings))
    return DualWrite(sides, plans, source, target, strict=strict)


def open_sides(pipeline: str, source: Endpoint, target: Endpoint) -> Sides:
    """How the layer reaches both sides by the pipeline's accounts; raises ConfigError."""
    here, there = _impatient(source, "mysql"), _impatient(target, "postgresql")

    def open_source() -> pymysql.Connection[Any]:
        return mysql.connect(here, read_timeout=READ_SECONDS)

    def open_target() -> psycopg.Connection[Any]:
        return postgres.connect(
            there, autocommit=True, application_name="dbbridge dual write", settings=LIMITS
        )

    return Sides(pipeline, database_of(here), open_source, open_target)


def database_of(source: Endpoint) -> str:
    """Where the layer's tables are in the source; raises ConfigError if its URL names none."""
    if not source.database:
        raise ConfigError(
            "the source's URL names no database, in which the dual-write layer's tables could be",
            "write it like mysql://…/shop",
        )
    return source.database


def _impatient(endpoint: Endpoint, kind: str) -> Endpoint:
    """No commit of an application waits long for a session of ours."""
    if endpoint.kind != kind:
        raise ConfigError(f"{endpoint.place} is not a {kind} database", "see pipeline.source")
    options = {"connect_timeout": str(CONNECT_SECONDS), **endpoint.options}
    return replace(endpoint, options=options)
