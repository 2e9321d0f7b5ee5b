"""Settings: what is read, what is refused, where it comes from, and that secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import Settings, load
from bridge.config.urls import masked_url
from bridge.databases.connect_url import ConnectEndpoint
from bridge.databases.endpoint import Secret, Tls
from bridge.databases.kafka import Sasl
from bridge.errors import ConfigError

FILE = """\
databases:
  legacy: {url: "mysql://bridge:${LEGACY_PASSWORD}@db1/shop", pool: {max: 4}, tls: {ca: ca.pem}}
  main:
    url: "postgresql://bridge:${file:secret}@db2/shop"
pipeline:
  source: legacy
  target: main
"""


def write(directory: Path, text: str = FILE, name: str = "bridge.yaml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def settings(directory: Path, text: str = FILE, **environ: str) -> Settings:
    return load(write(directory, text), environ)


def test_settings_and_defaults(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found.name == "shop"
    assert found.mappings == tmp_path / "mappings"
    assert found.databases["legacy"].pool.max == 4
    assert found.databases["main"].pool.max == 8
    assert found.pipeline.capture.kind == "binlog"


def test_placeholders_are_resolved_late_and_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p@ss:/?%41\n")
    found = settings(tmp_path, LEGACY_PASSWORD="a@b/c")
    assert found.endpoint("legacy").password.reveal() == "a@b/c"
    assert found.endpoint("legacy").host == "db1"
    assert found.endpoint("main").password.reveal() == "p@ss:/?%41"
    assert found.endpoint("legacy").tls.mode == "verify"
    assert found.endpoint("legacy").tls.ca == str(tmp_path / "ca.pem")


def test_a_whole_url_may_be_a_variable(tmp_path: Path) -> None:
    text = FILE.replace("mysql://bridge:${LEGACY_PASSWORD}@db1/shop", "${LEGACY}")
    found = settings(tmp_path, text, LEGACY="mysql://me:x%20y@h/d")
    assert found.endpoint("legacy").password.reveal() == "x y"
    assert found.name == "d"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    found = settings(tmp_path, LEGACY_PASWORD="x")
    with pytest.raises(ConfigError) as caught:
        found.endpoint("legacy")
    assert (
        caught.value.message == f"{tmp_path}/bridge.yaml:2: the variable LEGACY_PASSWORD is not set"
    )
    assert "did you mean “LEGACY_PASWORD”" in caught.value.hint
    with pytest.raises(ConfigError, match="secret cannot be read"):
        found.endpoint("main")
    assert found.endpoint("legacy", secrets=False).password.reveal() == ""


def test_an_overlay_replaces_single_values(tmp_path: Path) -> None:
    write(
        tmp_path, "databases: {main: {pool: {max: 30}}}\npipeline: {name: p}\n", "bridge.prod.yaml"
    )
    found = settings(tmp_path, BRIDGE_ENVIRONMENT="prod")
    assert (found.name, found.databases["main"].pool.max) == ("p", 30)
    origins = {each.name: each.origin for each in found.listed()}
    assert origins["databases.main.pool.max"] == f"{tmp_path}/bridge.prod.yaml:1"
    assert origins["databases.main.pool.min"] == "default"
    assert origins["pipeline.source"] == f"{tmp_path}/bridge.yaml:6"


def test_a_missing_overlay_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bridge\.prod\.yaml"):
        settings(tmp_path, BRIDGE_ENVIRONMENT="prod")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "bridge.yaml", {})
    assert "dbbridge init" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "hint"),
    [
        ("  source:", "  sorce:", 6, "unknown key “sorce”", "did you mean “source”"),
        ("pool: {max", "pool: {maximum", 2, "unknown key “maximum”", "known here: min, max"),
        ("pool:", "pol:", 2, "unknown key “pol”", "did you mean “pool”"),
        ("databases:", "database:", 1, "unknown key “database”", "did you mean “databases”"),
        ("max: 4", "max: many", 2, "databases.legacy.pool.max", ""),
        ("max: 4", "max: 0", 2, "databases.legacy.pool.max", ""),
        ("source: legacy", "source: legcy", 6, "no database “legcy”", "did you mean “legacy”"),
        ("  target: main\n", "", 5, "“pipeline.target” is missing", ""),
        ("ca: ca.pem", "mode: sure", 2, "“sure” is not a TLS mode", ""),
        ("  target: main", "  target: main\n  capture: {kind: log}", 8, "capture.kind", ""),
        ("pipeline:", "pipeline: [", 5, "", "YAML"),
    ],
)  # fmt: skip
def test_wrong_settings(
    tmp_path: Path, old: str, new: str, line: int, said: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, FILE.replace(old, new))
    message = caught.value.message
    if "YAML" not in hint:
        assert message.startswith(f"{tmp_path}/bridge.yaml:{line}: "), message
    assert said in message
    assert hint in caught.value.hint


def test_secrets_never_show(tmp_path: Path) -> None:
    text = FILE.replace("${LEGACY_PASSWORD}", "hunter2")
    found = settings(tmp_path, text)
    shown = " ".join(f"{each.name}={each.value}" for each in found.listed())
    assert "hunter2" not in shown
    assert "mysql://bridge:***@db1/shop" in shown
    assert "${file:secret}" in shown
    assert "hunter2" not in f"{found.endpoint('legacy')!r} {found!r} {found}"


def test_masked_urls() -> None:
    assert masked_url("mysql://u:p@w@h/d") == "mysql://u:***@h/d"
    assert masked_url("mysql://u@h/d") == "mysql://u@h/d"
    assert masked_url("mysql://u:${X}@h/d") == "mysql://u:${X}@h/d"
    assert masked_url("mysql://u:a${X}@h/d") == "mysql://u:***@h/d"


CELERY = """\
celery:
  broker: "rediss://:${REDIS_PASSWORD}@r1:6380/2"
  tls: {ca: redis.pem}
  schedule: {verify: "0 3 * * sun", follow: 20}
