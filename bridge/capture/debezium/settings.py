"""The connector's configuration: what it makes of values, and what of it cannot be allowed (pure).

A configuration is what Connect's REST interface gives for a connector. Converters may be set in the
worker instead, which REST does not show: then they have to be told. A converter that the connector
names itself takes none of the worker's settings of it.

Source: Debezium's documentation, MySQL connector, "Connector properties"; KIP-581 and KIP-481 for
the converter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bridge.errors import ConfigError, TableStopped
from bridge.findings import Finding, finding
from bridge.mapping.plan import TablePlan
from bridge.types import family_of
from bridge.types.events import (
    BINARY_MODES,
    DECIMAL_MODES,
    PLACEHOLDER,
    TIME_MODES,
    UNSIGNED_MODES,
    EventSettings,
)

CONNECTORS = frozenset(
    {
        "io.debezium.connector.mysql.MySqlConnector",
        "io.debezium.connector.mariadb.MariaDbConnector",
    }
)
_JSON = "org.apache.kafka.connect.json.JsonConverter"
_MODES = {
    "decimal.handling.mode": ("precise", DECIMAL_MODES),
    "time.precision.mode": ("adaptive_time_microseconds", TIME_MODES),
    "binary.handling.mode": ("bytes", BINARY_MODES),
    "bigint.unsigned.handling.mode": ("long", UNSIGNED_MODES),
}
"""Settings of values: their default, and all that is known."""
_FAILURES = {
    "event.processing.failure.handling.mode": "fail",
    "inconsistent.schema.handling.mode": "fail",
    "event.converting.failure.handling.mode": "warn",
}
"""What the connector does about what it cannot read, by default."""
_PASSING_OVER = {
    "errors.tolerance": "none",
    "schema.history.internal.skip.unparseable.ddl": "false",
}
"""Settings that have to be what they are by default, or events or definitions are left out."""
_CHANGING = ("converters", "post.processors", "snapshot.select.statement.overrides")
_CHANGING_PREFIXES = ("column.mask.", "column.truncate.")
_HARMLESS_TRANSFORMS = frozenset({"org.apache.kafka.connect.transforms.RegexRouter"})
"""Transformations that change only the topic's name."""

Config = Mapping[str, str]


def read_settings(config: Config, worker: Config | None = None) -> EventSettings:
    """What values of this connector's events look like; raises ConfigError for unknown modes."""
    for name, (_, known) in _MODES.items():
        if _mode(config, name) not in known:
            raise ConfigError(
                f"{name}={config[name]} of the connector is not known",
                f"the bridge knows {', '.join(known)}",
            )
    converter = _converter(config, worker or {}, "value.converter")
    values: dict[str, Any] = {
        "decimal": _mode(config, "decimal.handling.mode"),
        "time": _mode(config, "time.precision.mode"),
        "binary": _mode(config, "binary.handling.mode"),
        "unsigned": _mode(config, "bigint.unsigned.handling.mode"),
        "numeric": converter.get("decimal.format", "BASE64").upper() == "NUMERIC",
        "schemas": _on(converter.get("schemas.enable", "true")),
        "placeholder": _placeholder(config),
    }
    return EventSettings(**values)


def exactly_once(config: Config) -> bool:
    """Whether nothing that the connector wrote comes again after Connect or a broker has died.

    Connect starts a connector that requires it only where its workers do it (KIP-618).
    """
    return config.get("exactly.once.support", "").lower() == "required"


def judge(config: Config, worker: Config | None = None) -> list[Finding]:
    """What is wrong with a connector's configuration, the worst first."""
    found = [one for rule in _RULES for one in rule(config)]
    found += _converters(config, worker or {})
    return _sorted(found)


def judge_tables(plans: Sequence[TablePlan], settings: EventSettings) -> list[Finding]:
    """What the settings, and Debezium itself, do to the columns of these tables."""
    found: list[Finding] = []
    for plan in plans:
        table = str(plan.source)
        for column in plan.columns:
            family = family_of(column.source)
            try:
                if family is not None:
                    family.event(column, settings)
            except TableStopped as error:
                name = column.source.name
                found.append(finding("K018", table=table, column=name, message=error.message))
        found += [
            finding(code, table=table, column=", ".join(names))
            for code, types in _LOSSY.items()
            if (names := [c.source.name for c in plan.columns if c.source.data_type in types])
        ]
    return _sorted(found)


_LOSSY = {
    "K015": frozenset({"date", "datetime", "timestamp"}),
    "K016": frozenset({"float"}),
    "K017": frozenset({"year"}),
    "K019": frozenset({"json"}),
}
"""Types of which Debezium loses something under any settings."""


