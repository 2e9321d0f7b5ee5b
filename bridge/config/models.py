"""The settings of bridge.yaml, as pydantic checks them."""

from __future__ import annotations

import json
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bridge.config.durations import duration_seconds
from bridge.config.urls import masked_url
from bridge.databases.endpoint import (
    TlsMode,
    tls_mode,
)
from bridge.errors import ConfigError

_CRONTAB = re.compile(r"([0-9*][0-9,/*-]* ){4}[0-9a-z*][0-9a-z,/*-]*")


class Model(BaseModel):
    """No key but the known ones; never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PoolSettings(Model):
    """Connections that an application keeps open to one database."""

    min: int = Field(default=1, ge=0, le=1000)
    max: int = Field(default=8, ge=1, le=1000)
    idle_seconds: float = Field(default=300, gt=0)


class TlsSettings(Model):
    """Encryption; what is not set comes from the URL's options."""

    mode: TlsMode | None = None
    ca: str = ""
    cert: str = ""
    key: str = ""

    @field_validator("mode", mode="before")
    @classmethod
    def _any_usual_word(cls, value: object) -> object:
        try:
            return tls_mode(value) if isinstance(value, str) else value
        except ConfigError as error:
            raise ValueError(f"{error.message}: {error.hint}") from error


class DatabaseSettings(Model):
    """One named database."""

    url: str
    pool: PoolSettings = PoolSettings()
    tls: TlsSettings = TlsSettings()

    def __repr__(self) -> str:
        return f"DatabaseSettings({masked_url(self.url)!r})"

    __str__ = __repr__


class SaslSettings(Model):
    """Login at Kafka's brokers; `mechanism` '' for none."""

    mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    user: str = ""
    password: str = Field(default="", repr=False)


class CaptureSettings(Model):
    """How changes are captured: from the source's log, or from what Debezium wrote to Kafka.

    All but `kind` are Kafka's. `topics`: Debezium's topic.prefix. `group`: the consumers' group, ''
    for a name made of the pipeline's. `connect`: URL of Kafka Connect's REST interface, where
    `connector` runs. `connector_config`: its properties, or the worker's converter settings, where
    that interface does not tell them. `snapshot`: whose first copy fills the tables.
    """

    kind: Literal["binlog", "kafka"] = "binlog"
    brokers: str = ""
    topics: str = ""
    group: str = ""
    connect: str = Field(default="", repr=False)
    connector: str = ""
    connector_config: dict[str, str] = Field(default={}, repr=False)
    snapshot: Literal["bridge", "debezium"] = "bridge"
    tls: TlsSettings = TlsSettings()
    sasl: SaslSettings = SaslSettings()

    @field_validator("connector_config", mode="before")
    @classmethod
    def _as_properties(cls, value: object) -> object:
        """YAML's true and 1000 are what properties spell ``true`` and ``1000``."""
        if not isinstance(value, dict):
            return value
        return {
            name: json.dumps(each) if isinstance(each, (bool, int)) else each
            for name, each in value.items()
        }


class HeartbeatSettings(Model):
    """A small table in the source that the daemon may write to, so that it can tell the lag."""

    table: str = Field(pattern=r"^[^.]+\.[^.]+$")
    seconds: float = Field(default=1.0, ge=0.1, le=3600)


class PipelineSettings(Model):
    """What goes from where to where. `name` is '' until it is known to be the source database's.

    `copy_via`: who reads the rows of a copy, the daemon's own threads or workers of Celery.
    """

    name: str = Field(default="", max_length=63)
    source: str
    copy_from: str = ""
    copy_via: Literal["local", "celery"] = "local"
    target: str
    mappings: str = "mappings/"
    capture: CaptureSettings = CaptureSettings()
    heartbeat: HeartbeatSettings | None = None


