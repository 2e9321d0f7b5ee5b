"""What ``dbbridge check`` looks for where changes come through Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql

from bridge.capture.debezium.advice import Capturing, judge_capture, makes_snapshot
from bridge.capture.debezium.captured import captures_table
from bridge.capture.debezium.naming import topic_of
from bridge.capture.debezium.settings import judge, judge_tables, read_settings
from bridge.capture.debezium.topics import Topic, judge_topic
from bridge.capture.dialect import logs_cascades
from bridge.capture.findings import scan_table
from bridge.capture.findings.connector import position_findings
from bridge.capture.findings.events import date_probes, limit_of, size_probes, zero_probes
from bridge.capture.findings.probes import Probe
from bridge.capture.findings.topics import may_join, read_topics
from bridge.config import Settings
from bridge.databases.connect import ConnectClient
from bridge.databases.kafka import KafkaEndpoint
from bridge.databases.reach import reachable
from bridge.errors import ConfigError
from bridge.findings import Finding, finding
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.table import SourceTable

_SNAPSHOTS = frozenset({"K016", "K017"})
"""Findings about rows of Debezium's snapshots, which do not matter where the bridge copies."""


@dataclass(frozen=True)
class KafkaSurvey:
    """What was asked of Kafka Connect and of the cluster, once."""

    capturing: Capturing
    topics: Mapping[str, Topic]
    state: tuple[Finding, ...]
    """What the connector's state and the account's rights say."""
    offset: Mapping[str, Any] | None
    """How far the connector is, as Connect has committed it; None: nobody tells."""

    @property
    def schemas(self) -> bool:
        """Whether events embed their schemas."""
        try:
            return read_settings(self.capturing.config, self.capturing.worker).schemas
        except ConfigError:  # `judge` tells what is wrong
            return True

    def probes(self, plan: TablePlan) -> list[Probe]:
        """What is asked of a carried table's rows besides."""
        topic = self.topics.get(self._topic(plan.source))
        capturing = self.capturing
        limit = limit_of(
            capturing.config,
            capturing.worker,
            topic.config if topic else None,
            schemas=self.schemas,
        )
        return [*zero_probes(plan), *date_probes(plan.table), *size_probes(plan.table, limit)]

    def findings(
        self,
        plans: Sequence[TablePlan],
        known: Mapping[TableName, SourceTable],
        carried: Mapping[TableName, SourceTable],
        source: pymysql.Connection[Any],
        *,
        rows: bool,
    ) -> list[Finding]:
        """All but what the carried rows say; `known` are all tables of the database.

        `plans` are those of the carried tables whose mapping compiles. `rows`: those of the other
        tables are looked at as well.
        """
        config, worker = self.capturing.config, self.capturing.worker
        found = list(self.state)
        if config:
            found += judge(config, worker)
            found += judge_capture(self.capturing, plans, known)
            found += self._values(plans)
        found += self._topics(plans, source)
        found += position_findings(source, self.offset or {})
        found += _cascades(carried.values(), source)
        found += _lenient(source)
        scanned = {plan.source for plan in plans}
        for name, table in known.items():
            if rows and name not in scanned:
                found += scan_table(source, table, probes=list(date_probes(table)))
        return found

    def seen(self, found: Iterable[Finding]) -> list[Finding]:
        """All that was found, as it stands where changes come through Kafka."""
        found = list(found)
        counted = {one.table for one in found if one.code == "K015" and one.count is not None}
        kept = []
        for one in found:
            # What a type makes one fear is answered by the rows.
            guess = one.code == "K015" and one.count is None and one.table in counted
            if one.code == "G004":
                kept.append(finding("K039", message=one.message))
            elif one.code != "T009" and not guess:  # K035 is about cascades
                kept.append(one)
        return kept

    def _values(self, plans: Sequence[TablePlan]) -> Iterator[Finding]:
        try:
            settings = read_settings(self.capturing.config, self.capturing.worker)
        except ConfigError:  # K004
            return
        for one in judge_tables(plans, settings):
            if self.capturing.snapshot == "debezium" or one.code not in _SNAPSHOTS:
                yield one

    def _topics(
        self, plans: Sequence[TablePlan], source: pymysql.Connection[Any]
    ) -> Iterator[Finding]:
        for plan in plans:
            name = self._topic(plan.source)
            topic = self.topics.get(name)
            if topic is not None:
                yield from judge_topic(self.capturing.config, plan, topic)
            elif captures_table(self.capturing.config, plan.source) and _has_rows(source, plan):
                yield self._missing(plan.source, name)

    def _missing(self, table: TableName, topic: str) -> Finding:
        said = f"there is no topic {topic}"
        if not makes_snapshot(self.capturing.config):
            message = f"{said}: nothing was written since the connector began"
            return finding("K025", table=str(table), severity="info", message=message)
        done = self.offset is None or (self.offset and not self.offset.get("snapshot"))
        rest = "" if done else "; the connector's snapshot is not done yet"
        return finding("K025", table=str(table), message=f"{said}, and the table has rows{rest}")

    def _topic(self, table: TableName) -> str:
        return topic_of(self.capturing.prefix, table)


