"""Proof by position: which of the keys that looked different really are.

While the application writes, source and target are never read at the same moment, so a sweep finds
keys that are merely on their way. A key is judged in rounds. In each round the target is read, then
the source (everything visible there lies between its bounds `low` and `high`), then the stream is
awaited until it has applied `high`, then the target is read again.

*Equal*: the second reading of the target shows a value that the source had when it was read, or
since (it is read again and again while the stream is awaited, so that a row that changes all the
time is caught with the value that the target shows).

*Confirmed*, by one of three proofs, each of which a change that is only on its way, or a row that
went away and came back (A → B → A), cannot produce:
1. the target's row is the same version (xmin and ctid) in both readings, and `low` covers the
   position of the first: the applier has gone from before the source's reading to after it
   without touching the row, so the row's value at that point is what the target shows, and the
   source shows another. It rests on the applier writing each row that a batch touches, even with
   the values that it had. Where the position of the first reading is only told after a while
   (Kafka), it proves nothing.
2. nothing was committed in the source: its upper bound stood still during `QUIET_ROUNDS` rounds.
3. `STEADY_ROUNDS` rounds in a row saw the same values on either side, in every reading. A row
   that is missing has no version, so this is what remains for it while others write. To be wrong,
   the source would have to change the key and change it back between the two readings of each
   round, and never be seen with the other value.

Whatever is neither at the end is *in flight*: no verdict either way.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bridge.change.position import Position

Key = tuple[str, ...]
"""Canonical texts of a row's key columns; for a table without a key, of the row's hash."""
Value = Hashable
Kind = Literal["missing", "extra", "differs"]

RESTLESS = "rows that change each time they are looked at"
QUIET_ROUNDS = 2
STEADY_ROUNDS = 6
SAMPLED_KEYS = 500
"""Up to so many keys are read again while the stream is awaited."""
POLL_SECONDS = 0.02
PAUSE_SECONDS = (0.1, 0.2)
"""Between two rounds; of random length, so that no rhythm of the application is met by ours."""


@dataclass(frozen=True, slots=True)
class Held:
    """A row of the target, and which version of it."""

    value: Value
    version: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows of the source as one consistent read saw them.

    Everything up to `low` was visible (None: no such bound is known), nothing later than `high`.
    """

    rows: Mapping[Key, Value]
    low: Position | None
    high: Position


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the table is applied; `obstacle`: why no further, `hint`: the command that helps.

    `late`: more may be applied than the position says, which is told after a while (Kafka).
    """

    position: Position | None
    obstacle: str = ""
    hint: str = ""
    late: bool = False


class Source(Protocol):
    """The source's side of one table."""

    def read(self, keys: Sequence[Key]) -> Reading:
        """The rows of these keys that exist, and the bounds of the reading."""
        ...

    def sample(self, keys: Sequence[Key]) -> Mapping[Key, Value]:
        """The rows of these keys that exist."""
        ...

    def upper_bound(self) -> Position:
        """Nothing that was visible so far is later."""
        ...


