"""A process of a pipeline that captures by Kafka: it consumes, and one of all leads."""

from __future__ import annotations

import os
import platform
import secrets
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import psycopg

from bridge.capture.binlog.positions import upper_bound
from bridge.capture.debezium.settings import exactly_once, read_settings
from bridge.capture.topics import Topics
from bridge.databases.connect import ConnectClient
from bridge.databases.kafka import KafkaEndpoint
from bridge.databases.reach import reachable
from bridge.errors import BridgeError
from bridge.replicate.board import Board
from bridge.replicate.daemon import Daemon
from bridge.replicate.errands import Caller
from bridge.replicate.kafka.connector import Connector
from bridge.replicate.kafka.lead import Captured, Lead
from bridge.replicate.kafka.member import Member
from bridge.replicate.kafka.notices import Notices
from bridge.replicate.kafka.post import Post
from bridge.replicate.plans import Planner
from bridge.replicate.servers import Servers, meaning
from bridge.replicate.until import Until
from bridge.store.lease import Lease
from bridge.store.state import read_pipeline, read_tables


@dataclass(frozen=True, slots=True)
class Capture:
    """How changes come from Kafka: `prefix` is Debezium's topic.prefix; see the settings."""

    endpoint: KafkaEndpoint
    prefix: str
    group: str
    client: ConnectClient
    connector: str
    config: dict[str, str]
    """Properties of the connector that Connect does not tell."""
    snapshot: str


class KafkaDaemon(Daemon):
    """See Daemon; the member consumes beside it, also while another process leads."""

    def __init__(
        self,
        servers: Servers,
        board: Board,
        planner: Callable[[], Planner],
        capture: Capture,
        consumer_target: Callable[[], psycopg.Connection[tuple[object, ...]]],
        *,
        readers: int,
        until: Until,
        caller: Caller | None = None,
    ) -> None:
        self._capture = capture
        self._planner = planner
        self._readers = readers
        self._until = until
        self._caller = caller
        self._consumer_target = consumer_target
        self._member: Member | None = None
        super().__init__(servers, board, self._lead, patient=True)

    def run(self) -> None:
        """See Daemon; raises also what the consumer cannot heal."""
        capture = self._capture
        reachable(capture.endpoint)
        said = capture.client.config(capture.connector)
        self._events = read_settings(said, capture.config)
        self._once = exactly_once(said)
        host = platform.node()
        member = self._member = Member(
            Post(
                self._servers.pipeline,
                capture.group,
                capture.endpoint,
                self._events,
                self._consumer_target,
                self._planner(),
                host=host,
                holder=f"{host}:{os.getpid()}:{secrets.token_hex(3)}",
            )
        )
        watcher = threading.Thread(target=self._watch, args=(member,), daemon=True)
        member.start()
        watcher.start()
        try:
            super().run()
        finally:
            member.stop()
        if member.failure is not None:
            raise member.failure

    def stand_by(self) -> bool:
        """See Daemon: the goal may be reached while another process leads."""
        waits = self._member.facts.message if self._member else ""
        if waits:
            self.board.phase, self.board.message = "waiting", waits
        if self._until.kind == "never":
            return False
        try:
            with closing(self._servers.target()) as conn, closing(self._servers.source()) as source:
                tables = read_tables(conn, self._servers.pipeline)
                pipeline = read_pipeline(conn, self._servers.pipeline)
                before = ("new", "copying", "catching-up")[
                    : 2 if self._until.kind == "copied" else 3
                ]
                if not tables or any(t.active and t.stage in before for t in tables):
                    return False
                applied = pipeline.position if pipeline else None
                return self._until.reached(tables, applied, lambda: upper_bound(source))
        except Exception as error:
            known = meaning(error)
            if isinstance(known, BridgeError) and known.transient:
                return False
            raise known from error

    def _watch(self, member: Member) -> None:
        """A consumer that failed for good ends the process."""
        member.ended.wait()
        self.stop()

    def _lead(self, lease: Lease, stopping: threading.Event) -> Lead:
        capture = self._capture
        topics = Topics(capture.endpoint)
        schemas = self._events.schemas
        captured = Captured(
            topics,
            capture.prefix,
            Connector(capture.client, capture.connector),
            Notices(capture.endpoint, topics, capture.prefix, schemas=schemas),
            self._events,
            capture.snapshot,
            self._once,
        )
        assert self._member is not None
        return Lead(
            self._servers,
            lease,
            self._planner(),
            self.board,
            stopping,
            captured,
            self._member.facts,
            readers=self._readers,
            until=self._until,
            caller=self._caller,
        )