class VerifySettings(Model):
    """How `verify` reads: over which databases, and what makes it wait.

    `source`, `target`: replicas that sweeps read instead of the pipeline's databases.
    `threads_running`: sweeps wait while more statements run on a server that they read.
    `replica`: a database whose replication must not be more than `replica_lag` seconds behind.
    `statement_seconds`: the longest that one statement of a sweep may take.
    """

    source: str = ""
    target: str = ""
    threads_running: int | None = Field(default=None, ge=1, le=100_000)
    replica: str = ""
    replica_lag: float = Field(default=10.0, ge=1, le=86_400)
    statement_seconds: float | None = Field(default=None, ge=0.1, le=3600)


class ScheduleSettings(Model):
    """What `dbbridge worker --beat` starts by itself.

    `verify`: ``6h`` (also ``90m``, ``2d``), or five fields as in a crontab, in UTC; '' never.
    `follow`: seconds between two looks at what the stream has changed.
    """

    verify: str = ""
    level: Literal["counts", "checksums", "values"] = "values"
    certify: bool = False
    follow: float = Field(default=30.0, ge=1, le=3600)

    @field_validator("verify")
    @classmethod
    def _known_form(cls, value: str) -> str:
        if value and not (duration_seconds(value) or _CRONTAB.fullmatch(value)):
            raise ValueError("it is like 6h, 90m or 2d, or a crontab's five fields: 0 3 * * 0")
        return value

    @property
    def every(self) -> float | None:
        """Seconds between two verifications; None where `verify` is a crontab's, or ''."""
        return duration_seconds(self.verify)


class CelerySettings(Model):
    """How verification is spread over workers. `broker` '' where it is not.

    `part_rows`: a table with a key that begins with an integer is cut in parts of about so many
    rows; smaller ones spread better and cost more.
    """

    broker: str = ""
    tls: TlsSettings = TlsSettings()
    part_rows: int = Field(default=500_000, ge=100, le=1_000_000_000)
    schedule: ScheduleSettings = ScheduleSettings()

    def __repr__(self) -> str:
        return f"CelerySettings({masked_url(self.broker)!r})"

    __str__ = __repr__


class TokenSettings(Model):
    """A caller of the proxy. `allow`: ``TABLE:VERB,…``, ``*`` for all tables or all verbs."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    token: str = Field(min_length=1, repr=False)
    allow: tuple[str, ...]

    @field_validator("allow")
    @classmethod
    def _known_verbs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            table, _, verbs = each.rpartition(":")
            unknown = set(verbs.split(",")) - {"*", "read", "insert", "update", "delete"}
            if not table or unknown:
                raise ValueError(f"“{each}” is not like orders:read,insert,update,delete or *:read")
        return value


class ProxyTlsSettings(Model):
    """The proxy's own certificate and key, files in PEM form."""

    cert: str = ""
    key: str = ""


class ProxyLimits(Model):
    """What a caller of the proxy may ask for, and how long it is waited for."""

    body_bytes: int = Field(default=1_048_576, ge=1024, le=1_073_741_824)
    operations: int = Field(default=500, ge=1, le=10_000)
    requests_per_second: float = Field(default=0, ge=0, le=1_000_000)
    threads: int = Field(default=16, ge=1, le=200)
    wait_seconds: float = Field(default=5, ge=0, le=60)
    lag_seconds: float = Field(default=10, ge=0.1, le=86_400)
    remember_hours: float = Field(default=24, ge=0.1, le=720)


class ProxySettings(Model):
    """The HTTP service. `source`, `target`: databases whose accounts write, '' the pipeline's."""

    listen: str = Field(default="127.0.0.1:8080", pattern=r"^.+:\d{1,5}$")
    unencrypted: bool = False
    source: str = ""
    target: str = ""
    tls: ProxyTlsSettings = ProxyTlsSettings()
    tokens: tuple[TokenSettings, ...] = ()
    limits: ProxyLimits = ProxyLimits()


class File(Model):
    """All of bridge.yaml."""

    databases: dict[str, DatabaseSettings]
    pipeline: PipelineSettings
    verify: VerifySettings = VerifySettings()
    celery: CelerySettings = CelerySettings()
    proxy: ProxySettings = ProxySettings()
