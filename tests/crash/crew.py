"""Workers of a pipeline and their broker, of which each may die or freeze while it works."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from compose.local.servers import Server
from tests.crash.kills import MADE, PATIENCE, process_state
from tests.endtoend.project import Daemon, Project

TOGETHER = "the broker and children"
"""All that work, in the same moment: the deaths of a worker's last children are told to nobody."""
KINDS = ("a child", TOGETHER, "a child at its claim", "a worker", TOGETHER, "the broker")
POLL_SECONDS = 0.01

Claim = tuple[str, int, int]
"""Table, number, and what tells this claim from another one of the same."""


@dataclass
class Crew:
    """`claims` says what is worked at now, and by which processes."""

    project: Project
    broker: Server
    chance: random.Random
    claims: Callable[[], dict[Claim, int]]
    workers: list[Daemon] = field(default_factory=list)
    kills: int = 0
    frozen: int = 0
    held: dict[Claim, int] = field(default_factory=dict)
    """What was claimed when the last kill began."""

    def start_worker(self) -> None:
        """One more, with two children."""
        self.workers.append(self.project.worker("--concurrency", "2"))

    def holders(self) -> dict[Claim, int]:
        """The claims of those who are not frozen."""
        return {claim: pid for claim, pid in self.claims().items() if pid != self.frozen}

    def kill(self, kind: str, going: Callable[[], bool]) -> None:
        """SIGKILL; what dies comes back, a broker empty. `going`: whether there is still work."""
        before, self.held = self.held, self.holders()
        if kind == "a child at its claim":
            # What the last kill freed may be claimed again by now, and nothing more to come.
            self._kill_child(kind, going, lambda: self.holders().items() - before.items())
        elif kind == "a child":
            self._kill_child(kind, going, lambda: set(self.holders().items()))
        elif kind == "a worker":
            self.workers.pop(self.chance.randrange(len(self.workers))).kill()
            self.count(kind)
            self.start_worker()
        else:
            children = set(self.held.values()) if kind == TOGETHER else set()
            self._kill_broker(kind, children)

    def freeze(self) -> Claim:
        """SIGSTOP to a child that works; what it had claimed."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = sorted(self.holders().items())
            for claim, pid in self.chance.sample(found, len(found)):
                # It may have been done with it, or dead and its session not yet ended.
                if _stopped(pid):
                    if self.claims().get(claim) == pid:
                        self.frozen = pid
                        return claim
                    os.kill(pid, signal.SIGCONT)
            assert time.monotonic() < deadline, self.workers[0].log
            time.sleep(POLL_SECONDS)

    def wake(self) -> None:
        """Lets it go on."""
        os.kill(self.frozen, signal.SIGCONT)
        self.frozen = 0

    def count(self, kind: str) -> None:
        """One kill more."""
        self.kills += 1
        MADE[self.project.source.server.kind][kind] += 1

    def _kill_broker(self, kind: str, children: set[int]) -> None:
        first = self.chance.random() < 0.5
        if first:
            self.broker.stop(kill=True)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.count(kind)
        if not first:
            self.broker.stop(kill=True)
        self.count(kind)
        time.sleep(self.chance.uniform(0, 1))
        self.broker = self.broker.restart()

    def _kill_child(
        self,
        kind: str,
        going: Callable[[], bool],
        find: Callable[[], set[tuple[Claim, int]]],
    ) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (found := find()):
            assert time.monotonic() < deadline, self.workers[0].log
            if not going():
                return
            time.sleep(POLL_SECONDS)
        pid = self.chance.choice(sorted(found))[1]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.count(kind)


def _stopped(pid: int) -> bool:
    """Sends SIGSTOP; whether the process stands still by it."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    while (state := process_state(pid)) and state not in "TZX":
        time.sleep(POLL_SECONDS)
    return state == "T"
