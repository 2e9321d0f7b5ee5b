"""The story: a shop is moved while it is open, and the mover is killed twice on the way."""

from __future__ import annotations

import shutil
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli.output import number
from compose.demo import databases, observed, shop
from compose.demo.commands import Daemon, Dbbridge, Failed
from compose.demo.counting import counts, lines
from compose.demo.observed import Seen
from compose.demo.servers import Pair
from compose.demo.writers import Writers
from compose.local import places

if TYPE_CHECKING:
    from collections.abc import Iterator

MAPPINGS = places.CHECKOUT / "mappings"
KEYLESS = "audit_log"
INCONCLUSIVE = 3
VERDICTS = (0, 1, INCONCLUSIVE)
"""Exit codes of verify that say something about the data."""
SHARE_BEFORE_KILL = 0.1
"""The part of the rows that is copied before the first kill."""
SECONDS_OF_CHANGES = 3.0
"""How long the writers go on, about, before and after the second kill."""


@dataclass(frozen=True)
class Size:
    """How large the shop is, and how busy."""

    rows: int = shop.ROWS
    rate: float = 200.0
    seed: int = 1


@dataclass
class Figures:
    """What is told in the end."""

    tables: int = 0
    rows: int = 0
    copied: int = 0
    copy_seconds: float = 0.0
    streamed: int = 0
    kills: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def line(self) -> str:
        """The figures, as the last line has them."""
        rate = self.copied / self.copy_seconds if self.copy_seconds else 0
        return (
            f"{self.tables} tables, {number(self.rows)} rows,"
            f" {number(self.streamed)} changes streamed, {self.kills} kills,"
            f" {self.seconds:.0f} s, {number(rate)} rows/s copied"
        )


