"""The story: a shop is moved while it is open, and the mover is killed twice on the way.

How changes come from the source makes a difference to some of its parts: those are a `Way`'s.
"""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bridge.cli.output import number
from compose.demo import databases, observed, shop
from compose.demo.commands import Daemon, Failed
from compose.demo.counting import counts, lines
from compose.demo.scene import Scene, say
from compose.demo.writers import Writers
from compose.local import places

if TYPE_CHECKING:
    from collections.abc import Iterator

MAPPINGS = places.CHECKOUT / "mappings"
KEYLESS = "audit_log"
SHARE_BEFORE_KILL = 0.1
"""The part of the rows that is copied before the first kill."""


class Way(Protocol):
    """How changes come from the source."""

    @property
    def codes(self) -> tuple[int, ...]:
        """Exit codes of `check` with which the story goes on."""
        ...

    def opened(self, scene: Scene) -> AbstractContextManager[None]:
        """What there has to be besides both databases, after `init` until the end."""
        ...

    def stream(self, scene: Scene, daemon: Daemon) -> bool:
        """Streams while the shop is open, and is killed; whether both sides are equal, so far."""
        ...

    def settle(self, scene: Scene) -> bool:
        """All is streamed and nobody writes any more; whether both sides are equal."""
        ...

    def evening(self, scene: Scene) -> bool:
        """A switch and a reverse, if there is a way; whether nothing was lost."""
        ...


class Tour:
    """One run; `tell` gives the exit code."""

    def __init__(self, scene: Scene, way: Way) -> None:
        self._scene = scene
        self._way = way
        self._bridge = scene.bridge
        self._writers = Writers(scene.source, scene.size.seed, scene.size.rate)

    def tell(self) -> bool:
        """The whole story; whether both sides are equal in the end. Raises Failed, NotOurs."""
        scene = self._scene
        with (
            closing(databases.hold(scene.pair.source)),
            closing(databases.hold_target(scene.target)),
        ):
            self._open_shop()
            self._say_hello()
            with self._writers:
                self._meet()
                with self._way.opened(scene):
                    equal = self._move()
                    return self._count() and equal and self._way.evening(scene)

    def _move(self) -> bool:
        """All between `init` and the last look; whether both sides were found equal."""
        self._prepare()
        with self._copy() as daemon:
            equal = self._way.stream(self._scene, daemon)
        self._scene.step("The last customers leave")
        self._writers.stop()
        done = self._writers.counts
        say(f"{number(done.transactions)} transactions in all, {done.rollbacks} rolled back")
        self._catch_up()
        return self._way.settle(self._scene) and equal

    def _open_shop(self) -> None:
        pair, size = self._scene.pair, self._scene.size
        self._scene.step(f"A shop of ten years, on {pair.described}")
        databases.make_target(self._scene.target)
        databases.make_source(pair.source)
        began = time.monotonic()
        rows = shop.fill(self._scene.source, size.rows)
        say(f"{number(rows)} rows written in {time.monotonic() - began:.1f} s:")
        say("zero dates, latin1, enums, unsigned bigints, cascades, a table without a key …")

    def _say_hello(self) -> None:
        self._scene.step("It is open: customers keep changing it until the end")
        say(f"about {self._scene.size.rate:.0f} transactions a second, with rollbacks, cascades,")
        say("key changes and values that swap places")

    def _meet(self) -> None:
        self._scene.step("dbbridge looks at it")
        mysql = self._scene.pair.mysql
        mappings = self._bridge.folder / "mappings"
        shutil.copytree(MAPPINGS, mappings)
        before = _texts(mappings)
        self._bridge.run("init", "--source", self._bridge.source, "--target", self._bridge.target)
        if _texts(mappings) == before:
            say("mappings/ came with the project; init found nothing to change in it")
        elif mysql:
            say("mappings/ was made on MariaDB; init added what MySQL says of the same tables")
        else:
            raise Failed("`dbbridge init` changed mapping files that fit the source")
        if mysql:
            say("a table without a key needs a short lock on MySQL, which its file consents to")
            with (mappings / databases.NAME / f"{KEYLESS}.yaml").open("a") as file:
                file.write("copy: {lock: brief}\n")

    def _prepare(self) -> None:
        self._scene.step("What would go wrong?")
        self._bridge.run("check", fine=self._way.codes)
        self._scene.step("Tables and primary keys in PostgreSQL")
        self._bridge.run(*self._bridge.preview("schema", "plan"))

    @contextmanager
    def _copy(self) -> Iterator[Daemon]:
        """Copies, is killed in the middle, goes on; the second daemon, which streams."""
        scene, figures = self._scene, self._scene.figures
        scene.step("The copy, killed in the middle")
        began = time.monotonic()
        with scene.daemon("--readers", "1") as daemon:
            enough = int(SHARE_BEFORE_KILL * scene.size.rows)
            copied = observed.until_copied(scene.target, daemon, enough)
            scene.kill(daemon, f"{number(copied)} rows are copied")
            figures.copy_seconds = time.monotonic() - began
        left = observed.look(self._bridge)
        if left is None or not left.copying:
            raise Failed("the copy was over before it could be killed; give it more --rows")
        say("it goes on where it was: chunks that are done stay done")
        began = time.monotonic()
        with scene.daemon() as daemon:
            seen = observed.until(
                self._bridge, daemon, "all was copied", lambda seen: seen.copied_all
            )
            figures.copy_seconds += time.monotonic() - began
            figures.copied = seen.copied
            yield daemon

    def _catch_up(self) -> None:
        self._scene.step("What is left in the log")
        self._bridge.run("sync", "--until", "caught-up")
        self._bridge.run("status")
        seen = observed.look(self._bridge)
        if seen is None:
            raise Failed("`dbbridge status` knows nothing of the pipeline")
        self._scene.figures.streamed = seen.streamed
        self._scene.figures.tables = len(seen.states)

    def _count(self) -> bool:
        self._scene.step("Counted on both sides, now that nobody writes")
        counted = counts(self._scene.source, self._scene.target)
        self._scene.figures.rows = sum(table.target for table in counted)
        for line in lines(counted):
            say(line)
        return all(table.equal for table in counted)


def _texts(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*.yaml")}
