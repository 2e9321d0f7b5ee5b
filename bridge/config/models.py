"""The settings of bridge.yaml, with types, limits and defaults; `bridge.config.checked` reads them.

Msgspec's structures, since every verb waits for them: pydantic takes a tenth of a second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from bridge.config.durations import duration_seconds
from bridge.config.urls import masked_url
from bridge.databases.endpoint import TlsMode, tls_mode
from bridge.errors import ConfigError

_CRONTAB = re.compile(r"([0-9*][0-9,/*-]* ){4}[0-9a-z*][0-9a-z,/*-]*")


@dataclass(frozen=True, slots=True)
class Read:
    """Makes a value of what the file has, before its type is looked at; may raise ValueError."""

    by: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Check:
    """Raises ValueError for a value of the right type that is wrong all the same."""

    by: Callable[[Any], None]


class Model(msgspec.Struct, frozen=True):
    """Some settings. `hidden` ones may hold secrets and are not printed."""

    hidden: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        shown = [name for name in self.__struct_fields__ if name not in self.hidden]
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"


class PoolSettings(Model, frozen=True):
    """Connections that an application keeps open to one database."""

    min: Annotated[int, Meta(ge=0, le=1000)] = 1
    max: Annotated[int, Meta(ge=1, le=1000)] = 8
    idle_seconds: Annotated[float, Meta(gt=0)] = 300


def _any_usual_word(value: object) -> object:
    try:
        return tls_mode(value) if isinstance(value, str) else value
    except ConfigError as error:
        raise ValueError(f"{error.message}: {error.hint}") from error


class TlsSettings(Model, frozen=True):
    """Encryption; what is not set comes from the URL's options."""

    mode: Annotated[TlsMode | None, Read(_any_usual_word)] = None
    ca: str = ""
    cert: str = ""
    key: str = ""


class DatabaseSettings(Model, frozen=True):
    """One named database."""

    url: str
    pool: PoolSettings = PoolSettings()
    tls: TlsSettings = TlsSettings()

    def __repr__(self) -> str:
        return f"DatabaseSettings({masked_url(self.url)!r})"


class SaslSettings(Model, frozen=True):
    """Login at Kafka's brokers; `mechanism` '' for none."""

    hidden = frozenset({"password"})

    mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    user: str = ""
    password: str = ""


def _as_properties(value: object) -> object:
    """YAML's true and 1000 are what properties spell ``true`` and ``1000``."""
    if not isinstance(value, dict):
        return value
    return {
        name: json.dumps(each) if isinstance(each, (bool, int)) else each
        for name, each in value.items()
    }


class CaptureSettings(Model, frozen=True):
    """How changes are captured: from the source's log, or from what Debezium wrote to Kafka.

    All but `kind` are Kafka's. `topics`: Debezium's topic.prefix. `group`: the consumers' group, ''
    for a name made of the pipeline's. `connect`: URL of Kafka Connect's REST interface, where
    `connector` runs. `connector_config`: its properties, or the worker's converter settings, where
    that interface does not tell them. `snapshot`: whose first copy fills the tables.
    """

    hidden = frozenset({"connect", "connector_config"})

    kind: Literal["binlog", "kafka"] = "binlog"
    brokers: str = ""
    topics: str = ""
    group: str = ""
    connect: str = ""
    connector: str = ""
    connector_config: Annotated[dict[str, str], Read(_as_properties)] = {}
    snapshot: Literal["bridge", "debezium"] = "bridge"
    tls: TlsSettings = TlsSettings()
    sasl: SaslSettings = SaslSettings()


class HeartbeatSettings(Model, frozen=True):
    """A small table in the source that the daemon may write to, so that it can tell the lag."""

    table: Annotated[str, Meta(pattern=r"^[^.]+\.[^.]+\Z")]
    seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 1.0


