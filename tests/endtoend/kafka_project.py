"""A pipeline that captures through Kafka, as a user has it, with Debezium's connector beside it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from compose.local import debezium
from compose.local.errors import LocalStackError
from compose.local.rest import Connect
from tests.endtoend.accounts import accounts
from tests.endtoend.grants import granted
from tests.endtoend.project import VERB_SECONDS, Daemon, Project, Result
from tests.fix_kafka import Kafka
from tests.fix_servers import SourceDatabase, TargetDatabase

PARTITIONS = 4


def _name() -> str:
    return f"t{secrets.token_hex(5)}"


@dataclass
class KafkaProject(Project):
    """See Project. `prefix` begins the topics' names, `connector` is the connector's own."""

    kafka: Kafka = field(kw_only=True)
    connect: Connect = field(kw_only=True)
    prefix: str = field(default_factory=_name, kw_only=True)
    connector: str = field(default_factory=_name, kw_only=True)

    def init(self, *more: str) -> Result:
        """Settings, those of Kafka among them, and mapping files out of the live source.

        `more` are other settings of the capture, each as a line of YAML.
        """
        done = super().init()
        lines = (
            "kind: kafka",
            f"brokers: {self.kafka.bootstrap}",
            f"topics: {self.prefix}",
            f"connect: {self.connect.url}",
            f"connector: {self.connector}",
            *more,
        )
        path = self.folder / "bridge.yaml"
        text, before = path.read_text(), "capture: {kind: binlog}"
        assert before in text
        path.write_text(text.replace(before, "\n    ".join(["capture:", *lines])))
        return done

    def start_connector(
        self,
        *,
        single: Sequence[str] = (),
        overrides: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Starts Debezium's connector, and waits until it runs.

        Tables of `single` get a topic of one partition. `options` are ``debezium.source``'s, with
        topics of `PARTITIONS` partitions, without a snapshot, and nothing ever written twice
        unless they say else.
        """
        given = {
            "partitions": PARTITIONS,
            "snapshot": "no_data",
            "exactly_once": True,
            **options,
        }
        config = debezium.source(
            self.source.url,
            prefix=self.prefix,
            bootstrap=self.kafka.bootstrap,
            overrides={**self._single(single), **(overrides or {})},
            **given,
        )
        self.connect.put(self.connector, config)
        self.connect.wait(self.connector)

    def _single(self, tables: Sequence[str]) -> dict[str, str]:
        if not tables:
            return {}
        names = (re.escape(f"{self.prefix}.{self.source.name}.{table}") for table in tables)
        return {
            "topic.creation.groups": "single",
            "topic.creation.single.include": ",".join(names),
            "topic.creation.single.partitions": "1",
            "topic.creation.single.replication.factor": "1",
        }

    def begin(self, **options: Any) -> None:
        """All that comes before the first `sync`; the source's tables are there already.

        `options` are those of `start_connector`.
        """
        self.start_connector(**options)
        super().begin()

    def consume(self, number: int = 1, *words: str) -> list[Daemon]:
        """So many `sync` processes: all consume, and one of them leads."""
        return [self.sync(*words) for _ in range(number)]

    def wait_caught_up(self, daemon: Daemon, timeout: float = VERB_SECONDS) -> None:
        """Waits until everything that the source's log has now is applied; all tables stream.

        Unlike `catch_up`, it leaves that to the processes that run.
        """
        goal = self.log_end()

        def reached() -> bool:
            return self.position() >= goal and self.streaming()

        self.wait_until(reached, timeout, daemon=daemon)

    def log_end(self) -> tuple[str, int]:
        """File and offset at which the source's log ends."""
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            cursor.execute("SHOW BINARY LOG STATUS")
            found = cursor.fetchone()
        assert found is not None
        return str(found[0]), int(found[1])

    def position(self) -> tuple[str, int]:
        """File and offset in the source's log, up to which all is applied."""
        found = self.ask("SELECT position_file, position_offset FROM dbbridge.pipeline")
        return found[0] if found else ("", 0)

    def topic(self, table: str) -> str:
        """The topic of a table's changes."""
        return f"{self.prefix}.{self.source.name}.{table}"

    def close(self) -> None:
        """Ends every process that a test left, and the connector."""
        super().close()
        with suppress(OSError, LocalStackError):  # Connect may have been ended by the test
            if self.connector in self.connect.connectors():
                self.connect.delete(self.connector)


NewKafkaProject = Callable[..., KafkaProject]


@pytest.fixture
def new_kafka_project(tmp_path: Path) -> Iterator[NewKafkaProject]:
    """Makes projects, whose daemons, connectors and accounts end with the test."""
    made: list[KafkaProject] = []

    def make(
        source: SourceDatabase, target: TargetDatabase, kafka: Kafka, connect: Connect
    ) -> KafkaProject:
        mine = accounts(source, target)
        folder = tmp_path / f"kafka-project-{len(made)}"
        folder.mkdir()
        mine.create()
        project = KafkaProject(folder, source, target, mine, kafka=kafka, connect=connect)
        made.append(project)
        granted(mine)
        return project

    try:
        yield make
    finally:
        for project in made:
            project.close()
            project.accounts.drop()


@pytest.fixture
def kafka_project(
    source_db: SourceDatabase,
    target_db: TargetDatabase,
    kafka: Kafka,
    connect: Connect,
    new_kafka_project: NewKafkaProject,
) -> KafkaProject:
    """A project; the source has no tables yet (``parametrize("source", ["mysql"])``)."""
    return new_kafka_project(source_db, target_db, kafka, connect)