"""


def test_the_broker_and_its_schedule(tmp_path: Path) -> None:
    found = settings(tmp_path, FILE + CELERY, REDIS_PASSWORD="p@s/s")
    broker = found.broker()
    assert broker.url() == "rediss://:p%40s%2Fs@r1:6380/2"
    assert broker.place == "rediss://r1:6380/2"
    assert "p@s/s" not in repr(broker)
    assert (broker.ssl_options() or {})["ssl_ca_certs"] == str(tmp_path / "redis.pem")
    assert (broker.ssl_options() or {})["ssl_check_hostname"] is True
    assert (found.celery.schedule.every, found.celery.schedule.follow) == (None, 20)
    shown = {each.name: each.value for each in found.listed()}
    assert shown["celery.broker"] == "rediss://:${REDIS_PASSWORD}@r1:6380/2"
    plain = settings(tmp_path, FILE + CELERY.replace("${REDIS_PASSWORD}", "plain"))
    assert {each.value for each in plain.listed()} >= {"rediss://:***@r1:6380/2"}
    assert "plain" not in repr(plain)


def test_an_interval_is_in_seconds(tmp_path: Path) -> None:
    found = settings(tmp_path, FILE + CELERY.replace("0 3 * * sun", "90m"))
    assert found.celery.schedule.every == 5400


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schedule:", "schedul:", "bridge.yaml:11: unknown key “schedul”"),
        ("follow: 20", "folow: 20", "bridge.yaml:11: unknown key “folow”"),
        ("0 3 * * sun", "sometimes", "it is like 6h"),
        ("rediss://", "amqp://", "begins with redis://"),
        ("rediss://", "redis://", "celery.tls is set"),
        ("/2", "/two", "ends with the number"),
        ("6380", "zero", "is not a number from 1 to 65535"),
    ],
)
def test_what_is_wrong_about_celery(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(tmp_path, FILE + CELERY.replace(old, new), REDIS_PASSWORD="x").broker()
    assert said in raised.value.message


def test_without_a_broker(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no broker"):
        settings(tmp_path).broker()


KAFKA = """\
  capture:
    kind: kafka
    brokers: "k1:9093, k2,[::1]:9094"
    topics: shop
    connect: http://bridge:${CONNECT_PASSWORD}@c1
    connector: shop
    connector_config: {schemas.enable: false, poll.interval.ms: 50, database.password: hunter2}
    tls: {ca: ca.pem}
    sasl: {mechanism: SCRAM-SHA-512, user: bridge, password: "${KAFKA_PASSWORD}"}
