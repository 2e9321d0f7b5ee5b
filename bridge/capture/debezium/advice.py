"""How the connector serves a pipeline: what it captures, under which names, and how safely (pure).

What its settings make of values is judged in `bridge.capture.debezium.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bridge.capture.debezium.captured import captures_column, captures_table
from bridge.capture.debezium.naming import (
    ROUTER,
    STRATEGY,
    collisions,
    names_in,
    rerouted,
    topic_of,
)
from bridge.findings import Finding, finding
from bridge.mapping.plan import TablePlan
from bridge.names import TableName

Config = Mapping[str, str]

_WITHOUT_ROWS = frozenset({"no_data", "never", "schema_only", "recovery", "schema_only_recovery"})
_AGAIN = frozenset({"always", "when_needed", "configuration_based", "custom"})
"""Modes that may make a snapshot while the pipeline runs."""
_BLIND = frozenset({"recovery", "schema_only_recovery", "never"})
"""Modes that go on from wherever the log begins, or take definitions of now for those of then."""


@dataclass(frozen=True, slots=True)
class Capturing:
    """A connector and what the pipeline wants of it.

    `worker` holds what the connector's configuration does not tell; `snapshot`: whose first copy
    fills the tables.
    """

    config: Config
    worker: Config
    prefix: str
    snapshot: Literal["bridge", "debezium"]


def judge_capture(
    capturing: Capturing, plans: Sequence[TablePlan], others: Collection[TableName] = ()
) -> list[Finding]:
    """What keeps changes of the tables from coming; `others` are tables that are not carried."""
    config = capturing.config
    found = [
        *_names(capturing, plans),
        *_collisions(capturing, {plan.source for plan in plans}, others),
        *_snapshot(capturing),
    ]
    for plan in plans:
        found += _captured(config, plan)
    acks = config.get("producer.override.acks", capturing.worker.get("producer.acks", "all"))
    if acks not in ("all", "-1"):
        found.append(finding("K036", message=f"the producer's acks is {acks}"))
    if config.get("heartbeat.interval.ms", "0").strip() == "0":
        found.append(finding("K037", message="heartbeat.interval.ms is 0"))
    return found


def makes_snapshot(config: Config) -> bool:
    """Whether the connector sends the rows that are there when it begins."""
    return config.get("snapshot.mode", "initial").strip().lower() not in _WITHOUT_ROWS


def _names(capturing: Capturing, plans: Sequence[TablePlan]) -> Iterator[Finding]:
    config, prefix = capturing.config, capturing.prefix
    chosen = config.get("topic.prefix", "")
    if chosen != prefix:
        message = f"topic.prefix is {chosen}, pipeline.capture.topics {prefix}"
        yield finding("K022", message=message, hint=f"set pipeline.capture.topics to {chosen}")
    for name, default in (("topic.delimiter", "."), ("topic.naming.strategy", STRATEGY)):
        if config.get(name, default) != default:
            yield finding("K022", message=f"{name} is {config[name]}")
    if ROUTER not in {config.get(f"transforms.{name}.type") for name in _transforms(config)}:
        return
    for topic in (prefix, *(topic_of(prefix, plan.source) for plan in plans)):
        try:
            renamed = rerouted(config, topic)
        except re.error:
            yield finding("K022", message="a transformation renames topics; it was not understood")
            return
        if renamed != topic:
            yield finding("K022", message=f"transformations make {renamed} of {topic}")
            return


def _transforms(config: Config) -> list[str]:
    return names_in(config.get("transforms", ""))


def _collisions(
    capturing: Capturing, carried: set[TableName], others: Collection[TableName]
) -> Iterator[Finding]:
    """Only captured tables have topics; where that is not known, all may."""
    prefix = capturing.prefix
    captured = {
        table
        for table in {*carried, *others}
        if captures_table(capturing.config, table) is not False
    }
    for tables in collisions(prefix, captured):
        first = next((table for table in tables if table in carried), tables[0])
        topics = sorted({topic_of(prefix, table) for table in tables})
        rest = ", ".join(str(table) for table in tables if table != first)
        what = "share the topic" if len(topics) == 1 else "would have the topics"
        # Where Kafka refuses one of two topics, the connector fails for all tables.
        if first in carried or len(topics) > 1:
            message = f"{first} and {rest} {what} {', '.join(topics)}"
            yield finding("K026", table=str(first), message=message)


def _snapshot(capturing: Capturing) -> Iterator[Finding]:
    mode = capturing.config.get("snapshot.mode", "initial").strip().lower()
    said = f"snapshot.mode is {mode}"
    if mode == "initial_only":
        yield finding("K038", severity="error", message=f"{said}: no change follows the snapshot")
    elif capturing.snapshot == "debezium" and not makes_snapshot(capturing.config):
        message = f"{said}: no snapshot fills the tables"
        yield finding("K038", severity="error", message=message)
    elif mode in _AGAIN:
        yield finding("K038", message=f"{said}: it may make another snapshot at any start")
    elif mode in _BLIND:
        yield finding("K038", message=f"{said}: it may go on without what is lost")
    elif capturing.snapshot == "bridge" and makes_snapshot(capturing.config):
        message = f"{said}: rows are sent that the bridge copies by itself"
        yield finding("K038", severity="info", message=message)


def _captured(config: Config, plan: TablePlan) -> Iterator[Finding]:
    table = plan.source
    if captures_table(config, table) is False:
        lists = ("database.include.list", "database.exclude.list", "table.include.list")
        said = [f"{name}={config[name]}" for name in lists if config.get(name)]
        yield finding("K023", table=str(table), message="; ".join(said) or "table.exclude.list")
    for column in plan.columns:
        if captures_column(config, table, column.source.name) is False:
            message = "the connector's lists of columns leave it out"
            yield finding("K024", table=str(table), column=column.source.name, message=message)
