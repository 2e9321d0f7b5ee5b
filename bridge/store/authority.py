"""Who has authority over a group of tables, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bridge.names import TableName
from bridge.store.state import Connection, Q

Side = Literal["source", "target", "closed"]
Mode = Literal["cdc", "shadow", "provisional"]


@dataclass(frozen=True, slots=True)
class Authority:
    """The row of a group on one side; `reads_percent` of reads may go to the target before it."""

    group: str
    epoch: int
    side: Side = "source"
    mode: Mode = "cdc"
    reads_percent: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "group": self.group,
            "epoch": self.epoch,
            "authority": self.side,
            "mode": self.mode,
            "reads_percent": self.reads_percent,
        }


def read_authorities(conn: Connection, pipeline: str) -> tuple[Authority, ...]:
    """The target's rows, by the names of their groups."""
    rows = conn.execute(Q["groups"], {"pipeline": pipeline}).fetchall()
    return tuple(
        Authority(group, epoch, side, mode, reads) for group, side, mode, epoch, reads in rows
    )


def group_of(table: TableName, mapping: Mapping[str, Any]) -> str:
    """The group that a kept mapping names; a table without one is a group of its own."""
    return str(mapping.get("group") or table.table)