"""


def test_kafka_and_connect(tmp_path: Path) -> None:
    secrets = {"CONNECT_PASSWORD": "c@/", "KAFKA_PASSWORD": "k,="}
    found = settings(tmp_path, FILE + KAFKA, **secrets)
    kafka, connect = found.kafka(), found.connect()
    assert kafka.brokers == "k1:9093,k2:9092,[::1]:9094"
    assert kafka.tls == Tls("verify", ca=str(tmp_path / "ca.pem"))
    assert kafka.sasl == Sasl("SCRAM-SHA-512", "bridge", Secret("k,="))
    assert kafka.place == "kafka://bridge@k1:9093,k2:9092,[::1]:9094"
    assert connect == ConnectEndpoint("http://c1:8083", "bridge", Secret("c@/"))
    assert found.group == "dbbridge-shop"
    told = {"schemas.enable": "false", "poll.interval.ms": "50", "database.password": "hunter2"}
    assert found.pipeline.capture.connector_config == told
    shown = {each.name: each.value for each in found.listed()}
    assert shown["pipeline.capture.sasl.password"] == "${KAFKA_PASSWORD}"
    assert shown["pipeline.capture.connect"] == "http://bridge:${CONNECT_PASSWORD}@c1"
    assert shown["pipeline.capture.connector_config.database.password"] == "***"
    assert shown["pipeline.capture.group"] == "dbbridge-shop"


def test_secrets_of_kafka_never_show(tmp_path: Path) -> None:
    text = KAFKA.replace("${KAFKA_PASSWORD}", "secret1").replace("${CONNECT_PASSWORD}", "secret2")
    found = settings(tmp_path, FILE + text)
    shown = " ".join(f"{each.name}={each.value}" for each in found.listed())
    everything = f"{shown} {found.pipeline!r} {found} {found.kafka()!r} {found.connect()!r}"
    assert not any(secret in everything for secret in ("secret1", "secret2", "hunter2"))


def test_encryption_of_kafka_and_connect(tmp_path: Path) -> None:
    text = KAFKA.replace("    tls: {ca: ca.pem}\n", "")
    secrets = {"CONNECT_PASSWORD": "c", "KAFKA_PASSWORD": "k"}
    assert settings(tmp_path, FILE + text, **secrets).kafka().tls is None
    found = settings(tmp_path, FILE + text.replace("http:", "https:"), **secrets).connect()
    assert found is not None
    assert (found.url, found.tls) == ("https://c1:443", Tls("verify"))
    text = text.replace("    sasl:", "    tls: {mode: required}\n    sasl:")
    assert settings(tmp_path, FILE + text, **secrets).kafka().tls == Tls("required")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("    topics: shop\n", "", 8, "“pipeline.capture.topics” is missing"),
        ("topics: shop", "topics: a b", 11, "no beginning of topics"),
        ("k1:9093", "http://k1", 10, "not the address of a broker"),
        ("k1:9093", "k1:none", 10, "not a number from 1 to 65535"),
        ("    connector: shop\n", "", 12, "capture.connect needs connector"),
        ("    connect: http://bridge:${CONNECT_PASSWORD}@c1\n", "", 12, "connector needs connect"),
        ("SCRAM-SHA-512", "GSSAPI", 16, "capture.sasl.mechanism"),
        (", user: bridge", "", 16, "sasl is not complete"),
        ("tls: {ca", "tls: {mode: preferred, ca", 15, "do not agree on encryption"),
        ("tls: {ca", "tls: {mode: disabled, ca", 15, "goes with no files"),
        ("tls: {ca", "tls: {cert", 15, "go together"),
        ("kind: kafka", "kind: binlog", 10, "capture.brokers is a setting of Kafka"),
        ("    kind: kafka\n", "    snapshot: debezium\n", 10, "capture.brokers is a setting of"),
        ("schemas.enable: false", "a: [1]", 14, "connector_config.a"),
        ("  capture:", "  heartbeat: {table: a.b}\n  capture:", 8, "heartbeat goes with"),
    ],
)  # fmt: skip
def test_what_is_wrong_about_kafka(
    tmp_path: Path, old: str, new: str, line: int, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, FILE + KAFKA.replace(old, new))
    assert said in caught.value.message
    assert f"bridge.yaml:{line}: " in caught.value.message


def test_without_kafka(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is captured through Kafka"):
        settings(tmp_path).kafka()
    assert settings(tmp_path).connect() is None
    with pytest.raises(ConfigError, match="begins with http"):
        settings(tmp_path, FILE + KAFKA.replace("http://", "tcp://")).connect()
    with pytest.raises(ConfigError, match="KAFKA_PASSWORD is not set"):
        settings(tmp_path, FILE + KAFKA).kafka()


def test_a_group_has_settings_of_its_own_for_the_cutover(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    base = (
        'databases: {a: {url: "mysql://u@h/d"}, b: {url: "postgresql://u@h/d"}}\n'
        "pipeline: {source: a, target: b}\n"
        "cutover:\n  fence: revoke\n  accounts: ['app@%', batch]\n  groups:\n"
    )
    path.write_text(base + "    shop: {fence: lock_account, accounts: []}\n")
    cutover = load(path, {}).cutover
    assert (cutover.of("shop").fence, cutover.of("shop").accounts) == ("lock_account", ())
    assert (cutover.of("rest").fence, cutover.of("rest").accounts) == ("revoke", ("app@%", "batch"))
    for line, said in (
        ("    shop: {fenc: revoke}\n", "bridge.yaml:7: unknown key “fenc”"),
        ("    shop: {fence: rename}\n", "bridge.yaml:7: cutover.groups.shop.fence: tables are not"),
        ("    shop: {accounts: ['a b']}\n", "bridge.yaml:7: cutover.groups.shop.accounts"),
        ("    {}\n  source: c\n", "there is no database “c”"),
    ):
        path.write_text(base + line)
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert said in caught.value.message
    path.write_text(base.replace("revoke", "rename") + "    {}\n")
    with pytest.raises(ConfigError, match=r"cutover\.fence: .* revoke or lock_account"):
        load(path, {})
