"""What all steps of a history share."""

from __future__ import annotations

from tests.models.dualwrite.chance import Actor, Chance, Steps
from tests.models.dualwrite.rules import Rules
from tests.models.dualwrite.source import Log, Operation, Rows
from tests.models.dualwrite.target import CoarseTarget, Target

Sent = tuple[Operation, int]
"""An operation on its way to the target, and the epoch that it bears."""


class Left(Exception):
    """A provisional write leaves its operations to the stream."""


class Refused(Left):
    """The target refuses them together; each by itself might be taken."""


class World:
    """The source as far as it has come, the target, and who is about."""

    def __init__(self, log: Log, rules: Rules, chance: Chance) -> None:
        self.log = log
        self.rules = rules
        self.chance = chance
        self.pick = chance.pick
        self.target = CoarseTarget(log) if rules.coarse else Target(log)
        self.now = 0
        """The source's last commit."""
        self.lost: Operation | None = None
        """An operation that the source shows, and will have lost at its next step."""
        self.ended = False
        """Whether the source commits nothing more."""
        self.epoch = 1
        """The epoch that operations bear."""
        self.seen: set[int] = set()
        """Operations that were lost after their rows had been read."""
        self.gathered: list[Sent] = []
        """Operations that wait for others to go with them."""
        self.authoritative: Rows | None = None
        """What the target must hold since it has the authority."""
        self.stream: Steps | None = None
        """The open target transaction of the stream."""
        self.second: Steps | None = None
        """That of a second reader, for tables that catch up."""
        self.actors: list[Actor] = []
        self.waiting: list[Actor] = []
        self.asleep: list[Actor] = []

    def join(self, name: str, steps: Steps) -> None:
        """Somebody comes in."""
        self.actors.insert(self.chance.place(len(self.actors)), (name, steps))

    def end_streams(self) -> None:
        """Roll back what they have open."""
        for steps in (self.stream, self.second):
            if steps is not None:
                steps.close()
        self.stream = None
