"""compose.yaml says nothing that is unknown, unsafe, or not so elsewhere in the project."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose

from bridge import config
from bridge.cli.main import VERBS
from bridge.config import CONFIG, ENVIRONMENT
from compose.local import debezium, kafka, maven, mysqlish
from tests.composition import FILE, FOLDER, SERVICES, TEXT

DEPLOY = (FOLDER.parent / "docs" / "deploy.md").read_text()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ONCE = {"bridge", "connector"}
"""What ends by itself, and has no health."""

each = pytest.mark.parametrize("name", sorted(SERVICES))
each_of_ours = pytest.mark.parametrize("name", sorted(OURS))


def project(environment: str = "") -> config.Settings:
    return config.load(FOLDER / "project" / "bridge.yaml", {ENVIRONMENT: environment})


def options(name: str) -> dict[str, str]:
    """A server's options on its command line."""
    pairs = (word.removeprefix("--").partition("=") for word in SERVICES[name]["command"])
    return {key: value for key, _, value in pairs}


def test_it_is_as_the_specification_says() -> None:
    found = PyCompose.from_json(json.dumps(FILE))
    found.validate()
    assert set(found.service_names()) == {
        *("sync", "worker", "bridge", "mysql", "mariadb", "postgres", "redis"),
        *("kafka", "connect", "connector"),
    }


@pytest.mark.parametrize(
    "wrong", [{"imagge": "x"}, {"healthcheck": {"intervall": "1s"}}, {"secrets": ["none"]}]
)
def test_what_is_not_is_refused(wrong: dict[str, Any]) -> None:
    services = SERVICES | {"sync": SERVICES["sync"] | wrong}
    with pytest.raises(ValueError, match=r"imagge|intervall|none"):
        PyCompose.from_json(json.dumps(FILE | {"services": services})).validate()


@each
def test_who_stays_has_a_health_that_others_wait_for(name: str) -> None:
    service = SERVICES[name]
    health = service["healthcheck"]
    if name in ONCE:
        assert health == {"disable": True}
    else:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(health)
        assert service["restart"] == "unless-stopped"
    conditions = {"service_healthy": False, "service_completed_successfully": True}
    for other, how in service.get("depends_on", {}).items():
        assert conditions[how["condition"]] == (other in ONCE)
        # Compose refuses a service whose dependency's profile is not on, unless it may do without.
        together = set(SERVICES[other]["profiles"]) <= set(service.get("profiles", []))
        assert together == how.get("required", True), other


@each
def test_it_is_bounded_and_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} == set(service["deploy"]["resources"]["limits"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ports"} & set(service)
    assert service.get("user") not in ("root", "0")


@each
def test_its_image_is_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z./]+:\d+\.\d+[\w.-]*", image), image


def test_versions_are_those_that_tests_run_with() -> None:
    version = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]["version"]
    assert {service["image"] for service in OURS.values()} == {f"dbbridge:{version}"}
    connect = maven.CONNECTORS["mysql"].split(":")[2]
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{maven.KAFKA}"
    for name in ("connect", "connector"):
        assert SERVICES[name]["image"] == f"quay.io/debezium/connect:{connect}"


def test_no_secret_stands_in_it() -> None:
    assert not re.findall(r"\w*PASSWORD\w*: (?!/run/secrets/)\S+", TEXT)
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(FILE["secrets"])
    for name, secret in FILE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    for name, service in SERVICES.items():
        read = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
        assert read <= set(service.get("secrets", [])), name
        for script in FOLDER.glob("accounts/*.sh"):
            if f"./accounts/{script.name}:" in str(service.get("volumes")):
                read = set(re.findall(r"/run/secrets/(\w+)", script.read_text()))
                assert read <= set(service["secrets"]), name


@each
def test_its_files_are_there(name: str) -> None:
    service = SERVICES[name]
    mounts = [mount for mount in service.get("volumes", []) if isinstance(mount, str)]
    for source, _, target in (mount.partition(":") for mount in mounts):
        if source.startswith("."):
            assert (FOLDER / source).is_file()
            assert target.endswith(":ro")
        else:
            assert source in FILE["volumes"]


