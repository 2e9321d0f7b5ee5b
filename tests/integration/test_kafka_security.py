"""TLS and SASL at real listeners: what connects, and what each refusal says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from bridge.capture.debezium.topics import Topic
from bridge.capture.findings.topics import may_join, read_topics
from bridge.cli.survey_kafka import survey_kafka
from bridge.config import load
from bridge.databases.endpoint import Secret, Tls
from bridge.databases.kafka import KafkaEndpoint, Sasl, client_settings, kafka_error
from bridge.databases.listener import Listener, examine
from bridge.databases.reach import reachable
from bridge.errors import BridgeError, ConfigError, ServerRefused, ServerUnreachable
from bridge.names import TableName
from compose.local import listeners
from compose.local.errors import Unavailable
from compose.local.listeners import Secured
from tests.fix_servers import UNAVAILABLE

PASSWORD = "hunter2=no,secret"
RIGHTS = (
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",
)
"""Whoever logs in needs rights, which who does not may give."""
SECONDS = 60.0
"""No refusal may take longer."""
ANSWER_SECONDS = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is held up for a moment is asked what it speaks all the same."""
    monkeypatch.setattr("bridge.databases.listener.ANSWER_SECONDS", 10.0)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker with listeners for TLS and SASL."""
    try:
        folder = tmp_path_factory.mktemp("secured")
        broker = listeners.start(folder, {"bridge": PASSWORD}, options=RIGHTS)
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: kafka ({reason})")
    yield broker
    broker.server.stop(kill=True)


def endpoint(secured: Secured, listener: str, **options: Any) -> KafkaEndpoint:
    """Where a listener is, as a client with the right settings for it sees it."""
    address = secured.addresses[listener] if listener != "plain" else secured.server.url()
    tls = None if listener == "plain" else Tls("verify", ca=str(secured.authority))
    if tls and listener == "mutual":
        client = secured.client
        tls = replace(tls, cert=str(client.certificate), key=str(client.key))
    sasl = Sasl("SCRAM-SHA-512", "bridge", Secret(PASSWORD)) if listener == "sasl" else None
    return replace(KafkaEndpoint(address, tls, sasl), **options)


def refusal(wrong: KafkaEndpoint) -> BridgeError:
    began = time.monotonic()
    with pytest.raises(BridgeError) as caught:
        reachable(wrong)
    assert time.monotonic() - began < SECONDS
    error = caught.value
    assert error.hint
    assert PASSWORD not in f"{error.message} {error.hint} {wrong!r}"
    return error


@pytest.mark.parametrize("listener", ["plain", "tls", "mutual", "sasl"])
def test_each_listener_connects(secured: Secured, listener: str) -> None:
    reachable(endpoint(secured, listener))


def test_other_ways_to_connect(secured: Secured) -> None:
    reachable(endpoint(secured, "tls", tls=Tls("required")))
    reachable(endpoint(secured, "sasl", sasl=Sasl("PLAIN", "bridge", Secret(PASSWORD))))
    down = endpoint(secured, "plain")
    reachable(replace(down, brokers=f"127.0.0.1:1,{down.brokers}"))


def test_a_client_of_these_settings_reads(secured: Secured) -> None:
    consumer = Consumer({**client_settings(endpoint(secured, "sasl")), "group.id": "g"})
    assert consumer.list_topics(timeout=SECONDS).brokers
    consumer.close()


def test_a_certificate_of_another_authority(secured: Secured) -> None:
    unknown = secured.stranger.certificate.with_name("authority.crt")
    for tls in (Tls("verify", ca=str(unknown)), Tls("verify")):
        error = refusal(endpoint(secured, "tls", tls=tls))
        assert isinstance(error, ServerRefused)
        assert "authority that is trusted" in error.message
        assert "tls.ca" in error.hint


def test_a_certificate_for_another_host(secured: Secured) -> None:
    there = endpoint(secured, "tls")
    error = refusal(replace(there, brokers=there.brokers.replace("127.0.0.1", "localhost")))
    assert isinstance(error, ServerRefused)
    assert "not for this host name" in error.message


def test_the_clients_certificate(secured: Secured) -> None:
    right = endpoint(secured, "mutual").tls
    assert right
    missing = refusal(endpoint(secured, "mutual", tls=replace(right, cert="", key="")))
    assert isinstance(missing, ServerRefused)
    assert "wants a certificate of the client" in missing.message
    stranger = secured.stranger
    tls = replace(right, cert=str(stranger.certificate), key=str(stranger.key))
    unknown = refusal(endpoint(secured, "mutual", tls=tls))
    assert isinstance(unknown, ServerRefused)
    assert "refused the client's certificate" in unknown.message
    mixed = refusal(endpoint(secured, "mutual", tls=replace(right, key=str(stranger.key))))
    assert isinstance(mixed, ConfigError)
    assert "key" in mixed.message


def test_a_file_that_is_not_there(secured: Secured, tmp_path: Path) -> None:
    error = refusal(endpoint(secured, "tls", tls=Tls("verify", ca=str(tmp_path / "none.pem"))))
    assert isinstance(error, ConfigError)
    assert "none.pem" in error.message


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_login(secured: Secured, mechanism: str) -> None:
    for user, password in (("bridge", "wrong"), ("nobody", PASSWORD)):
        sasl = Sasl(mechanism, user, Secret(password))  # type: ignore[arg-type]
        error = refusal(endpoint(secured, "sasl", sasl=sasl))
        assert isinstance(error, ServerRefused)
        assert "refused user and password" in error.message
        assert mechanism in error.message


def test_a_mechanism_that_is_not_offered(secured: Secured) -> None:
    sasl = Sasl("SCRAM-SHA-256", "bridge", Secret(PASSWORD))
    error = refusal(endpoint(secured, "sasl", sasl=sasl))
    assert isinstance(error, ServerRefused)
    assert "SCRAM-SHA-512,PLAIN" in error.message


def test_a_login_where_there_is_none(secured: Secured) -> None:
    sasl = endpoint(secured, "sasl").sasl
    for listener in ("plain", "tls"):
        error = refusal(endpoint(secured, listener, sasl=sasl))
        assert isinstance(error, ServerRefused)
        assert "takes no login" in error.message


def test_no_login_where_there_has_to_be_one(secured: Secured) -> None:
    error = refusal(endpoint(secured, "sasl", sasl=None))
    assert isinstance(error, ServerRefused)
    assert "wants a login (SCRAM-SHA-512, PLAIN)" in error.message


@pytest.mark.parametrize("listener", ["tls", "mutual", "sasl"])
def test_no_tls_where_there_has_to_be(secured: Secured, listener: str) -> None:
    error = refusal(endpoint(secured, listener, tls=None))
    assert isinstance(error, ServerRefused)
    assert "speaks TLS" in error.message
    assert "tls: {ca: FILE}" in error.hint


def test_tls_where_there_is_none(secured: Secured) -> None:
    tls = endpoint(secured, "tls").tls
    error = refusal(endpoint(secured, "plain", tls=tls))
    assert isinstance(error, ServerRefused)
    assert "does not speak TLS" in error.message


def said(secured: Secured, folder: Path) -> dict[str, tuple[str, str]]:
    """What `check` says of the account's rights."""
    path = folder / "bridge.yaml"
    path.write_text(
        "databases: {a: {url: 'mysql://a@h/d'}, b: {url: 'postgresql://a@h/d'}}\n"
        "pipeline:\n  {source: a, target: b, capture: {kind: kafka, topics: shop, group: group,"
        f" brokers: '{secured.addresses['sasl']}', tls: {{ca: '{secured.authority}'}}, sasl:"
        " {mechanism: SCRAM-SHA-512, user: bridge, password: '${PW}'}}}\n"
    )
    found = survey_kafka(load(path, {"PW": PASSWORD}), [TableName("s", "t")]).state
    return {one.message: (one.code, one.hint) for one in found}


