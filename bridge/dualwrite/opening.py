"""The dual-write layer out of the settings that the pipeline has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from sqlalchemy.engine import Engine

from bridge.capture.catalog import read_catalog
from bridge.config import load
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.dualwrite.layer import DualWrite, Sides
from bridge.dualwrite.provisional import LIMITS
from bridge.errors import ConfigError
from bridge.mapping.compile import compile_table
from bridge.mapping.files import read_all
from bridge.mapping.plan import TablePlan
from bridge.names import TableName

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
    here = _endpoint(settings.endpoint(settings.pipeline.source), "mysql")
    there = _endpoint(settings.endpoint(settings.pipeline.target), "postgresql")
    here, there = _impatient(here), _impatient(there)
    if not here.database:
        raise ConfigError(
            "the source's URL names no database, in which the dual-write layer's tables could be",
            "write it like mysql://…/shop",
        )

    def open_source() -> pymysql.Connection[Any]:
        return mysql.connect(here, read_timeout=READ_SECONDS)

    def open_target() -> psycopg.Connection[Any]:
        return postgres.connect(
            there, autocommit=True, application_name="dbbridge dual write", settings=LIMITS
        )

    sides = Sides(settings.name, here.database, open_source, open_target)
    with closing(open_source()) as conn:
        plans = _plans(conn, settings.mappings)
    return DualWrite(sides, plans, source, target, strict=strict)


def _endpoint(endpoint: Endpoint, kind: str) -> Endpoint:
    if endpoint.kind != kind:
        raise ConfigError(f"{endpoint.place} is not a {kind} database", "see pipeline.source")
    return endpoint


def _impatient(endpoint: Endpoint) -> Endpoint:
    """No commit of an application waits long for a session of ours."""
    options = {"connect_timeout": str(CONNECT_SECONDS), **endpoint.options}
    return replace(endpoint, options=options)


def _plans(conn: pymysql.Connection[Any], folder: Path) -> Mapping[TableName, TablePlan]:
    carried = {name: m for name, m in read_all(folder).items() if m.target is not None}
    plans: dict[TableName, TablePlan] = {}
    for schema in sorted({name.schema for name in carried}):
        tables = read_catalog(conn, schema, {n.table for n in carried if n.schema == schema})
        plans |= {name: compile_table(carried[name], table) for name, table in tables.items()}
    return plans