class PipelineSettings(Model, frozen=True, kw_only=True):
    """What goes from where to where. `name` is '' until it is known to be the source database's.

    `copy_via`: who reads the rows of a copy, the daemon's own threads or workers of Celery.
    """

    name: Annotated[str, Meta(max_length=63)] = ""
    source: str
    copy_from: str = ""
    copy_via: Literal["local", "celery"] = "local"
    target: str
    mappings: str = "mappings/"
    capture: CaptureSettings = CaptureSettings()
    heartbeat: HeartbeatSettings | None = None


class VerifySettings(Model, frozen=True):
    """How `verify` reads: over which databases, and what makes it wait.

    `source`, `target`: replicas that sweeps read instead of the pipeline's databases.
    `threads_running`: sweeps wait while more statements run on a server that they read.
    `replica`: a database whose replication must not be more than `replica_lag` seconds behind.
    `statement_seconds`: the longest that one statement of a sweep may take.
    """

    source: str = ""
    target: str = ""
    threads_running: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    replica: str = ""
    replica_lag: Annotated[float, Meta(ge=1, le=86_400)] = 10.0
    statement_seconds: Annotated[float, Meta(ge=0.1, le=3600)] | None = None


def _is_a_schedule(value: str) -> None:
    if value and not (duration_seconds(value) or _CRONTAB.fullmatch(value)):
        raise ValueError("it is like 6h, 90m or 2d, or a crontab's five fields: 0 3 * * 0")


class ScheduleSettings(Model, frozen=True):
    """What `dbbridge worker --beat` starts by itself.

    `verify`: ``6h`` (also ``90m``, ``2d``), or five fields as in a crontab, in UTC; '' never.
    `follow`: seconds between two looks at what the stream has changed.
    """

    verify: Annotated[str, Check(_is_a_schedule)] = ""
    level: Literal["counts", "checksums", "values"] = "values"
    certify: bool = False
    follow: Annotated[float, Meta(ge=1, le=3600)] = 30.0

    @property
    def every(self) -> float | None:
        """Seconds between two verifications; None where `verify` is a crontab's, or ''."""
        return duration_seconds(self.verify)


class CelerySettings(Model, frozen=True):
    """How verification is spread over workers. `broker` '' where it is not.

    `part_rows`: a table with a key that begins with an integer is cut in parts of about so many
    rows; smaller ones spread better and cost more.
    """

    broker: str = ""
    tls: TlsSettings = TlsSettings()
    part_rows: Annotated[int, Meta(ge=100, le=1_000_000_000)] = 500_000
    schedule: ScheduleSettings = ScheduleSettings()

    def __repr__(self) -> str:
        return f"CelerySettings({masked_url(self.broker)!r})"


def _are_permissions(value: tuple[str, ...]) -> None:
    for each in value:
        table, _, verbs = each.rpartition(":")
        unknown = set(verbs.split(",")) - {"*", "read", "insert", "update", "delete"}
        if not table or unknown:
            raise ValueError(f"“{each}” is not like orders:read,insert,update,delete or *:read")


class TokenSettings(Model, frozen=True):
    """A caller of the proxy. `allow`: ``TABLE:VERB,…``, ``*`` for all tables or all verbs."""

    hidden = frozenset({"token"})

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
    token: Annotated[str, Meta(min_length=1)]
    allow: Annotated[tuple[str, ...], Check(_are_permissions)]


class ProxyTlsSettings(Model, frozen=True):
    """The proxy's own certificate and key, files in PEM form."""

    cert: str = ""
    key: str = ""


class ProxyLimits(Model, frozen=True):
    """What a caller of the proxy may ask for, and how long it is waited for."""

    body_bytes: Annotated[int, Meta(ge=1024, le=1_073_741_824)] = 1_048_576
    operations: Annotated[int, Meta(ge=1, le=10_000)] = 500
    requests_per_second: Annotated[float, Meta(ge=0, le=1_000_000)] = 0
    threads: Annotated[int, Meta(ge=1, le=200)] = 16
    wait_seconds: Annotated[float, Meta(ge=0, le=60)] = 5
    lag_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 10
    remember_hours: Annotated[float, Meta(ge=0.1, le=720)] = 24


