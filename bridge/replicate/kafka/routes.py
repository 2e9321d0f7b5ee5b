"""The decoders and targets of the tables that a consumer may be given partitions of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bridge.capture.debezium.rows import compile_events
from bridge.errors import TableStopped
from bridge.names import TableName
from bridge.replicate.kafka.crew import Work
from bridge.replicate.kafka.lanes import Lane, Route
from bridge.replicate.kafka.post import Post
from bridge.replicate.kafka.stops import stop_table
from bridge.sink.target import Target
from bridge.store.state import Connection


class Routes:
    """Compiled for the tables as one look found them."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._by_table: dict[TableName, Route] = {}
        self._versions: frozenset[Any] = frozenset()

    def __contains__(self, table: object) -> bool:
        return table in self._by_table

    def __getitem__(self, table: TableName) -> Route:
        return self._by_table[table]

    def fit(self, work: Work) -> bool:
        """Whether they were compiled for these tables."""
        return work.versions() == self._versions

    def compile(self, conn: Connection, work: Work, lanes: Collection[Lane]) -> None:
        """For the tables as they are now, and for `lanes` of them; one without is stopped."""
        planner, events = self._post.planner, self._post.events
        planner.refresh(work.tables)
        self._versions, self._by_table = work.versions(), {}
        partitions = work.partitions()
        for name, state in work.tables.items():
            try:
                decoder = compile_events(planner.applied(state), events)
            except TableStopped as stop:
                stop_table(conn, self._post.pipeline, stop, state, [])
                continue
            self._by_table[name] = Route(decoder, partitions[name], events.schemas)
        for lane in lanes:
            lane.follow(self._by_table.get(lane.route.name, lane.route))

    def targets(self, work: Work, lanes: Collection[Lane]) -> list[Target]:
        """What the writer of these lanes writes to."""
        followed = {lane.route.name for lane in lanes}
        return [
            Target(route.decoder.plan, state.generation, state.target, state.quarantined > 0)
            for name, route in self._by_table.items()
            if name in followed and (state := work.tables.get(name)) is not None
        ]
