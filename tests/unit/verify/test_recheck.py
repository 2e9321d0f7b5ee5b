"""The recheck against random histories: a written source, an applier that lags and coalesces.

The applier is right unless a test makes it lose something. Each call takes time in which the source
is written and batches are applied, so that no two reads see the same moment.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from bridge.change.position import Position
from bridge.verify import recheck
from bridge.verify.recheck import Held, Key, Patience, Reading, Recheck, Standing, Value

FILE = "log.000001"
State = dict[str, int]


@dataclass
class World:
    """Both databases, and all that happens between two looks at them."""

    chance: random.Random
    keys: Sequence[str]
    values: int = 3
    """How many different values there are: few, so that rows come back to what they were."""
    busy: float = 1.0
    quiet: frozenset[str] = frozenset()
    """Keys that are never written."""
    source: list[tuple[State, str]] = field(default_factory=lambda: [({}, "")])
    """State after each position, and the key that was written there."""
    target: dict[str, Held] = field(default_factory=dict)
    applied: int = 0
    visible: int = 0
    versions: int = 0
    lost: set[str] = field(default_factory=set)
    """Keys whose changes the applier loses."""
    clock: float = 0.0

    def tick(self, most: int = 3) -> None:
        """Some commits, some of them visible, some batches."""
        if self.chance.random() < self.busy:
            for _ in range(self.chance.randint(0, most)):
                self.commit()
        self.visible = self.chance.randint(max(self.visible, self.end - 1), self.end)
        if self.chance.random() < 0.6:
            self.apply(self.chance.randint(self.applied, self.end))

    @property
    def end(self) -> int:
        return len(self.source) - 1

    def commit(self) -> None:
        state = dict(self.source[-1][0])
        key = self.chance.choice([key for key in self.keys if key not in self.quiet])
        if key in state and self.chance.random() < 0.5:
            del state[key]
        else:
            state[key] = self.chance.randint(1, self.values)
        self.source.append((state, key))

    def apply(self, to: int) -> None:
        """One batch: each key that it touches gets its last image, as a new version."""
        touched = {key for _, key in self.source[self.applied + 1 : to + 1]} - self.lost
        state = self.source[to][0]
        for key in touched:
            self.target.pop(key, None)
            if key in state:
                self.versions += 1
                self.target[key] = Held(state[key], str(self.versions))
        self.applied = to

    # What Recheck sees.

    def standing(self) -> Standing:
        self.tick()
        return Standing(Position.at(FILE, self.applied))

    def pause(self, seconds: float) -> None:
        self.clock += seconds
        self.tick(6)


@dataclass
class SourceSide:
    world: World

    def read(self, keys: Sequence[Key]) -> Reading:
        self.world.tick()
        low = self.world.visible
        state = self.world.source[self.world.chance.randint(low, self.world.visible)][0]
        self.world.tick()
        rows = {key: state[key[0]] for key in keys if key[0] in state}
        return Reading(rows, Position.at(FILE, low), Position.at(FILE, self.world.end))

    def sample(self, keys: Sequence[Key]) -> Mapping[Key, Value]:
        return self.read(keys).rows

    def upper_bound(self) -> Position:
        self.world.tick()
        return Position.at(FILE, self.world.end)


@dataclass
class TargetSide:
    world: World

    def read(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        self.world.tick()
        return {key: self.world.target[key[0]] for key in keys if key[0] in self.world.target}


def judge(world: World, keys: Sequence[str]) -> recheck.Outcome:
    check = Recheck(
        SourceSide(world),
        TargetSide(world),
        world,
        Patience(stall=1000, reach=1000, settle=20),
        clock=lambda: world.clock,
        pause=world.pause,
    )
    return check.settle([(key,) for key in keys])


def warmed(seed: int, **options: object) -> World:
    world = World(random.Random(seed), ["a", "b", "c", "d"], **options)  # type: ignore[arg-type]
    for _ in range(10):
        world.tick()
    return world


@pytest.mark.parametrize("values", [1, 2, 50])
@pytest.mark.parametrize("busy", [0.05, 0.4, 1.0])
def test_a_right_applier_is_never_accused(values: int, busy: float) -> None:
    for seed in range(150):
        world = warmed(seed, values=values, busy=busy)
        outcome = judge(world, world.keys)
        assert not outcome.confirmed, f"seed {seed}"
        assert set(outcome.equal) | set(outcome.in_flight) == {(key,) for key in world.keys}


@pytest.mark.parametrize("fault", ["missing", "extra", "differs"])
@pytest.mark.parametrize("busy", [0.0, 0.05, 0.4, 1.0])
def test_a_lost_change_is_found_and_named(fault: str, busy: float) -> None:
    for seed in range(80):
        world = warmed(seed, busy=busy)
        world.quiet = frozenset({"a"})
        world.source.append(({**world.source[-1][0], "a": 1}, "a"))
        world.apply(world.end)
        if fault == "missing":
            del world.target["a"]
        elif fault == "differs":
            world.target["a"] = Held(2, "wrong")
        else:
            state = dict(world.source[-1][0])
            del state["a"]
            world.source.append((state, "a"))
            world.lost = {"a"}
            world.apply(world.end)
        world.visible = world.end  # as verify_table awaits before it reads anything
        outcome = judge(world, world.keys)
        assert {key[0]: found.kind for key, found in outcome.confirmed.items()} == {"a": fault}


def test_nothing_is_said_of_a_stream_that_stands_still() -> None:
    world = warmed(1)
    world.commit()
    world.applied = 0
    world.apply = lambda to: None  # type: ignore[method-assign]
    outcome = judge(world, world.keys)
    assert not outcome.confirmed and not outcome.equal
    assert outcome.stuck
    assert "did not reach" in outcome.reason


def _accusations(monkeypatch: pytest.MonkeyPatch, **changes: object) -> int:
    for name, value in changes.items():
        monkeypatch.setattr(recheck, name, value)
    wrong = 0
    for seed in range(150):
        world = warmed(seed, values=2, busy=0.4)
        wrong += len(judge(world, world.keys).confirmed)
    return wrong


def test_the_model_accuses_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recheck, "_await", lambda *_: None)
    assert _accusations(monkeypatch) > 0


def test_the_model_accuses_when_one_round_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _accusations(monkeypatch, STEADY_ROUNDS=1) > 0


def test_the_model_accuses_when_versions_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Versionless(TargetSide):
        def read(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
            return {key: Held(held.value, "") for key, held in super().read(keys).items()}

    monkeypatch.setitem(globals(), "TargetSide", Versionless)
    assert _accusations(monkeypatch) > 0


def test_the_model_accuses_when_the_lower_bound_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Boundless(SourceSide):
        def read(self, keys: Sequence[Key]) -> Reading:
            reading = super().read(keys)
            return Reading(reading.rows, reading.high, reading.high)

    monkeypatch.setitem(globals(), "SourceSide", Boundless)
    assert _accusations(monkeypatch) > 0