def survey_kafka(settings: Settings, tables: Iterable[TableName]) -> KafkaSurvey:
    """Asks the cluster and Kafka Connect about the tables.

    Raises ServerUnreachable, ServerRefused, and ConfigError for an unknown connector.
    """
    capture, endpoint, connect = settings.pipeline.capture, settings.kafka(), settings.connect()
    reachable(endpoint)
    names = [capture.topics, *(topic_of(capture.topics, table) for table in tables)]
    topics = read_topics(endpoint, names)
    state = list(_rights(settings, endpoint, topics))
    told, worker = capture.connector_config, {}
    offset: Mapping[str, Any] | None = None
    if connect is None:
        message = "pipeline.capture.connect is not set"
        rest = "" if told else ", nor connector_config: how it is set is not known either"
        state.append(finding("K021", message=message + rest))
    else:
        client, worker = ConnectClient(connect), told
        told = client.config(capture.connector)
        state += _state(client, capture.connector)
        offset = next(iter(client.offsets(capture.connector)), {})
    capturing = Capturing(told, worker, capture.topics, capture.snapshot)
    return KafkaSurvey(capturing, topics, tuple(state), offset)


def _rights(
    settings: Settings, endpoint: KafkaEndpoint, topics: Mapping[str, Topic]
) -> Iterator[Finding]:
    """The command that gives a right needs the address and login of an administrator besides."""
    user = endpoint.sasl.user if endpoint.sasl else "NAME"
    line = f"kafka-acls --add --allow-principal User:{user} --operation Read"
    hidden = sorted(topic.name for topic in topics.values() if not topic.readable)
    if hidden:
        prefix = settings.pipeline.capture.topics
        hint = (
            f"{line} --operation DescribeConfigs --topic {prefix} --resource-pattern-type prefixed"
        )
        yield finding("K041", message=f"Read on topics: {', '.join(hidden)}", hint=hint)
    silent = sorted(one.name for one in topics.values() if one.readable and one.config is None)
    if silent:
        yield finding("K040", message=f"settings of {', '.join(silent)}")
    if not may_join(endpoint, settings.group):
        message = f"Read on the group {settings.group}"
        yield finding("K041", message=message, hint=f"{line} --group {settings.group}")


def _state(client: ConnectClient, name: str) -> Iterator[Finding]:
    status = client.status(name)
    if status.running:
        return
    tasks = [f"task {i} {state}" for i, state in enumerate(status.tasks) if state != "RUNNING"]
    said = ", ".join([f"connector {name} is {status.state}", *(tasks or ["it has no task"])])
    yield finding("K020", message=f"{said}: {status.trace}" if status.trace else said)


def _has_rows(source: pymysql.Connection[Any], plan: TablePlan) -> bool:
    with source.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {plan.source.mysql} LIMIT 1")
        return cursor.fetchone() is not None


def _cascades(tables: Iterable[SourceTable], source: pymysql.Connection[Any]) -> Iterator[Finding]:
    if logs_cascades(source):
        return
    for table in tables:
        for key in table.foreign_keys:
            if key.cascades:
                actions = [
                    f"ON {word} {action}"
                    for word, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update))
                    if action in ("CASCADE", "SET NULL")
                ]
                message = f"foreign key {key.name} to {key.parent}: {' '.join(actions)}"
                yield finding("K035", table=str(table.name), message=message)


def _lenient(source: pymysql.Connection[Any]) -> Iterator[Finding]:
    if "ALLOW_INVALID_DATES" in _variable(source, "sql_mode").upper():
        message = "sql_mode has ALLOW_INVALID_DATES: such rows may be written at any time"
        yield finding("K034", severity="warning", message=message)


def _variable(source: pymysql.Connection[Any], name: str) -> str:
    with source.cursor() as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES LIKE %s", (name.replace("_", r"\_"),))
        row = cursor.fetchone()
    return str(row[1]) if row else ""
