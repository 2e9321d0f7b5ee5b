"""The way through Debezium and Kafka, and what of the shop's rows its events cannot tell.

Debezium knows no zero dates. Where a column may be NULL it sends NULL, as the mapping wants it;
where it may not, 1970-01-01, also for dates that are partly zero. The shop has both, in two
columns: their rows are wrong in the target once they have come by an event, and verify has to find
just those.

Source: tried out with Debezium 3.6.1, at every event.converting.failure.handling.mode.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient
from psycopg import sql

from bridge.cli.output import number
from compose.demo import databases, observed
from compose.demo.commands import Daemon, Failed
from compose.demo.scene import MATCH, MISMATCH, Scene, say
from compose.demo.servers import Pipes
from compose.demo.tour import KEYLESS
from compose.local import debezium
from compose.local.rest import Connect

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 3
UNTOLD = (("orders", "paid_at"), ("products", "released"))
"""Columns that are NOT NULL and hold zero dates."""
DIFFERENCES = "differences.ndjson"
ANSWER_SECONDS = 10.0


class Kafka:
    """See Way: Debezium's connector writes changes to Kafka, where `sync` processes share them."""

    codes = (0, 1)
    """`check` names the zero dates beforehand, as errors."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._connect = Connect(pipes.connect)
        self._name = f"dbbridge-demo-{secrets.token_hex(3)}"

    @contextmanager
    def opened(self, scene: Scene) -> Iterator[None]:
        """See Way: the connector; it and its topics are removed in the end."""
        scene.step("Debezium writes changes to Kafka from now on")
        self._tell(scene.bridge.folder / "bridge.yaml")
        try:
            self._connect.put(self._name, self._config(scene.source))
            self._connect.wait(self._name)
            say(f"connector {self._name} runs, without a snapshot: the bridge copies by itself")
            say(f"topics have {PARTITIONS} partitions, that of the table without a key one")
            yield
        finally:
            self._remove()

    def _tell(self, path: Path) -> None:
        """Puts the way of capturing into the settings, as a user would."""
        text, before = path.read_text("utf-8"), "capture: {kind: binlog}"
        if before not in text:
            raise Failed(f"`dbbridge init` did not write {before}")
        lines = (
            "capture:",
            "  kind: kafka",
            f"  brokers: {self._pipes.bootstrap}",
            f"  topics: {self._name}",
            f"  connect: {self._pipes.connect}",
            f"  connector: {self._name}",
        )
        path.write_text(text.replace(before, "\n  ".join(lines)), "utf-8")
        say(f"{path.name} says so:")
        for line in lines:
            say(f"  {line}")

    def _config(self, source: str) -> dict[str, str]:
        topic = re.escape(f"{self._name}.{databases.NAME}.{KEYLESS}")
        single = {
            "topic.creation.groups": "single",
            "topic.creation.single.include": topic,
            "topic.creation.single.partitions": "1",
            "topic.creation.single.replication.factor": "1",
        }
        return debezium.source(
            source,
            prefix=self._name,
            bootstrap=self._pipes.bootstrap,
            snapshot="no_data",
            partitions=PARTITIONS,
            exactly_once=True,
            overrides=single,
        )

    def _remove(self) -> None:
        if self._name in self._connect.connectors():
            self._connect.delete(self._name)
        admin = AdminClient({"bootstrap.servers": self._pipes.bootstrap, "log_level": 0})
        there = admin.list_topics(timeout=ANSWER_SECONDS).topics
        ours = [each for each in there if self._name in each]
        for done in admin.delete_topics(ours).values() if ours else ():
            done.result(ANSWER_SECONDS)

    # -- the stream --------------------------------------------------------------------------

    def stream(self, scene: Scene, daemon: Daemon) -> bool:
        """See Way: two processes share the partitions; one is killed, and comes back."""
        scene.step("The stream, by two processes that share the partitions")
        with scene.daemon(name="second") as other:
            seen = scene.streamed(other, 0)
            self._shared(scene, [daemon, other])
            seen = scene.streamed(other, seen.streamed + scene.enough)
            scene.kill(
                daemon, f"{number(seen.streamed)} changes are streamed, the process that leads"
            )
            self._shared(scene, [other])
            say("rows and offsets are committed together: nothing is lost, nothing comes twice")
            seen = scene.streamed(other, seen.streamed + scene.enough)
            with scene.daemon(name="first") as again:
                self._shared(scene, [other, again])
                scene.streamed(again, seen.streamed + scene.enough)
                scene.end(again)
            scene.end(other)
        return True

    def _shared(self, scene: Scene, daemons: list[Daemon]) -> None:
        each = observed.until_held(scene.target, daemons)
        say(f"partitions of each process: {', '.join(map(str, each))}")

    # -- what differs ------------------------------------------------------------------------

    def settle(self, scene: Scene) -> bool:
        """See Way: verify names what Debezium cannot tell, and repair takes it from the source."""
        scene.step("The proof, by digests: what Debezium cannot tell has to be found")
        say("it sends zero dates as 1970-01-01 where NULL is not allowed, as check has warned:")
        say("what verify finds has to be these rows, counted by plain SQL, and nothing else")
        spoilt = _spoilt(scene.target)
        code = scene.verify("--output", DIFFERENCES)
        found = _found(scene.bridge.folder / DIFFERENCES)
        for (table, column), count in spoilt.items():
            say(f"{table}.{column}: {number(count)} rows hold 1970-01-01")
        if found != spoilt:
            raise Failed(f"verify found {dict(found)} instead")
        if (code == MISMATCH) != bool(spoilt):
            raise Failed(f"`dbbridge verify` exited {code}")
        if spoilt:
            self._repair(scene)
        return scene.verify() == MATCH and not _spoilt(scene.target)

    def evening(self, scene: Scene) -> bool:
        """See Way: Kafka's partitions keep no order among each other, so there is no switch."""
        return True

    def _repair(self, scene: Scene) -> None:
        scene.step("These rows are taken from the source itself")
        with scene.daemon() as daemon:
            scene.bridge.run(*scene.bridge.preview("repair", "plan"))
            scene.end(daemon)


def _spoilt(target: str) -> Counter[tuple[str, str]]:
    """Rows that hold the first day of 1970, which no column of the shop has rightly."""
    found: Counter[tuple[str, str]] = Counter()
    with closing(databases.connect_target(target)) as conn:
        for table, column in UNTOLD:
            names = (sql.Identifier(databases.NAME, table), sql.Identifier(column))
            query = sql.SQL("SELECT count(*) FROM {} WHERE {} = '1970-01-01'").format(*names)
            row = conn.execute(query).fetchone()
            found[table, column] = int(row[0]) if row else 0
    return +found


def _found(path: Path) -> Counter[tuple[str, str]]:
    """Differences by column; a row that only one side has counts under its kind instead."""
    found: Counter[tuple[str, str]] = Counter()
    with suppress(FileNotFoundError), path.open(encoding="utf-8") as lines:
        for each in map(json.loads, lines):
            table = each["table"].rpartition(".")[2]
            columns = [column["name"] for column in each["columns"]]
            for name in columns if each["kind"] == "differs" else [each["kind"]]:
                found[table, name] += 1
    return found