class ProxySettings(Model, frozen=True):
    """The HTTP service. `source`, `target`: databases whose accounts write, '' the pipeline's."""

    listen: Annotated[str, Meta(pattern=r"^.+:\d{1,5}\Z")] = "127.0.0.1:8080"
    unencrypted: bool = False
    source: str = ""
    target: str = ""
    tls: ProxyTlsSettings = ProxyTlsSettings()
    tokens: tuple[TokenSettings, ...] = ()
    limits: ProxyLimits = ProxyLimits()


FenceChoice = Literal["auto", "read_only", "revoke", "lock_account", "none"]


def _no_rename(value: object) -> object:
    if value == "rename":
        raise ValueError(
            "tables are not renamed, since the final check and the stream back would not find"
            " them either; revoke or lock_account keep the same writers out"
        )
    return value


Survivors = Literal["end", "wait"]


class HookSettings(Model, frozen=True):
    """Commands of the operator's around a switch, '' for none; `seconds` is the longest of each."""

    before_fence: str = ""
    after_flip: str = ""
    on_abort: str = ""
    seconds: Annotated[float, Meta(ge=0.1, le=600)] = 10


def _are_accounts(value: tuple[str, ...] | None) -> None:
    for each in value or ():
        if not re.fullmatch(r"[^@]*@\S+|[^@\s]+", each):
            raise ValueError(f"“{each}” is not like app@% or, for a role without host, app")


AccountNames = Annotated[tuple[str, ...] | None, Check(_are_accounts)]


class GroupCutoverSettings(Model, frozen=True):
    """What is otherwise for one group of tables; None is as for all."""

    fence: Annotated[FenceChoice | None, Read(_no_rename)] = None
    accounts: AccountNames = None
    roles: tuple[str, ...] | None = None
    survivors: Survivors | None = None
    timeout_seconds: Annotated[float, Meta(ge=1, le=3600)] | None = None
    max_lag_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] | None = None
    max_transaction_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] | None = None


class CutoverSettings(Model, frozen=True):
    """How authority moves. `source`, `target`: databases whose accounts fence, '' the pipeline's.

    `accounts`, `roles`: who is fenced on the source and on the target, None for all who may write.
    `survivors`: what becomes of sessions that stand in the fence's way.
    """

    source: str = ""
    target: str = ""
    fence: Annotated[FenceChoice, Read(_no_rename)] = "auto"
    accounts: AccountNames = None
    roles: tuple[str, ...] | None = None
    survivors: Survivors = "end"
    lock_seconds: Annotated[float, Meta(ge=1, le=60)] = 2
    timeout_seconds: Annotated[float, Meta(ge=1, le=3600)] = 30
    max_lag_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 10
    max_transaction_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 5
    hooks: HookSettings = HookSettings()
    groups: dict[str, GroupCutoverSettings] = {}

    def of(self, group: str) -> CutoverSettings:
        """What holds for one group."""
        own = self.groups.get(group)
        if own is None:
            return self
        given = {name: getattr(own, name) for name in own.__struct_fields__}
        known = {name: value for name, value in given.items() if value is not None}
        return msgspec.structs.replace(self, **known)

    def document(self) -> dict[str, Any]:
        """What holds for all groups, as JSON has it."""
        return {
            name: value for name, value in msgspec.to_builtins(self).items() if name != "groups"
        }


class File(Model, frozen=True):
    """All of bridge.yaml."""

    databases: dict[str, DatabaseSettings]
    pipeline: PipelineSettings
    verify: VerifySettings = VerifySettings()
    celery: CelerySettings = CelerySettings()
    proxy: ProxySettings = ProxySettings()
    cutover: CutoverSettings = CutoverSettings()
