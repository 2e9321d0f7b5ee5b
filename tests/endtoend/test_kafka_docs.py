"""docs/kafka.md: its connector and commands, run between real servers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bridge.capture.findings.topics import may_join, read_topics
from bridge.config import load
from bridge.databases.reach import reachable
from bridge.errors import ServerRefused
from bridge.findings import CODES, find_code
from compose.local import java, listeners, programs
from compose.local.errors import Unavailable
from compose.local.listeners import Secured
from tests.endtoend.kafka_project import KafkaProject
from tests.endtoend.project import CHECKOUT
from tests.endtoend.test_readme import FENCED
from tests.fix_servers import UNAVAILABLE

TEXT = (CHECKOUT / "docs" / "kafka.md").read_text()
TOOLS = {
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
}
TOOL_HEAP = 64
"""MB."""
PASSWORD = "Debezium-1=2"
SECONDS = 60.0


def blocks(kind: str) -> list[str]:
    return [text for language, text in FENCED.findall(TEXT) if language == kind]


def lines(kind: str) -> list[str]:
    """The commands of the blocks of a kind, each in one line."""
    text = "\n".join(blocks(kind)).replace("\\\n", " ")
    return [line.partition("  #")[0].strip() for line in text.splitlines()]


@pytest.fixture
def account(kafka_project: KafkaProject) -> Iterator[str]:
    """Debezium's account, with the rights of the document."""
    source = kafka_project.source
    name = f"d_{source.name}"
    (script,) = blocks("sql")
    for old, new in (("debezium", name), ("shop", source.name), ("DEBEZIUM_PASSWORD", PASSWORD)):
        script = script.replace(old, new)
    with closing(source.connect()) as conn, conn.cursor() as cursor:
        for statement in filter(str.strip, script.split(";\n")):
            cursor.execute(statement)
        yield name
        cursor.execute(f"DROP USER {name}")


def connector(project: KafkaProject, account: str) -> dict[str, str]:
    """The document's connector under the names of this project."""
    (text,) = blocks("json")
    server = project.source.server
    ours = {
        "database.hostname": server.host,
        "database.port": str(server.port),
        "database.user": account,
        "database.password": PASSWORD,
        "database.server.id": "88000001",
        "database.include.list": project.source.name,
        "topic.prefix": project.prefix,
        "topic.creation.default.replication.factor": "1",
        "schema.history.internal.kafka.bootstrap.servers": project.kafka.bootstrap,
        "schema.history.internal.kafka.topic": f"{project.prefix}.history",
    }
    told: dict[str, str] = json.loads(text)
    assert ours.keys() <= told.keys()
    return told | ours


def changed(document: Any, **capture: str) -> Any:
    document["pipeline"]["capture"] |= capture
    return document


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_the_connector_and_the_commands(kafka_project: KafkaProject, account: str) -> None:
    project = kafka_project
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id int PRIMARY KEY, price decimal(9,2), at datetime)")
        cursor.execute("INSERT INTO orders VALUES (1, 1.5, '2024-02-29 12:00:00')")
    (project.folder / "connector.json").write_text(json.dumps(connector(project, account)))
    (put,) = [line for line in lines("sh") if line.startswith("curl")]
    _curl(project, put)
    project.connect.wait(project.connector)
    project.init()
    path = project.folder / "bridge.yaml"
    written = YAML(typ="safe").load(path)
    (shown,) = [text for text in blocks("yaml") if text.startswith("pipeline:")]
    assert written["pipeline"]["capture"].keys() == (
        YAML(typ="safe").load(shown)["pipeline"]["capture"].keys()
    )
    project.apply_schema()
    assert [line for line in lines("") if line.startswith("dbbridge")] == [
        "dbbridge check", "dbbridge sync", "dbbridge status",
    ]  # fmt: skip
    found = project.run("check", "--format", "json").json["findings"]
    assert [f for f in found if f["code"][0] == "K" and f["severity"] != "info"] == []
    daemon = project.sync()
    project.wait_until(project.streaming, daemon=daemon)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (2, 2.25, '2024-02-29 12:00:00.5')")
    project.wait_caught_up(daemon)
    project.run("status")
    assert project.run("verify", "--format", "json").json["verdict"] == "match"
    daemon.stop()


