"""A connector's configuration."""

from __future__ import annotations

import pytest

from bridge.capture.debezium.settings import judge, judge_tables, read_settings
from bridge.errors import ConfigError
from bridge.types.events import EventSettings
from tests.unit.capture.debezium.samples import table

JSON = "org.apache.kafka.connect.json.JsonConverter"
GOOD = {
    "connector.class": "io.debezium.connector.mysql.MySqlConnector",
    "topic.prefix": "shop",
    "decimal.handling.mode": "string",
    "binary.handling.mode": "base64",
    "enable.time.adjuster": "false",
    "skipped.operations": "none",
    "event.converting.failure.handling.mode": "fail",
    "key.converter": JSON,
    "value.converter": JSON,
    "value.converter.replace.null.with.default": "false",
}


def codes(**changed: str) -> list[str]:
    config = {**GOOD, **{name.replace("_", "."): value for name, value in changed.items()}}
    return [one.code for one in judge(config)]


def test_a_configuration_that_keeps_everything() -> None:
    assert codes() == []
    expected = EventSettings(decimal="string", binary="base64")
    assert read_settings(GOOD) == expected


def test_the_connectors_defaults() -> None:
    assert read_settings({}) == EventSettings()
    bare = judge({"connector.class": GOOD["connector.class"]})
    assert {one.code for one in bare} == {"K002", "K007", "K008", "K009", "K010"}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector", "K001"),
        ("value.converter", "io.confluent.connect.avro.AvroConverter", "K002"),
        ("decimal.handling.mode", "double", "K003"),
        ("binary.handling.mode", "rot13", "K004"),
        ("time.precision.mode", "connect", "K005"),
        ("time.precision.mode", "isostring", "K005"),
        ("time.precision.mode", "nanoseconds", "K006"),
        ("enable.time.adjuster", "true", "K007"),
        ("value.converter.replace.null.with.default", "true", "K008"),
        ("skipped.operations", "t", "K009"),
        ("skipped.operations", "u,d", "K009"),
        ("event.processing.failure.handling.mode", "skip", "K010"),
        ("inconsistent.schema.handling.mode", "warn", "K010"),
        ("column.mask.with.12.chars", "shop.users.email", "K011"),
        ("column.truncate.to.20.chars", "shop.users.email", "K011"),
        ("converters", "boolean", "K011"),
        ("field.name.adjustment.mode", "avro", "K011"),
        ("transforms", "unwrap", "K011"),
        ("snapshot.select.statement.overrides", "shop.orders", "K011"),
        ("message.key.columns", "shop.orders:name", "K012"),
        ("value.converter.schemas.enable", "false", "K013"),
        ("include.schema.changes", "false", "K014"),
    ],
)
def test_what_is_found(name: str, value: str, code: str) -> None:
    assert codes(**{name.replace(".", "_"): value}) == [code]


def test_a_transformation_of_the_topic_alone() -> None:
    regex = "org.apache.kafka.connect.transforms.RegexRouter"
    assert codes(transforms="route", transforms_route_type=regex) == []


def test_schemaless_events_that_need_no_schema() -> None:
    worker = {"value.converter.schemas.enable": "false"}
    plain = {"value_converter_schemas_enable": "false", "time_precision_mode": "microseconds"}
    assert codes(**plain) == []
    assert codes(**plain, decimal_handling_mode="precise") == ["K013"]
    # A converter of the connector's own takes nothing of the worker's.
    assert read_settings(GOOD, worker).schemas


def test_converters_of_the_worker() -> None:
    bare = {name: value for name, value in GOOD.items() if "converter" not in name}
    worker = {
        "key.converter": JSON,
        "value.converter": JSON,
        "value.converter.schemas.enable": "false",
    }
    settings = read_settings(bare, {**worker, "value.converter.decimal.format": "numeric"})
    assert not settings.schemas
    assert settings.numeric
    assert {one.code for one in judge(bare, worker)} == {"K008", "K013"}


def test_unknown_modes() -> None:
    with pytest.raises(ConfigError, match=r"time\.precision\.mode=adaptive"):
        read_settings({"time.precision.mode": "adaptive"})


def test_placeholders() -> None:
    assert read_settings({"unavailable.value.placeholder": "hex:6e6f"}).placeholder == "no"
    with pytest.raises(ConfigError):
        read_settings({"unavailable.value.placeholder": "hex:ff"})


def test_columns_that_lose_values() -> None:
    plan = table(
        [
            ("id", "int NOT NULL", "integer"), ("t", "time", "interval"),
            ("d", "datetime(6)", "timestamp(6)"), ("f", "float", "real"), ("y", "year", "smallint"),
        ]
    )  # fmt: skip
    found = judge_tables([plan], EventSettings(time="connect"))
    assert [(one.code, one.column) for one in found] == [
        ("K018", "t"), ("K018", "d"), ("K015", "d"), ("K016", "f"), ("K017", "y"),
    ]  # fmt: skip
    assert all(one.table == "shop.orders" for one in found)
