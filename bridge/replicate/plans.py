"""Which plan holds for which table: the mapping that was applied, or the files as they are now.

A table goes on with the mapping it was begun with, which the control schema keeps; an edited file
takes effect when the table is copied again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pymysql

from bridge.capture.catalog import read_catalog
from bridge.errors import BridgeError, MappingError, TableStopped
from bridge.mapping.compile import compile_table
from bridge.mapping.model import TableMapping, from_document, to_document
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.store.state import TableState
from bridge.types.table import SourceTable


class Planner:
    """Compiles mappings against the source's catalogue, which `refresh` reads."""

    def __init__(
        self,
        source: Callable[[], pymysql.Connection[Any]],
        read_mappings: Callable[[], Mapping[TableName, TableMapping]],
    ) -> None:
        self._source = source
        self._read_mappings = read_mappings
        self._files: Mapping[TableName, TableMapping] = {}
        self._tables: dict[TableName, SourceTable] = {}
        self._applied: dict[tuple[TableName, int], TablePlan] = {}

    def refresh(self, also: Iterable[TableName] = ()) -> None:
        """Reads the mapping files and the catalogue of their tables (and of those in `also`)."""
        self._files = {
            name: mapping
            for name, mapping in self._read_mappings().items()
            if mapping.target is not None
        }
        self._tables = self._catalogue({*self._files, *also})
        self._applied.clear()

    def carried(self) -> list[TableName]:
        """Every table that the files carry."""
        return list(self._files)

    def from_file(self, name: TableName) -> tuple[TablePlan, dict[str, Any]]:
        """One table's plan and document as the files are now; raises MappingError."""
        mapping = self._files.get(name)
        if mapping is None:
            raise MappingError(f"no mapping file carries {name}", "write one: dbbridge init")
        return compile_table(mapping, self._known(name)), to_document(mapping)

    def differs(self, state: TableState) -> bool:
        """Whether the file says something else than the mapping that the table goes on with."""
        mapping = self._files.get(state.source)
        return mapping is not None and to_document(mapping) != state.mapping

    def edited(self, state: TableState) -> bool:
        """Whether the file says something else by now; raises MappingError."""
        mapping = self._read_mappings().get(state.source)
        return mapping is not None and to_document(mapping) != state.mapping

    def applied(self, state: TableState) -> TablePlan:
        """The plan that a table goes on with.

        Raises TableStopped if the source's definition is no longer the one that it was made for:
        some DDL lies between the table's frontier and now.
        """
        key = (state.source, state.generation)
        plan = self._applied.get(key)
        if plan is None:
            try:
                plan = compile_table(from_document(state.mapping), self._known(state.source))
            except TableStopped:
                raise
            except BridgeError as error:
                raise _changed(state.source, error.message) from error
            self._applied[key] = plan
        return plan

    def source_table(self, state: TableState) -> SourceTable | None:
        """The catalogue's entry; None if the table is gone."""
        return self._tables.get(state.source)

    def changed_since(self, names: Iterable[TableName]) -> list[TableName]:
        """Reads the catalogue again: the tables whose definition is not the one compiled before.

        Called after the position was noted from which these tables' streams will begin, so that
        every later change of definition is in the stream.
        """
        now = self._catalogue(set(names))
        return [
            name
            for name in names
            if name not in now or now[name].fingerprint != self._known(name).fingerprint
        ]

    def _known(self, name: TableName) -> SourceTable:
        if name not in self._tables:
            raise _changed(name, f"there is no table {name} in the source")
        return self._tables[name]

    def _catalogue(self, names: set[TableName]) -> dict[TableName, SourceTable]:
        found: dict[TableName, SourceTable] = {}
        conn = self._source()
        try:
            for database in sorted({name.schema for name in names}):
                wanted = {name.table for name in names if name.schema == database}
                found |= read_catalog(conn, database, wanted)
        finally:
            conn.close()
        return found


def _changed(name: TableName, what: str) -> TableStopped:
    stop = TableStopped(
        what,
        "bring the mapping up to date with dbbridge init, then:"
        f" dbbridge tables resync {name.word}",
        "definition-changed",
    )
    stop.table = name
    return stop
