"""Which tables and partitions there are to be followed now, out of the control schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.names import TableName
from bridge.store.partitions import PartitionState, Place, read_partitions
from bridge.store.state import Connection, TableState, read_tables

FOLLOWED = ("catching-up", "streaming")


@dataclass(frozen=True, slots=True)
class Work:
    """`tables` by name, each in the generation that takes changes in; `places` are theirs.

    `topics` are all that the pipeline knows, also of tables that stand still.
    """

    tables: Mapping[TableName, TableState]
    places: Mapping[Place, PartitionState]
    topics: frozenset[str]

    def partitions(self) -> Counter[TableName]:
        """How many each table's topic has."""
        return Counter(place.table for place in self.places.values())

    def versions(self) -> frozenset[tuple[TableName, int, TableName, str, int]]:
        """What the decoders and targets of the tables depend on."""
        partitions = self.partitions()
        return frozenset(
            (name, state.generation, state.target, state.version, partitions[name])
            for name, state in self.tables.items()
        )


def read_work(conn: Connection, pipeline: str) -> Work:
    """One look. A table that is copied again takes changes in its new generation once that can.

    One whose indexes are built is left out: a batch that waited for it would hold up all others.
    """
    newest: dict[TableName, TableState] = {}
    for state in read_tables(conn, pipeline):  # oldest generation first
        if state.stage in FOLLOWED and state.active:
            newest[state.source] = state
    tables = {name: state for name, state in newest.items() if not state.indexing}
    rows = read_partitions(conn, pipeline)
    places = {
        row.place: row
        for row in rows
        if row.partition >= 0
        and row.table in tables
        and tables[row.table].generation == row.generation
    }
    return Work(tables, places, frozenset(row.topic for row in rows))
