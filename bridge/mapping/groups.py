"""Tables that switch together: those that foreign keys tie to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.names import TableName
from bridge.types.table import SourceTable


def propose_groups(tables: Iterable[SourceTable]) -> Mapping[TableName, str]:
    """Each table's group, named after the table that most others of the group refer to."""
    known = {table.name: table for table in tables}
    group = {name: {name} for name in known}
    referred = dict.fromkeys(known, 0)
    for name, table in known.items():
        for parent in {key.parent for key in table.foreign_keys if key.parent in known} - {name}:
            referred[parent] += 1
            merged = group[name] | group[parent]
            for member in merged:
                group[member] = merged
    return {
        name: min(members, key=lambda member: (-referred[member], member)).table
        for name, members in group.items()
    }
