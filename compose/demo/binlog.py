"""The way through the source's own log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.cli.output import number
from compose.demo.commands import Daemon
from compose.demo.evening import evening
from compose.demo.scene import MATCH, Scene, say

if TYPE_CHECKING:
    from collections.abc import Iterator


class Binlog:
    """See Way: `sync` reads the log by itself."""

    codes = (0,)

    @contextmanager
    def opened(self, scene: Scene) -> Iterator[None]:
        """See Way."""
        yield

    def stream(self, scene: Scene, daemon: Daemon) -> bool:
        """See Way."""
        scene.step("The stream, killed as well")
        seen = scene.streamed(daemon, 0)
        seen = scene.streamed(daemon, seen.streamed + scene.enough)
        scene.kill(daemon, f"{number(seen.streamed)} changes are streamed")
        say("rows and position are committed together: nothing is lost, nothing comes twice")
        with scene.daemon() as again:
            scene.streamed(again, seen.streamed + scene.enough)
            scene.step("The proof, by digests, while the customers go on")
            equal = scene.verify() == MATCH
            scene.end(again)
        return equal

    def settle(self, scene: Scene) -> bool:
        """See Way."""
        return True

    def evening(self, scene: Scene) -> bool:
        """See Way."""
        return evening(scene)
