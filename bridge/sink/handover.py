"""Markers of a switch, and writes around its fence, as the applier writes them down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from bridge.change.batch import Batch, Handover
from bridge.store.state import Q, add_event


def hand_over(conn: psycopg.Connection[Any], pipeline: str, handovers: Sequence[Handover]) -> None:
    """Puts the markers' tables into their stage, in the transaction that applies what was before.

    What a switch waits for: from this commit on nothing of before the marker is missing, and
    nothing that comes behind it is applied (or all is again).
    """
    for handover in handovers:
        conn.execute(
            Q["hand_over"],
            {
                "pipeline": pipeline,
                "schemas": [name.schema for name in handover.tables],
                "tables": [name.table for name in handover.tables],
                "stage": "streaming" if handover.live else "switched",
                "marker": handover.number,
            },
        )


def tell_violations(conn: psycopg.Connection[Any], pipeline: str, batch: Batch) -> None:
    """Counts writes that went around the fence; the first to a table is an event."""
    for name, n in batch.violations.items():
        names = {"pipeline": pipeline, "schema": name.schema, "table": name.table, "n": n}
        total = conn.execute(Q["violate"], names).fetchone()
        if total == (n,):
            add_event(
                conn,
                pipeline,
                "fence-violation",
                str(name),
                f"changed on the source, which has no authority over it (at {batch.position})",
            )
