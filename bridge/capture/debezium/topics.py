"""What is wrong with the topics of tables: partitions, and how long they hold messages (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bridge.capture.debezium.captured import message_keys
from bridge.capture.debezium.settings import exactly_once
from bridge.findings import Finding, finding
from bridge.mapping.plan import TablePlan

RETENTION_MS = 2 * 86_400_000
"""Two days; less is too short for most copies and pauses."""
RETENTION_BYTES = 1 << 30
"""Of one partition."""

Config = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster tells it.

    `config` None: the account may not look at it. `readable`: it may read messages; one that may
    not even know of the topic gets 0 `partitions`, whether there is one or not.
    """

    name: str
    partitions: int
    replicas: int
    config: Config | None = None
    readable: bool = True


def judge_topic(config: Config, plan: TablePlan, topic: Topic) -> list[Finding]:
    """What the topic does to a table's changes; `config` is the connector's."""
    found = [*_partitions(config, plan, topic)]
    if not plan.key and not exactly_once(config):
        found.append(finding("K043", table=str(plan.source)))
    if topic.config is not None:
        found += [*_kept(plan, topic, topic.config), *_replicas(plan, topic, topic.config)]
    return found


def _partitions(config: Config, plan: TablePlan, topic: Topic) -> Iterator[Finding]:
    if topic.partitions <= 1:
        return
    table, said = str(plan.source), f"{topic.name} has {topic.partitions} partitions"
    if not plan.key:
        yield finding("K027", table=table, message=said)
        return
    key = tuple(column.source.name for column in plan.key_columns)
    keys = message_keys(config, plan.table)
    # A key made of some of the row's key columns keeps a row's changes together as well.
    if not all(each and set(each) <= set(key) for each in keys):
        named = " or ".join(sorted(", ".join(each) or "none" for each in keys))
        message = f"{said}; the key of messages is {named}, the table's {', '.join(key)}"
        yield finding("K028", table=table, message=message)
    unique = [index.name for index in plan.indexes if index.unique]
    if unique:
        yield finding("K029", table=table, message=f"{said}; unique: {', '.join(unique)}")


def _kept(plan: TablePlan, topic: Topic, config: Config) -> Iterator[Finding]:
    table, policy = str(plan.source), config.get("cleanup.policy", "delete")
    if "delete" in policy:
        kept, most = _number(config, "retention.ms"), _number(config, "retention.bytes")
        if 0 <= kept < RETENTION_MS:
            message = f"{topic.name} keeps messages for {kept / 3_600_000:,.1f} hours"
            yield finding("K030", table=table, message=message, fact=kept)
        if 0 <= most < RETENTION_BYTES:
            message = f"{topic.name} keeps {most / 10**6:,.1f} MB of a partition, however new"
            yield finding("K030", table=table, message=message, fact=most)
    if "compact" in policy:
        kept = _number(config, "delete.retention.ms")
        message = f"{topic.name} is compacted, deletes stay for {kept / 3_600_000:,.1f} hours"
        worse = kept < RETENTION_MS or not plan.key
        severity = "error" if worse else "warning"
        yield finding("K031", table=table, severity=severity, message=message, fact=kept)


def _replicas(plan: TablePlan, topic: Topic, config: Config) -> Iterator[Finding]:
    safe = _number(config, "min.insync.replicas")
    said = []
    if topic.replicas == 1:
        said.append("it has one replica")
    elif safe == 1:
        said.append(f"min.insync.replicas is 1 of {topic.replicas} replicas")
    if config.get("unclean.leader.election.enable") == "true":
        said.append("unclean.leader.election.enable is true")
    if said:
        message = f"{topic.name}: {', '.join(said)}"
        yield finding("K032", table=str(plan.source), message=message)


def _number(config: Config, name: str) -> int:
    """A setting's value, -1 for none (as Kafka has it for no limit)."""
    text = config.get(name, "")
    return int(text) if text.lstrip("-").isdigit() else -1