def test_rights(secured: Secured, tmp_path: Path) -> None:
    admin = AdminClient(client_settings(endpoint(secured, "plain")))
    made = admin.create_topics([NewTopic(name, 1, 1) for name in ("shop", "shop.s.t")])
    for future in made.values():
        future.result(ANSWER_SECONDS)
    here = endpoint(secured, "sasl")
    topics = ["shop", "shop.s.t", "shop.s.none"]

    def allow(kind: ResourceType, name: str, operation: AclOperation) -> None:
        way, allowed = ResourcePatternType.PREFIXED, AclPermissionType.ALLOW
        right = AclBinding(kind, name, way, "User:bridge", "*", operation, allowed)
        for future in admin.create_acls([right]).values():
            future.result(ANSWER_SECONDS)

    hidden = read_topics(here, topics)
    assert {(each.partitions, each.readable) for each in hidden.values()} == {(0, False)}
    assert not may_join(here, "group")
    missing = said(secured, tmp_path)
    code, hint = missing["Read on topics: shop, shop.s.t"]
    assert code == "K041"
    assert hint.startswith("kafka-acls --add --allow-principal User:bridge --operation Read ")
    assert hint.endswith("--topic shop --resource-pattern-type prefixed")
    assert missing["Read on the group group"][1].endswith("--operation Read --group group")
    consumer = Consumer({**client_settings(here), "group.id": "group"})
    consumer.subscribe(["shop.s.t"])
    message = consumer.poll(ANSWER_SECONDS)
    consumer.close()
    error = message and message.error()
    assert error
    refused = kafka_error(error, here)
    assert isinstance(refused, ServerRefused)
    assert "--allow-principal User:bridge --operation Read" in refused.hint
    allow(ResourceType.TOPIC, "shop", AclOperation.READ)
    allow(ResourceType.GROUP, "group", AclOperation.READ)
    settled(lambda: may_join(here, "group"))
    found = read_topics(here, topics)
    assert found == {name: Topic(name, 1, 1) for name in ("shop", "shop.s.t")}
    assert said(secured, tmp_path)["settings of shop, shop.s.t"][0] == "K040"
    allow(ResourceType.TOPIC, "shop", AclOperation.DESCRIBE_CONFIGS)
    settled(lambda: read_topics(here, topics)["shop"].config is not None)
    assert (read_topics(here, topics)["shop"].config or {})["retention.ms"] == "604800000"
    assert {code for code, _ in said(secured, tmp_path).values()} == {"K021"}


