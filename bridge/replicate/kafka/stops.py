"""A consumer found that a table cannot go on: it says so, unless it may no longer speak."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from bridge.errors import TableStopped
from bridge.replicate.kafka.lanes import Lane
from bridge.replicate.readying import table_stopped
from bridge.store.partitions import fence_table, read_partitions
from bridge.store.state import Connection, Fault, TableState, add_event, leave_stream

log = structlog.get_logger("dbbridge.sync")


def stop_table(
    conn: Connection, pipeline: str, stop: TableStopped, state: TableState, lanes: Sequence[Lane]
) -> bool:
    """Stops the table where it stands, if the lanes' epochs still hold; else somebody else will.

    No transaction that is under way by any of its partitions can commit afterwards. A message that
    nobody can read stops it again when somebody resumes it.
    """
    with conn.transaction():
        fence_table(conn, pipeline, state.source)
        rows = read_partitions(conn, pipeline)
        now = {(row.place, row.generation): row.epoch for row in rows}
        if any(now.get((lane.place, lane.generation)) != lane.epoch + 1 for lane in lanes):
            return False
        leave_stream(conn, pipeline, state, Fault(stop.code, stop.message, stop.hint))
        add_event(conn, pipeline, "stopped", str(state.source), stop.message)
    log.warning("stopped", reason=stop.message, hint=stop.hint)
    return True


def offset_gone(lane: Lane) -> TableStopped:
    """What the lane goes on with is not in Kafka any more."""
    name, (topic, number) = lane.route.name, lane.place
    return table_stopped(
        name,
        "offset-gone",
        f"{topic}[{number}] does not have offset {lane.next} any more, so changes may be lost",
        f"keep messages for longer (retention.ms), then: dbbridge tables resync {name.word}",
    )
