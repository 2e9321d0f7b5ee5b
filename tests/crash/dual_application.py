"""Instances of an application that writes through the dual-write layer, and may be killed."""

from __future__ import annotations

import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.instances import begin
from tests.crash.kills import PATIENCE
from tests.endtoend.project import Project

WRITERS = 4
"""Of each instance."""


@dataclass(frozen=True)
class Instance:
    """A process of `tests.crash.dual_instance`, and what it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """SIGKILL, which it must not have forestalled."""
        assert self.process.stdin is not None
        self.process.kill()
        self.process.stdin.close()
        assert self.process.wait() == -signal.SIGKILL, self.said("unexpected")

    def said(self, word: str) -> list[str]:
        """Its lines that begin with a word, without it."""
        lines = self.log.read_text().splitlines(keepends=True)
        return [line[len(word) :].strip() for line in lines if line.startswith(word)]

    def acknowledged(self) -> Iterator[tuple[str, int]]:
        """Writer and number of each transaction; a line that was cut off does not count."""
        for line in self.log.read_text().splitlines(keepends=True):
            if line.startswith(f"{self.name}/") and line.endswith("\n"):
                writer, number = line.split()
                yield writer, int(number)


@dataclass
class Application:
    """Its instances; all that ever ran, and those that do."""

    project: Project
    seed: int
    all: list[Instance] = field(default_factory=list)
    running: list[Instance] = field(default_factory=list)

    def begin(self) -> None:
        """One instance more."""
        project, number = self.project, len(self.all)
        words = (f"{self.seed}/{number}", str(WRITERS))
        process, path = begin(project, "tests.crash.dual_instance", number, *words)
        self.all.append(Instance(f"i{number}", process, path))
        self.running.append(self.all[-1])

    def kill(self, chance: random.Random) -> None:
        """One dies, another takes its place."""
        self.running.pop(chance.randrange(len(self.running))).kill()
        self.begin()

    def check(self) -> None:
        """Fails if an instance has ended, or said what nobody expected."""
        for one in self.running:
            assert one.process.poll() is None, one.said("unexpected")

    def end(self) -> None:
        """All tell what became of their operations, and die."""
        for one in self.running:
            assert one.process.stdin is not None
            one.process.stdin.write(b"now\n")
            one.process.stdin.flush()
        self.project.wait_until(lambda: len(self.counts()) == len(self.running), PATIENCE)
        for one in self.running:
            one.kill()

    def counts(self) -> list[str]:
        """What became of the operations of those that run."""
        return [line for one in self.running for line in one.said("counts ")]

    def gone(self) -> int:
        """How many transactions could not reach the source."""
        return sum(len(one.said("gone")) for one in self.all)

    def progress(self) -> dict[str, int]:
        """How many were acknowledged to each writer that lives."""
        found = {f"{one.name}/{n}": 0 for one in self.running for n in range(WRITERS)}
        for one in self.running:
            found |= Counter(writer for writer, _ in one.acknowledged())
        return found

    def acknowledged(self) -> set[tuple[str, int]]:
        """Writer and number of each transaction of all instances."""
        return {each for one in self.all for each in one.acknowledged()}