def _sorted(found: Sequence[Finding]) -> list[Finding]:
    order = ("error", "warning", "info")
    return sorted(found, key=lambda one: (order.index(one.severity), one.code, one.table))


def _mode(config: Config, name: str) -> str:
    return config.get(name, _MODES[name][0]).lower()


def _on(value: str) -> bool:
    return value.strip().lower() == "true"


def _placeholder(config: Config) -> str:
    text = config.get("unavailable.value.placeholder", PLACEHOLDER)
    if not text.startswith("hex:"):
        return text
    try:
        return bytes.fromhex(text[4:]).decode()
    except ValueError as error:
        raise ConfigError(
            f"unavailable.value.placeholder={text} of the connector is no text",
            f"leave it at {PLACEHOLDER}",
        ) from error


def _converter(config: Config, worker: Config, name: str) -> dict[str, str]:
    """A converter's settings without their prefix, its class under ''; {} if none is told."""
    chosen = config if name in config else worker
    if name not in chosen:
        return {}
    prefix = f"{name}."
    settings = {key[len(prefix) :]: chosen[key] for key in chosen if key.startswith(prefix)}
    return {**settings, "": chosen[name]}


def _converters(config: Config, worker: Config) -> Iterator[Finding]:
    for name in ("key.converter", "value.converter"):
        kind = _converter(config, worker, name).get("")
        if kind is None:
            said = f"the connector does not name its {name}, and the worker's is not known"
            yield finding("K002", severity="warning", message=said)
        elif kind != _JSON:
            yield finding("K002", message=f"{name}={kind}")
    values = _converter(config, worker, "value.converter")
    if _on(values.get("replace.null.with.default", "true")):
        yield finding("K008")
    if not _on(values.get("schemas.enable", "true")) and not _told_by_names(config):
        yield finding("K013")


def _told_by_names(config: Config) -> bool:
    """Whether no value's meaning depends on more than its column's name and kind."""
    decimals = _mode(config, "decimal.handling.mode") == "string"
    return decimals and _mode(config, "time.precision.mode") in ("microseconds", "isostring")


def _class(config: Config) -> Iterator[Finding]:
    kind = config.get("connector.class", "")
    if kind not in CONNECTORS:
        yield finding("K001", message=f"connector.class={kind}")


def _modes(config: Config) -> Iterator[Finding]:
    for name, (_, known) in _MODES.items():
        if _mode(config, name) not in known:
            yield finding("K004", message=f"{name}={config[name]}")
    if _mode(config, "decimal.handling.mode") == "double":
        yield finding("K003")
    time = _mode(config, "time.precision.mode")
    if time in ("connect", "isostring"):
        yield finding("K005", message=f"time.precision.mode={time}")
    if time == "nanoseconds":
        yield finding("K006")


def _years(config: Config) -> Iterator[Finding]:
    if _on(config.get("enable.time.adjuster", "true")):
        yield finding("K007")


def _operations(config: Config) -> Iterator[Finding]:
    skipped = config.get("skipped.operations", "t").strip().lower()
    if skipped not in ("none", ""):
        yield finding("K009", message=f"skipped.operations={skipped}")


def _failures(config: Config) -> Iterator[Finding]:
    for name, default in _FAILURES.items():
        chosen = config.get(name, default).lower()
        if chosen != "fail":
            yield finding("K010", message=f"{name}={chosen}")
    for name, default in _PASSING_OVER.items():
        if config.get(name, default).strip().lower() != default:
            yield finding("K010", message=f"{name}={config[name]}")


def _changes(config: Config) -> Iterator[Finding]:
    for name in sorted(config):
        if config[name] and (name in _CHANGING or name.startswith(_CHANGING_PREFIXES)):
            yield finding("K011", message=f"{name}={config[name]}")
    adjusted = config.get("field.name.adjustment.mode", "none")
    if adjusted != "none":
        yield finding("K011", message=f"field.name.adjustment.mode={adjusted}")
    for name in filter(None, (part.strip() for part in config.get("transforms", "").split(","))):
        kind = config.get(f"transforms.{name}.type", "")
        if kind not in _HARMLESS_TRANSFORMS:
            yield finding("K011", message=f"transforms.{name}.type={kind}")


def _keys(config: Config) -> Iterator[Finding]:
    if config.get("message.key.columns"):
        yield finding("K012", message=f"message.key.columns={config['message.key.columns']}")


def _schema_changes(config: Config) -> Iterator[Finding]:
    if not _on(config.get("include.schema.changes", "true")):
        yield finding("K014")


_RULES: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    _class,
    _modes,
    _years,
    _operations,
    _failures,
    _changes,
    _keys,
    _schema_changes,
)