class Target(Protocol):
    """The target's side of one table."""

    def read(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        """The rows of these keys that exist."""
        ...


class Applied(Protocol):
    """How far the stream has come."""

    def standing(self) -> Standing:
        """Read now, after all that was read of the target before."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: without any progress of the stream, for it to reach one position, for all rounds.

    `late` is `stall` for positions that are told after a while: Connect says how far it is once a
    minute, unless it is told otherwise (offset.flush.interval.ms).
    """

    stall: float = 20.0
    late: float = 150.0
    reach: float = 600.0
    settle: float = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A confirmed difference, with the values that were seen (None: no row)."""

    kind: Kind
    source: Value | None
    target: Value | None


@dataclass(slots=True)
class Outcome:
    """What became of the keys; `equal` ones with the value that both sides had (None: no row).

    `in_flight` ones are undecided, for `reason`; `hint` is the command that helps.
    """

    confirmed: dict[Key, Finding] = field(default_factory=dict)
    equal: dict[Key, Value | None] = field(default_factory=dict)
    in_flight: tuple[Key, ...] = ()
    reason: str = ""
    hint: str = ""
    stuck: bool = False
    """The stream stands still, so that nothing else can be judged either."""


@dataclass(slots=True)
class _Trace:
    """What the rounds saw of one key; `steady` counts those that saw the same as the one before."""

    source: Value | None = None
    held: Held | None = None
    steady: int = 0


def at_or_past(position: Position | None, bound: Position | None) -> bool:
    """See `Position.past`; no, where either is not known."""
    return position is not None and bound is not None and position.past(bound)


class Recheck:
    """Judges keys of one table; see the module's text. One per table, used from one thread."""

    def __init__(
        self,
        source: Source,
        target: Target,
        applied: Applied,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._target = target
        self._applied = applied
        self._patience = patience or Patience()
        self._clock = clock
        self._pause = pause

    def settle(self, keys: Sequence[Key]) -> Outcome:
        """Judges the keys; takes seconds while others write, and no longer than `Patience` says."""
        outcome = Outcome()
        traces = {key: _Trace() for key in keys}
        before = self._target.read(list(traces))
        standing = self._applied.standing()
        start, late = standing.position, standing.late
        for key, trace in traces.items():
            trace.held = before.get(key)
        quiet, last = 0, None
        deadline = self._clock() + self._patience.settle
        while traces:
            reading = self._source.read(list(traces))
            seen: dict[Key, set[Value | None]] = {key: {reading.rows.get(key)} for key in traces}
            waited = self._clock()
            stuck = self._await(reading.high, seen)
            deadline += self._clock() - waited
            if stuck is not None:
                outcome.reason, outcome.hint = stuck.obstacle, stuck.hint
                outcome.stuck = True
                break
            after = self._target.read(list(traces))
            end = self._applied.standing().position
            bound = self._source.upper_bound()
            quiet = quiet + 1 if bound == reading.high and last in (None, reading.high) else 0
            last = bound
            anchored = not late and at_or_past(reading.low, start)
            for key, trace in list(traces.items()):
                held = after.get(key)
                if (None if held is None else held.value) in seen[key]:
                    outcome.equal[key] = None if held is None else held.value
                    del traces[key]
                elif _proven(trace, seen[key], held, anchored, quiet >= QUIET_ROUNDS):
                    outcome.confirmed[key] = _finding(trace)
                    del traces[key]
            start = end
            if traces and self._clock() > deadline:
                outcome.reason = RESTLESS
                break
            if traces:
                self._pause(random.uniform(*PAUSE_SECONDS))  # noqa: S311 (a rhythm, not a secret)
        outcome.in_flight = tuple(traces)
        return outcome

    def _await(self, bound: Position, seen: Mapping[Key, set[Value | None]]) -> Standing | None:
        """Waits until `bound` is applied, adding what the source shows meanwhile to `seen`.

        None when it is, else why it will not be.
        """
        keys = list(seen) if len(seen) <= SAMPLED_KEYS else []
        begun = moved = self._clock()
        last: Position | None = None
        while True:
            standing = self._applied.standing()
            if at_or_past(standing.position, bound):
                return None
            now = self._clock()
            if standing.position != last:
                last, moved = standing.position, now
            if standing.obstacle:
                return standing
            stall = self._patience.late if standing.late else self._patience.stall
            if now - moved > stall or now - begun > self._patience.reach:
                return Standing(
                    standing.position,
                    f"the stream did not reach {bound} within {now - begun:.0f} s",
                    "dbbridge status",
                )
            if keys:
                sampled = self._source.sample(keys)
                for key, values in seen.items():
                    values.add(sampled.get(key))
            self._pause(POLL_SECONDS)


def _proven(
    trace: _Trace, seen: set[Value | None], held: Held | None, anchored: bool, quiet: bool
) -> bool:
    """Whether one of the three proofs holds for a key that looks different after a round."""
    value = next(iter(seen)) if len(seen) == 1 else None
    still = len(seen) == 1 and trace.held == held
    trace.steady = trace.steady + 1 if still and value == trace.source else int(still)
    trace.source, trace.held = value, held
    return still and (
        (anchored and held is not None)
        or (quiet and trace.steady >= QUIET_ROUNDS)
        or trace.steady >= STEADY_ROUNDS
    )


def _finding(trace: _Trace) -> Finding:
    if trace.held is None:
        return Finding("missing", trace.source, None)
    kind: Kind = "extra" if trace.source is None else "differs"
    return Finding(kind, trace.source, trace.held.value)
