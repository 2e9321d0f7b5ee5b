"""Mapping files compiled against the catalogue of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pymysql

from bridge.capture.catalog import read_catalog
from bridge.mapping.compile import compile_table
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.table import SourceTable


def read_plans(
    conn: pymysql.Connection[Any], mappings: Mapping[TableName, TableMapping]
) -> dict[TableName, TablePlan]:
    """The plans of those mappings whose tables are carried, by the catalogue as it is now.

    Raises MappingError, also for a table that the source does not have.
    """
    carried = {name: mapping for name, mapping in mappings.items() if mapping.target is not None}
    catalog: dict[TableName, SourceTable] = {}
    for schema in sorted({name.schema for name in carried}):
        wanted = {name.table for name in carried if name.schema == schema}
        catalog |= read_catalog(conn, schema, wanted)
    plans = {}
    for name, mapping in carried.items():
        if name not in catalog:
            raise mapping.error(
                ("table",),
                f"there is no table {name} in the source",
                "remove the file if the table is gone, or run `dbbridge init` again",
            )
        plans[name] = compile_table(mapping, catalog[name])
    return plans
