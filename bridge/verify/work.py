"""One part of a sweep, done by one worker: the same in a process of its own and under Celery.

The worker claims the part, goes on where the last one had written itself down, and saves as it
goes. Whoever dies, or is cut off, loses a second's work and nothing else.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace

import psycopg

from bridge.errors import BridgeError
from bridge.names import quote_mysql
from bridge.store.state import Connection
from bridge.verify.applied import StoredPosition
from bridge.verify.found import Found
from bridge.verify.gather import CHANGED
from bridge.verify.ledger import Ledger
from bridge.verify.pace import Pace
from bridge.verify.ranges import leading_integer
from bridge.verify.recheck import Key, Patience
from bridge.verify.records import Part, Run, Superseded
from bridge.verify.source import SourceReader, source_session
from bridge.verify.subject import Subject
from bridge.verify.table import Sessions, Walking, streams, sweep
from bridge.verify.tables import Followed

SAVE_SECONDS = 1.0
BEAT_SECONDS = 5.0
MOST_PARTS = 1_000


class _Saved:
    """Saves after the first range, and every second; see `table.Record`."""

    def __init__(
        self, ledger: Ledger, run: Run, part: Part, claim: int, wanted: Callable[[], bool]
    ) -> None:
        self._ledger, self._run, self._part, self._claim = ledger, run, part, claim
        self._wanted = wanted
        self._begun = time.monotonic()
        # The first range is saved at once, so that whoever is killed soon has come further.
        self._last = self._begun - SAVE_SECONDS
        self._reached = part.reached

    def reached(self, lower: Key, found: Found) -> None:
        """See Record; raises Superseded, and Interrupted where the run is not wanted any more."""
        self._reached = lower
        if time.monotonic() - self._last >= SAVE_SECONDS:
            self.save(found, done=False)
            if not self._wanted():
                raise Interrupted

    def save(self, found: Found, *, done: bool) -> None:
        """Writes down what is known; raises Superseded."""
        seconds = self._part.seconds + time.monotonic() - self._begun
        self._ledger.save(
            self._run, self._part, self._claim, self._reached, found, seconds, done=done
        )
        self._last = time.monotonic()


class _Beating:
    """Says in a session of its own that the worker lives, whatever long statement it waits for."""

    def __init__(self, sessions: Sessions, beat: Callable[[Connection], bool]) -> None:
        self._sessions, self._beat = sessions, beat
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        """The first one comes after `BEAT_SECONDS`."""
        self._thread.start()

    def stop(self) -> None:
        """No more of them; does not wait for one that is under way."""
        self._halt.set()

    def _run(self) -> None:
        while not self._halt.wait(BEAT_SECONDS):
            # Where the target does not answer the part is lost, and saving it will say so.
            with suppress(BridgeError, psycopg.Error), closing(self._sessions.target()) as conn:
                while self._beat(conn):
                    if self._halt.wait(BEAT_SECONDS):
                        return
                return


class Interrupted(Exception):
    """The sweep ends before its time; what is done is saved."""


def sweep_part(
    ledger: Ledger,
    run: Run,
    part: Part,
    table: Followed,
    sessions: Sessions,
    source_id: str,
    worker: str,
    *,
    walking: Walking | None = None,
    wanted: Callable[[], bool] = lambda: True,
    progress: Callable[[int], None] = lambda _: None,
    patience: Patience | None = None,
) -> bool:
    """Sweeps the part to its end; False if it is done already or in another worker's hands.

    `wanted` is asked all the time, by several threads: when it says no, Interrupted is raised.
    Raises Superseded and the drivers' errors.
    """
    claim = ledger.claim(run, part, worker)
    if claim is None:
        return False
    part = ledger.part(run, part.table, part.number) or part
    subject = Subject.of(table.plan, table.relation, run.level, twice=run.certify)
    stream = StoredPosition(ledger.conn, ledger.pipeline, part.table, source_id)
    found = Found(table.plan, keyed=subject.keys.ordered)
    part = _resumed(ledger, run, part, found)
    record = _Saved(ledger, run, part, claim, wanted)
    beating = _Beating(sessions, lambda conn: Ledger(conn, ledger.pipeline).beat(run, part, claim))
    try:
        beating.start()
        if part.version != table.plan.version:
            found.end(CHANGED, f"dbbridge verify {part.table.word}")
        elif streams(stream, found):
            sweep(
                subject,
                sessions,
                stream,
                found,
                bounds=(part.reached or part.lower, part.upper),
                record=record,
                progress=progress,
                patience=patience,
                walking=_while_wanted(walking or Walking(sessions), wanted),
            )
        record.save(found, done=True)
    except Superseded:
        raise
    except BaseException:
        with suppress(Exception):
            ledger.release(run, part, claim)
        raise
    finally:
        beating.stop()
    return True


def _while_wanted(walking: Walking, wanted: Callable[[], bool]) -> Walking:
    return replace(walking, pace=_WhileWanted(walking.pace, wanted))


class _WhileWanted(Pace):
    """The pace of another one; what waits, or would read on, ends once it is not wanted."""

    def __init__(self, pace: Pace, wanted: Callable[[], bool]) -> None:
        self.statement_seconds, self.bounded = pace.statement_seconds, pace.bounded
        self._pace, self._wanted = pace, wanted

    def wait(self, halted: Callable[[], bool]) -> None:
        """See Pace; raises Interrupted."""
        self._pace.wait(lambda: halted() or not self._wanted())
        if not self._wanted():
            raise Interrupted


def _resumed(ledger: Ledger, run: Run, part: Part, found: Found) -> Part:
    """Puts into `found` what was saved; a table without a key begins anew."""
    if part.reached is None or not found.keyed:
        return replace(part, reached=None)
    found.tally.match(part.rows, part.total)
    found.tally.suspects = dict.fromkeys(part.suspects)
    if part.found:
        found.restore(part.found, ledger.differences_of(run, part, found.room))
    return part


def cut(table: Followed, sessions: Sessions, rows: int | None) -> list[Part]:
    """The parts of a table: one, or where its key begins with an integer, of about `rows` rows."""
    whole = Part(table.name, 0, table.plan.version, None, None)
    wanted = min(MOST_PARTS, table.rows // rows) if rows else 1
    if wanted < 2 or leading_integer(table.plan.key_columns) is None:
        return [whole]
    bounds = _bounds(table, sessions, wanted)
    edges: list[Key | None] = [None, *bounds, None]
    pairs = itertools.pairwise(edges)
    return [
        replace(whole, number=number, lower=lower, upper=upper)
        for number, (lower, upper) in enumerate(pairs)
    ]


def _bounds(table: Followed, sessions: Sessions, parts: int) -> list[Key]:
    """Keys of rows that cut the range of the key's first column evenly."""
    first = leading_integer(table.plan.key_columns)
    assert first is not None
    subject = Subject.of(table.plan, table.relation, "counts")
    with closing(source_session(sessions.source())) as conn:
        reader = SourceReader(conn, subject)
        name = quote_mysql(first.source.name)
        ends = reader.extent(name)
        if ends is None:
            return []
        low, high = ends
        values = [low + (high - low) * at // parts for at in range(1, parts)]
        found = [reader.next_bound(None, 1, [f"{name} >= {value}"]) for value in values]
    return list(dict.fromkeys(key for key in found if key is not None))