def _curl(project: KafkaProject, line: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH")
    url = "http://connect:8083/connectors/shop/config"
    assert line.endswith(url)
    words = shlex.split(
        line.replace(url, f"{project.connect.url}/connectors/{project.connector}/config")
    )
    subprocess.run(words, cwd=project.folder, check=True, capture_output=True)


# -- TLS and SASL -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker that knows no user yet, and lets nobody do anything who logs in."""
    rights = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
    options = [f"authorizer.class.name={rights}", "super.users=User:ANONYMOUS"]
    try:
        broker = listeners.start(
            tmp_path_factory.mktemp("secured"), {"someone": "else"}, options=options
        )
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: kafka ({reason})")
    yield broker
    broker.server.stop(kill=True)


def test_tls_and_a_login(secured: Secured, tmp_path: Path) -> None:
    (shown,) = [text for text in blocks("yaml") if text.startswith("capture:")]
    capture = YAML(typ="safe").load(shown)["capture"]
    capture["brokers"] = secured.addresses["sasl"]
    capture["tls"]["ca"] = str(secured.authority)
    databases = {"a": {"url": "mysql://a@h/shop"}, "b": {"url": "postgresql://b@h/d"}}
    pipeline = {"source": "a", "target": "b", "capture": capture}
    path = tmp_path / "bridge.yaml"
    YAML(typ="safe").dump({"databases": databases, "pipeline": pipeline}, path)
    settings = load(path, {"KAFKA_PASSWORD": PASSWORD})
    endpoint = settings.kafka()
    with pytest.raises(ServerRefused, match="refused user and password"):
        reachable(endpoint)
    tools = [line for line in lines("sh") if line.startswith("kafka-")]
    assert [line.split()[0] for line in tools] == ["kafka-configs", "kafka-acls", "kafka-acls"]
    for line in tools:
        _tool(secured, line)
    reachable(endpoint)
    secured_topic = f"{capture['topics']}.shop.orders"
    deadline = time.monotonic() + SECONDS
    while not may_join(endpoint, settings.group):
        assert time.monotonic() < deadline
    assert read_topics(endpoint, [secured_topic]) == {}, "it may know that there is none"


def _tool(secured: Secured, line: str) -> None:
    """Kafka's own tool, by its class."""
    words = shlex.split(line.replace("KAFKA_PASSWORD", PASSWORD))
    assert words[1:3] == ["--bootstrap-server", "kafka1:9092"]
    words[2] = secured.server.url()
    program = programs.find("kafka")
    command = java.words(program, TOOL_HEAP, (TOOLS[words[0]], *words[1:]), ())
    environment: Mapping[str, str] = program.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -- what it says -----------------------------------------------------------------------------


def test_codes_and_reasons_are_there() -> None:
    for code in re.findall(r"\b[KS]\d{3}\b", TEXT):
        assert code in CODES
    kafka = sorted(code for code in CODES if code.startswith("K"))
    assert f"`{kafka[0]}` to `{kafka[-1]}`" in TEXT
    table = TEXT.partition("## When a table stops")[2]
    for line in (line for line in table.splitlines() if line.startswith("| `")):
        for slug in re.findall(r"`([a-z-]+)`", line.split(" | ")[0]):
            assert find_code(slug), slug


def test_reasons_are_given_for_settings_that_are_shown() -> None:
    (config,) = blocks("json")
    reasons = TEXT.partition("| setting | why |")[2].partition("\n\n")[0]
    first = "\n".join(re.findall(r"^\| (.*?) \|", reasons, re.MULTILINE))
    for name in re.findall(r"`([^`]+)`", first):
        assert name.lstrip("…") in config, name
