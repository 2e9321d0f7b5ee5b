"""Configurations of Debezium's connectors, such as dbbridge reads them without loss.

What the settings do to values: Debezium's documentation, "Data type mappings" of each connector.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from compose.local.launch import HOST

SERVER_IDS = range(1_000_000, 2**31)
"""Where a connector's id as a replica is drawn from."""

# Exact values, and an error rather than a value that is not the row's: Debezium's own defaults
# put NULL or the column's default where a value cannot be represented.
EXACT = {
    "decimal.handling.mode": "string",
    "binary.handling.mode": "base64",
    "time.precision.mode": "adaptive_time_microseconds",
    "bigint.unsigned.handling.mode": "long",
    "enable.time.adjuster": "false",
    "event.converting.failure.handling.mode": "fail",
    "key.converter.replace.null.with.default": "false",
    "value.converter.replace.null.with.default": "false",
}
# Truncations and tombstones are sent; transactions are told apart.
WHOLE = {
    "skipped.operations": "none",
    "tombstones.on.delete": "true",
    "provide.transaction.metadata": "true",
    "include.schema.changes": "true",
}
_JSON = "org.apache.kafka.connect.json.JsonConverter"
_OF_KIND = {
    "mysql": {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        # caching_sha2_password over a connection without TLS
        "driver.allowPublicKeyRetrieval": "true",
    },
    "mariadb": {"connector.class": "io.debezium.connector.mariadb.MariaDbConnector"},
}


def source(
    url: str,
    *,
    prefix: str,
    bootstrap: str,
    kind: str = "mysql",
    tables: Sequence[str] = (),
    snapshot: str = "initial",
    schemas: bool = False,
    partitions: int = 1,
    heartbeat: int = 1000,
    exactly_once: bool = False,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """A connector for one database, which the URL names: ``mysql://user:password@host:port/db``.

    Topics are called ``prefix.database.table``; ``prefix`` is also to be the only one of its name
    on the broker. ``tables`` are names without the database, all of them if none is given.
    ``schemas`` embeds schemas into messages, ``heartbeat`` is in ms, ``snapshot`` is the
    connector's ``snapshot.mode``; ``exactly_once`` refuses workers that do not provide for it.
    Overrides win.
    """
    parts = urlsplit(url)
    database = unquote(parts.path.lstrip("/"))
    return {
        **_OF_KIND[kind],
        "tasks.max": "1",
        "database.hostname": parts.hostname or HOST,
        "database.port": str(parts.port or 3306),
        "database.user": unquote(parts.username or ""),
        "database.password": unquote(parts.password or ""),
        "database.server.id": str(random.choice(SERVER_IDS)),
        "database.include.list": re.escape(database),
        **_captured(database, tables),
        "topic.prefix": prefix,
        "topic.creation.default.partitions": str(partitions),
        "topic.creation.default.replication.factor": "1",
        "schema.history.internal.kafka.bootstrap.servers": bootstrap,
        "schema.history.internal.kafka.topic": f"{prefix}.history",
        # definitions elsewhere on the server are nothing that should be able to fail it
        "schema.history.internal.store.only.captured.databases.ddl": "true",
        "snapshot.mode": snapshot,
        "heartbeat.interval.ms": str(heartbeat),
        # The source says that it is idle after 0.8 of this time (ms), and only then does a
        # connector tell that it has come to the log's end.
        "connect.keep.alive.interval.ms": "2500",
        "poll.interval.ms": "50",
        **EXACT,
        **WHOLE,
        **({"exactly.once.support": "required"} if exactly_once else {}),
        **_converters(schemas),
        **(overrides or {}),
    }


def _captured(database: str, tables: Sequence[str]) -> dict[str, str]:
    """Lists are of regular expressions that have to match the whole name."""
    if not tables:
        return {}
    names = (rf"{re.escape(database)}\.{re.escape(table)}" for table in tables)
    return {"table.include.list": ",".join(names)}


def _converters(schemas: bool) -> dict[str, str]:
    enable = str(schemas).lower()
    return {
        "key.converter": _JSON,
        "key.converter.schemas.enable": enable,
        "value.converter": _JSON,
        "value.converter.schemas.enable": enable,
    }
