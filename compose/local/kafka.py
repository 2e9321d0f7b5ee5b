"""How a Kafka broker is initialised and run: one node that is its own controller (KRaft).

The options of ``servers.start`` are settings of the broker (``name=value``) and words for the
JVM (those with a dash); they win. ``listeners`` adds TLS and SASL by them.
"""

from __future__ import annotations

import base64
import functools
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from compose.local import java, places
from compose.local.launch import HOST, free_port
from compose.local.processes import run
from compose.local.programs import Program

HEAP = 160
ANSWER_SECONDS = 5.0
MAIN = "kafka.Kafka"

# One node, so one replica of everything. A topic is made by who needs it: a consumer or a
# mistyped name makes none. Internal topics have one partition, for the sake of start and crash.
# A killed broker may come back only when its session is over (9 s unless told otherwise).
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def initialise(program: Program, data: Path, _password: str) -> None:
    """Make a formatted data directory; archive the server's classes besides."""
    _format(program, data)
    with (
        java.archiving(program) as options,
        tempfile.TemporaryDirectory(dir=places.folder("data")) as trial,
        running(program, Path(trial), options),
    ):
        pass


@contextmanager
def running(program: Program, folder: Path, options: Sequence[str] = ()) -> Iterator[int]:
    """A broker in an empty folder for as long as the context lasts; its port."""
    port, data = free_port(), folder / "data"
    _format(program, data)
    words = command(program, data, port, folder, options)
    ready = functools.partial(probe, HOST, port, "", "")
    with java.running(words, program, folder / "log", ready):
        yield port


def _format(program: Program, data: Path) -> None:
    data.mkdir()
    settings = _write(data, free_port(), ())
    main = ("kafka.tools.StorageTool", "format", "-t", _random_id(), "-c", str(settings))
    run(java.words(program, HEAP, main, ()), program.environment)
    _identity(data).unlink()  # the cluster's name: each copy has to get its own


def command(
    program: Program, data: Path, port: int, _sockets: Path, options: Sequence[str]
) -> tuple[str, ...]:
    """The words that start a server on this data; the caller's options win, being last."""
    settings = _write(data, port, options)
    if not _identity(data).exists():
        names = {"cluster.id": _random_id(), "directory.id": _random_id()}
        java.write_properties(_identity(data), {"version": "1", "node.id": "1", **names}, ())
    return java.words(program, HEAP, (MAIN, str(settings)), options)


def _write(data: Path, port: int, options: Sequence[str]) -> Path:
    controller = f"{HOST}:{free_port()}"
    settings = {
        **SETTINGS,
        "log.dirs": str(data / "log"),
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{controller}",
    }
    path = data / "server.properties"
    java.write_properties(path, settings, options)
    return path


def _identity(data: Path) -> Path:
    return data / "log" / "meta.properties"


def _random_id() -> str:
    """A UUID as Kafka writes it; one that began with a dash would look like an option."""
    written = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return _random_id() if written.startswith("-") else written


def probe(host: str, port: int, _user: str, _password: str) -> str | None:
    """Which cluster it is, if it answers already; brokers do not tell their version."""
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except OSError:
        return None
    client = AdminClient({"bootstrap.servers": f"{host}:{port}", "log_level": 0})
    try:
        found = client.list_topics(timeout=ANSWER_SECONDS)
    except KafkaException:
        return None
    return f"cluster {found.cluster_id}" if found.brokers else None
