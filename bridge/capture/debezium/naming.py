"""What Debezium's connector calls the topics of tables, and what shall not happen to their names.

Source: Debezium's documentation, MySQL connector, "Topic names"; names of 3.6.1, tried out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from bridge.names import TableName

STRATEGY = "io.debezium.schema.DefaultTopicNamingStrategy"
ROUTER = "org.apache.kafka.connect.transforms.RegexRouter"
_ILLEGAL = re.compile(r"[^a-zA-Z0-9._-]")
_GROUP = re.compile(r"\$(\d+)")

Config = Mapping[str, str]


def topic_of(prefix: str, table: TableName) -> str:
    """The topic of a table's changes under `STRATEGY` and without transformations.

    Each character that Kafka does not take becomes an underscore.
    """
    return _ILLEGAL.sub("_", f"{prefix}.{table.schema}.{table.table}")


def collisions(prefix: str, tables: Iterable[TableName]) -> Iterator[tuple[TableName, ...]]:
    """Tables whose topics cannot be beside each other.

    Of the same name, they are one topic, and the connector does not mind. Of names that differ in
    dots and underscores alone, Kafka refuses the second one, and the connector fails.
    """
    found: dict[str, list[TableName]] = {}
    for table in tables:
        found.setdefault(topic_of(prefix, table).replace(".", "_"), []).append(table)
    yield from (tuple(sorted(each, key=str)) for each in found.values() if len(each) > 1)


def rerouted(config: Config, topic: str) -> str:
    """The topic's name behind the connector's transformations of names; raises re.error.

    Java's expressions mostly mean the same here.
    """
    for name in names_in(config.get("transforms", "")):
        if config.get(f"transforms.{name}.type") == ROUTER:
            pattern = config.get(f"transforms.{name}.regex", "")
            replacement = _GROUP.sub(r"\\\1", config.get(f"transforms.{name}.replacement", ""))
            match = re.fullmatch(pattern, topic)
            topic = match.expand(replacement) if match else topic
    return topic


def names_in(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part for part in (each.strip() for each in text.split(",")) if part]