class Tour:
    """One run; `tell` gives the exit code."""

    def __init__(self, pair: Pair, folder: Path, size: Size, figures: Figures) -> None:
        self._pair = pair
        self._size = size
        self._shop = databases.shop_url(pair.source)
        self._target = databases.named(pair.target)
        self._bridge = Dbbridge(folder, self._shop, self._target)
        self._writers = Writers(self._shop, size.seed, size.rate)
        self._figures = figures

    def tell(self) -> bool:
        """The whole story; whether both sides are equal in the end. Raises Failed, NotOurs."""
        with closing(databases.hold(self._pair.source)):
            self._open_shop()
            with self._writers:
                self._say_hello()
                self._prepare()
                with self._copy() as daemon:
                    self._stream(daemon)
                with self._daemon() as daemon:
                    self._streamed(daemon, self._figures.streamed + self._enough)
                    equal = self._prove()
                    if daemon.stop() != 0:
                        raise Failed("`dbbridge sync` did not end in order after SIGTERM")
                self._step("The last customers leave")
            done = self._writers.counts
            _say(f"{number(done.transactions)} transactions in all, {done.rollbacks} rolled back")
            self._catch_up()
            return self._count() and equal

    def _open_shop(self) -> None:
        self._step(f"A shop of ten years, on {self._pair.described}")
        databases.make_target(self._target)
        databases.make_source(self._pair.source)
        began = time.monotonic()
        rows = shop.fill(self._shop, self._size.rows)
        _say(f"{number(rows)} rows written in {time.monotonic() - began:.1f} s:")
        _say("zero dates, latin1, enums, unsigned bigints, cascades, a table without a key …")

    def _say_hello(self) -> None:
        self._step("It is open: customers keep changing it until the end")
        _say(f"about {self._size.rate:.0f} transactions a second, with rollbacks, cascades,")
        _say("key changes and values that swap places")

    def _prepare(self) -> None:
        self._step("dbbridge looks at it")
        mappings = self._bridge.folder / "mappings"
        shutil.copytree(MAPPINGS, mappings)
        before = _texts(mappings)
        self._bridge.run("init", "--source", self._bridge.source, "--target", self._bridge.target)
        if _texts(mappings) == before:
            _say("mappings/ came with the project; init found nothing to change in it")
        elif self._pair.mysql:
            _say("mappings/ was made on MariaDB; init added what MySQL says of the same tables")
        else:
            raise Failed("`dbbridge init` changed mapping files that fit the source")
        if self._pair.mysql:
            _say("a table without a key needs a short lock on MySQL, which its file consents to")
            with (mappings / databases.NAME / f"{KEYLESS}.yaml").open("a") as file:
                file.write("copy: {lock: brief}\n")
        self._step("What would go wrong?")
        self._bridge.run("check")
        self._step("Tables and primary keys in PostgreSQL")
        self._bridge.run(*self._bridge.preview("schema", "plan"))

    @contextmanager
    def _copy(self) -> Iterator[Daemon]:
        """Copies, is killed in the middle, goes on; the second daemon, which streams."""
        self._step("The copy, killed in the middle")
        total = self._size.rows
        began = time.monotonic()
        with self._daemon("--readers", "1") as daemon:
            copied = observed.until_copied(self._target, daemon, int(SHARE_BEFORE_KILL * total))
            self._kill(daemon, f"{number(copied)} rows are copied")
            self._figures.copy_seconds = time.monotonic() - began
        left = observed.look(self._bridge)
        if left is None or not left.copying:
            raise Failed("the copy was over before it could be killed; give it more --rows")
        _say("it goes on where it was: chunks that are done stay done")
        began = time.monotonic()
        with self._daemon() as daemon:
            seen = observed.until(
                self._bridge, daemon, "all was copied", lambda seen: seen.copied_all
            )
            self._figures.copy_seconds += time.monotonic() - began
            self._figures.copied = seen.copied
            yield daemon

    def _stream(self, daemon: Daemon) -> None:
        """Streams, and is killed."""
        self._step("The stream, killed as well")
        seen = self._streamed(daemon, 0)
        seen = self._streamed(daemon, seen.streamed + self._enough)
        self._kill(daemon, f"{number(seen.streamed)} changes are streamed")
        _say("rows and position are committed together: nothing is lost, nothing comes twice")
        self._figures.streamed = seen.streamed

    def _streamed(self, daemon: Daemon, changes: int) -> Seen:
        return observed.until(
            self._bridge,
            daemon,
            f"{number(changes)} changes were streamed",
            lambda seen: seen.streaming and seen.streamed >= changes,
        )

    def _catch_up(self) -> None:
        self._step("What is left in the log")
        self._bridge.run("sync", "--until", "caught-up")
        self._bridge.run("status")
        seen = observed.look(self._bridge)
        if seen is None:
            raise Failed("`dbbridge status` knows nothing of the pipeline")
        self._figures.streamed = seen.streamed
        self._figures.tables = len(seen.states)

    def _prove(self) -> bool:
        self._step("The proof, by digests, while the customers go on")
        code = self._bridge.run("verify", fine=VERDICTS)
        if code == INCONCLUSIVE:
            raise Failed("`dbbridge verify` cannot tell")
        return code == 0

    def _count(self) -> bool:
        self._step("Counted on both sides, now that nobody writes")
        counted = counts(self._shop, self._target)
        self._figures.rows = sum(table.target for table in counted)
        for line in lines(counted):
            _say(line)
        return all(table.equal for table in counted)

    @property
    def _enough(self) -> int:
        """Changed rows of some seconds; a transaction changes two or more."""
        return int(2 * self._size.rate * SECONDS_OF_CHANGES)

    @contextmanager
    def _daemon(self, *options: str) -> Iterator[Daemon]:
        daemon = self._bridge.start("sync", *options)
        try:
            yield daemon
        finally:
            daemon.stop()

    def _kill(self, daemon: Daemon, why: str) -> None:
        daemon.kill()
        self._figures.kills += 1
        _say(f"{why}: SIGKILL")

    def _step(self, title: str) -> None:
        print(f"\n[{self._figures.seconds:4.1f} s] {title}", flush=True)


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _texts(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*.yaml")}
