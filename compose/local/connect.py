"""How a worker of Kafka Connect is run; ``rest`` talks to it.

Among the options of ``servers.start`` has to be ``bootstrap.servers=…``; ``options`` makes them.
"""

from __future__ import annotations

import functools
import secrets
import tempfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from compose.local import java, kafka, maven, places, programs
from compose.local.launch import HOST, free_port
from compose.local.programs import Program
from compose.local.rest import Connect

HEAP = 384
MAIN = "org.apache.kafka.connect.cli.ConnectDistributed"
CONVERTER = "org.apache.kafka.connect.json.JsonConverter"

# A connector says itself whether schemas are embedded. Positions are written down every second,
# so that a killed worker repeats little; its place in the group is soon free for the next one.
SETTINGS = {
    "key.converter": CONVERTER,
    "value.converter": CONVERTER,
    "key.converter.schemas.enable": "false",
    "value.converter.schemas.enable": "false",
    "config.storage.replication.factor": "1",
    "offset.storage.replication.factor": "1",
    "offset.storage.partitions": "1",
    "status.storage.replication.factor": "1",
    "status.storage.partitions": "1",
    "offset.flush.interval.ms": "1000",
    "session.timeout.ms": "3000",
    "heartbeat.interval.ms": "500",
    "scheduled.rebalance.max.delay.ms": "0",
    "plugin.discovery": "service_load",
    # What a killed worker had not accounted for is not written again.
    "exactly.once.source.support": "enabled",
}


def options(bootstrap: str, connectors: Sequence[str] = ("mysql",)) -> list[str]:
    """What a worker needs to be told: its broker, and the connectors of ``maven.CONNECTORS``."""
    folders = ",".join(str(maven.connector(name)) for name in connectors)
    return [f"bootstrap.servers={bootstrap}", f"plugin.path={folders}"]


def initialise(program: Program, data: Path, _password: str) -> None:
    """Make an empty data directory, since a worker keeps all in Kafka; archive its classes."""
    data.mkdir()
    with (
        java.archiving(program) as archiving,
        tempfile.TemporaryDirectory(dir=places.folder("data")) as trial,
    ):
        broker, worker = Path(trial) / "broker", Path(trial) / "worker"
        broker.mkdir()
        worker.mkdir()
        with kafka.running(programs.find("kafka"), broker) as broker_port:
            port = free_port()
            told = [*options(f"{HOST}:{broker_port}"), *archiving]
            words = command(program, worker, port, worker, told)
            ready = functools.partial(probe, HOST, port, "", "")
            with java.running(words, program, worker / "log", ready):
                pass


def command(
    program: Program, data: Path, port: int, _sockets: Path, options: Sequence[str]
) -> tuple[str, ...]:
    """The words that start a worker; the caller's options win, being last."""
    group = _group(data)
    topics = {f"{kind}.storage.topic": f"{group}-{kind}" for kind in ("config", "offset", "status")}
    address = {"listeners": f"http://{HOST}:{port}", "rest.advertised.host.name": HOST}
    settings = data / "connect.properties"
    java.write_properties(settings, {**SETTINGS, "group.id": group, **topics, **address}, options)
    return java.words(program, HEAP, (MAIN, str(settings)), options)


def _group(data: Path) -> str:
    """A name of its own, or it would share the work with other workers of this broker."""
    path = data / "group"
    if not path.exists():
        path.write_text(f"connect-{secrets.token_hex(4)}")
    return path.read_text()


def probe(host: str, port: int, _user: str, _password: str) -> str | None:
    """The version of the worker if it takes connectors already."""
    worker = Connect(f"http://{host}:{port}")
    try:
        return worker.version() if worker.healthy() else None
    except (OSError, HTTPException):
        return None
