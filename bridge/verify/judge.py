"""Suspects become verdicts: rechecked, explained, told from rows that are missing on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.names import quote_mysql
from bridge.report.verification import Difference
from bridge.verify.applied import Discarded, Quarantined
from bridge.verify.digest import family
from bridge.verify.explain import Explained, Explainer
from bridge.verify.found import Found
from bridge.verify.multiset import MultisetSource, MultisetTarget, differences, occurrences
from bridge.verify.readers import Sides
from bridge.verify.recheck import RESTLESS, Applied, Key, Outcome, Patience, Recheck
from bridge.verify.source import SourceReader
from bridge.verify.values import KEYS_A_QUERY, parts, whole_hash

MOST_SUSPECTS = 20_000
"""So many keys are kept before they are judged."""
ATTEMPTS = 3
"""How often a row is judged that is another one after it was confirmed."""


class Stream(Applied, Protocol):
    """What the control schema says of the table."""

    def quarantined(self) -> list[Quarantined]:
        """The rows kept out of the target."""
        ...

    def discarded(self) -> dict[bytes, Discarded]:
        """The rows that an operator gave up."""
        ...


class Stuck(Exception):
    """The stream does not go on, so nothing further can be judged; `hint` is what helps."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.reason, self.hint = outcome.reason, outcome.hint


class Judge:
    """Judges the suspects of one table with a key."""

    def __init__(
        self, sides: Sides, stream: Stream, found: Found, patience: Patience | None
    ) -> None:
        self._sides = sides
        self._stream = stream
        self._found = found
        self._recheck = Recheck(sides.source, sides.target, stream, patience)
        self._explainer = Explainer(sides)

    def relieve(self) -> None:
        """Judges if there are many suspects; raises Stuck."""
        if len(self._found.tally.suspects) >= MOST_SUSPECTS:
            self.finish()

    def finish(self) -> None:
        """Judges all suspects; raises Stuck."""
        suspects, self._found.tally.suspects = list(self._found.tally.suspects), {}
        for _ in range(ATTEMPTS):
            if not suspects:
                return
            outcome = self._recheck.settle(suspects)
            explained = self._explainer.explain(outcome.confirmed)
            self._count_equal(outcome, explained)
            self._record(explained)
            self._found.leave(outcome.in_flight, outcome.reason, outcome.hint)
            if outcome.stuck:
                self._found.leave(explained.changed, outcome.reason, outcome.hint)
                raise Stuck(outcome)
            suspects = explained.changed
        self._found.leave(suspects, RESTLESS)

    def _count_equal(self, outcome: Outcome, explained: Explained) -> None:
        confirmed = [outcome.confirmed[key].target for key in explained.equal]
        for value in [*outcome.equal.values(), *confirmed]:
            if value is not None:
                self._found.tally.match(1, whole_hash(value))

    def _record(self, explained: Explained) -> None:
        found = self._found
        kept_out = self._kept_out(explained)
        for key, difference in explained.differences.items():
            code, reason = kept_out.get(key, ("", ""))
            if code == "discarded":
                found.discarded[reason] += 1
            elif code:
                found.quarantined.append(Difference(difference.key, "quarantined"))
            elif not difference.columns or _names(difference) - found.whole:
                found.add(key, difference)
        found.leave(
            explained.unreadable,
            "values longer than the source's max_allowed_packet, whose text it cannot build",
        )

    def _kept_out(self, explained: Explained) -> dict[Key, tuple[str, str]]:
        """Those of the missing rows that are known to be: ('quarantined' or 'discarded', why).

        One that was given up is so no longer when the source has mended it.
        """
        missing = [key for key, d in explained.differences.items() if d.kind == "missing"]
        if not missing:
            return {}
        given_up = self._stream.discarded()
        waiting = {entry.key: entry.code for entry in self._stream.quarantined()}
        if not given_up and not waiting:
            return {}
        found: dict[Key, tuple[str, str]] = {}
        for key, (copied, bad) in _copied_keys(self._sides.source, missing).items():
            if copied in waiting:
                found[key] = ("quarantined", waiting[copied])
            elif copied in given_up and given_up[copied].still(bad=bad):
                found[key] = ("discarded", given_up[copied].reason)
        return found


class MultisetJudge:
    """Judges the suspects of one table without a key."""

    def __init__(
        self, sides: Sides, stream: Stream, found: Found, patience: Patience | None
    ) -> None:
        self._sides = sides
        self._found = found
        self._recheck = Recheck(
            MultisetSource(sides.source), MultisetTarget(sides.target), stream, patience
        )

    def finish(self) -> None:
        """Judges all suspects; raises Stuck."""
        found = self._found
        suspects, found.tally.suspects = list(found.tally.suspects), {}
        if not suspects:
            return
        outcome = self._recheck.settle(suspects)
        for key, count in outcome.equal.items():
            found.tally.match(occurrences(count), occurrences(count) * int(key[0]))
        found.leave(outcome.in_flight, outcome.reason, outcome.hint)
        if self._sides.source.subject.loose:
            found.leave(
                outcome.confirmed,
                "documents that may only be written differently; without a key that cannot be told",
            )
        else:
            for key, finding in outcome.confirmed.items():
                common = min(occurrences(finding.source), occurrences(finding.target))
                found.tally.match(common, common * int(key[0]))
            for key, difference in differences(self._sides, outcome.confirmed):
                found.add(key, difference)
        if outcome.stuck:
            raise Stuck(outcome)


def _names(difference: Difference) -> set[str]:
    return {column.name for column in difference.columns}


def _copied_keys(source: SourceReader, keys: Sequence[Key]) -> dict[Key, tuple[bytes, bool]]:
    """COPY text of the keys, under which the quarantine knows them, and whether the row is bad."""
    subject = source.subject
    texts = [
        family(column).copy_text(column, quote_mysql(column.source.name))
        for column in subject.plan.key_columns
    ]
    bad = [family(c).bad(c, quote_mysql(c.source.name)) for c in subject.plan.columns]
    texts.append(f"({' OR '.join(f'({each})' for each in bad if each) or 'FALSE'})")
    found: dict[Key, tuple[bytes, bool]] = {}
    for some in parts(keys, KEYS_A_QUERY):
        condition = subject.keys.source_condition(some)
        if condition:
            outputs = [*subject.keys.source, *texts]
            for row in source.query(subject.source(outputs, [condition])):
                raw = [v if isinstance(v, bytes) else v.encode() for v in row]
                key = tuple(v.decode() for v in raw[: subject.plan.key])
                found[key] = (b"\t".join(raw[subject.plan.key : -1]), raw[-1] != b"0")
    return found
