"""What every part of the story works with: the command line, figures, and how it is told."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli.output import number
from compose.demo import databases, observed, shop
from compose.demo.commands import Daemon, Dbbridge, Failed
from compose.demo.observed import Seen
from compose.demo.servers import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

MATCH, MISMATCH, INCONCLUSIVE = 0, 1, 3
"""Exit codes of verify that say something about the data."""
SECONDS_OF_CHANGES = 3.0
"""How long the writers go on, about, from one event of the story to the next."""


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


class Scene:
    """One run of the story: where it takes place, and what can be done there."""

    def __init__(self, pair: Pair, folder: Path, size: Size, figures: Figures) -> None:
        self.pair = pair
        self.size = size
        self.figures = figures
        self.source = databases.shop_url(pair.source)
        self.target = databases.named(pair.target)
        self.bridge = Dbbridge(folder, self.source, self.target)

    @property
    def enough(self) -> int:
        """Changed rows of some seconds; a transaction changes two or more."""
        return int(2 * self.size.rate * SECONDS_OF_CHANGES)

    def step(self, title: str) -> None:
        """A new part of the story."""
        print(f"\n[{self.figures.seconds:4.1f} s] {title}", flush=True)

    @contextmanager
    def daemon(self, *options: str, name: str = "") -> Iterator[Daemon]:
        """A `dbbridge sync`, which is stopped in the end if it still runs. See Daemon."""
        daemon = self.bridge.start("sync", *options, name=name)
        try:
            yield daemon
        finally:
            daemon.stop()

    def kill(self, daemon: Daemon, why: str) -> None:
        """Ends it by SIGKILL."""
        daemon.kill()
        self.figures.kills += 1
        say(f"{why}: SIGKILL")

    def end(self, daemon: Daemon) -> None:
        """Ends it by SIGTERM. Raises Failed unless it ends in order."""
        if daemon.stop() != 0:
            raise Failed("`dbbridge sync` did not end in order after SIGTERM")

    def streamed(self, daemon: Daemon, changes: int) -> Seen:
        """Waits until every table streams, and so many changes are streamed. Raises Failed."""
        return observed.until(
            self.bridge,
            daemon,
            f"{number(changes)} changes were streamed",
            lambda seen: seen.streaming and seen.streamed >= changes,
        )

    def verify(self, *options: str) -> int:
        """Compares both sides; MATCH or MISMATCH. Raises Failed."""
        code = self.bridge.run("verify", *options, fine=(MATCH, MISMATCH, INCONCLUSIVE))
        if code == INCONCLUSIVE:
            raise Failed("`dbbridge verify` cannot tell")
        return code


def say(text: str) -> None:
    """A line of the story."""
    print(f"  {text}", flush=True)