@each_of_ours
def test_the_bridge_writes_nowhere_and_knows_its_settings(name: str) -> None:
    service = OURS[name]
    assert service["read_only"]
    assert service["init"]
    # Daemons tell each other by host name and process; a container's own name differs.
    assert not {"hostname", "container_name"} & set(service)
    assert set(service["environment"]) <= {CONFIG, ENVIRONMENT}
    assert [mount["read_only"] for mount in service["volumes"]] == [name != "bridge"]
    build = service["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == FOLDER / "Dockerfile"
    assert service["command"][0] in {*VERBS, "--help"}


@pytest.mark.parametrize("environment", ["", "kafka", "mariadb"])
def test_the_project_names_services_and_their_secrets(environment: str) -> None:
    text = "".join(path.read_text() for path in (FOLDER / "project").glob("bridge*.yaml"))
    assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(OURS["sync"]["secrets"])
    assert set(re.findall(r"@(\w+)/", text)) <= set(SERVICES)
    settings = project(environment)
    capture = settings.pipeline.capture
    assert capture.kind == ("kafka" if environment == "kafka" else "binlog")
    assert settings.name == "shop"


def test_the_connector_is_set_as_is_tested() -> None:
    found = json.loads((FOLDER / "connector.json").read_text())
    capture = project("kafka").pipeline.capture
    url = "mysql://debezium@mysql/shop"
    wanted = debezium.source(
        url, prefix=capture.topics, bootstrap=capture.brokers, snapshot="no_data"
    )
    own = {
        "database.password": "${dir:/run/secrets:debezium_password}",
        "database.server.id": found["database.server.id"],
    }
    assert found == wanted | own
    assert int(found["database.server.id"]) in debezium.SERVER_IDS
    assert SERVICES["connector"]["command"][-1].endswith(f"/connectors/{capture.connector}/config")


def test_sources_log_what_the_bridge_reads() -> None:
    wanted = dict(word.removeprefix("--").split("=") for word in mysqlish.OPTIONS[1:6])
    assert set(wanted) >= {"binlog-format", "binlog-row-image", "binlog-row-metadata"}
    for name in ("mysql", "mariadb"):
        assert wanted.items() <= options(name).items()
    assert options("mysql").items() >= {("gtid-mode", "ON"), ("enforce-gtid-consistency", "ON")}


def test_the_broker_makes_no_topics_by_itself_and_is_one() -> None:
    found = SERVICES["kafka"]["environment"]
    named = {name.removeprefix("KAFKA_").lower().replace("_", "."): v for name, v in found.items()}
    counts = {name for name in kafka.SETTINGS if re.search(r"replication\.factor|min\.isr", name)}
    for name in (*counts, "auto.create.topics.enable", "process.roles", "node.id"):
        assert named[name] == kafka.SETTINGS[name], name


def test_accounts_are_read_and_not_run() -> None:
    # The images' entrypoints run what may be executed, where docker_process_sql is unknown.
    for path in FOLDER.glob("accounts/*.sh"):
        assert not path.stat().st_mode & 0o111


def test_the_documented_lines_make_every_secret(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", DEPLOY, re.DOTALL)
    (lines,) = [block for block in blocks if "compose/secrets" in block]
    (tmp_path / "compose").mkdir()
    subprocess.run(["sh", "-ec", lines], cwd=tmp_path, check=True)  # noqa: S607
    made = {path.name: path for path in (tmp_path / "compose/secrets").iterdir()}
    assert set(made) == set(FILE["secrets"])
    assert len({path.read_text() for path in made.values()}) == len(made)
    for path in made.values():
        assert re.fullmatch(r"[0-9a-f]{48}", path.read_text())
        assert path.stat().st_mode & 0o777 == 0o644


def test_what_can_be_set_is_documented() -> None:
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", DEPLOY, re.MULTILINE))
    del documented["COMPOSE_PROFILES"]
    found = dict(re.findall(r"\$\{(\w+):-(.*?)\}", TEXT))
    assert {name: f"`{value}`" if value else "none" for name, value in found.items()} == documented
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    table = DEPLOY[: DEPLOY.index("## The first time")]
    assert profiles <= set(re.findall(r"`(\w+)`", table))