def settled(holds: Callable[[], bool]) -> None:
    """Rights take a moment to arrive at the broker."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_listeners_speak(secured: Secured) -> None:
    def speaks(listener: str, tls: Tls | None = None) -> Listener:
        return examine(endpoint(secured, listener).brokers, tls)

    for tls in (None, Tls("required")):
        assert speaks("plain", tls) == Listener(kafka=True)
        assert speaks("tls", tls) == Listener(tls=True, kafka=True)
        assert speaks("sasl", tls) == Listener(True, True, ("SCRAM-SHA-512", "PLAIN"))
        assert speaks("mutual", tls) == Listener(tls=True)
    assert examine("127.0.0.1:1", None) == Listener()


def test_nobody_answers() -> None:
    began = time.monotonic()
    with pytest.raises(ServerUnreachable, match="refused") as caught:
        reachable(KafkaEndpoint("127.0.0.1:1"), seconds=5)
    assert "127.0.0.1:1 " in caught.value.message
    assert "does the broker run" in caught.value.hint
    assert time.monotonic() - began < SECONDS
    with pytest.raises(ServerUnreachable, match=r"nowhere\.invalid") as caught:
        reachable(KafkaEndpoint("nowhere.invalid:9092"), seconds=5)
    assert "DNS" in caught.value.hint
