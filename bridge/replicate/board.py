"""What the daemon says of itself: counters that threads write and `status` reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.names import TableName
from bridge.replicate.stream import StreamFacts
from bridge.store.partitions import PartitionState, Place


@dataclass
class Copying:
    """A table that is being copied."""

    rows: int
    bytes: int
    estimated: int
    done: bool = False


@dataclass
class Board:
    """Written by the daemon's threads; every second it goes into the control schema."""

    phase: str = "starting"
    message: str = ""
    copying: dict[TableName, Copying] = field(default_factory=dict)
    lag_seconds: float | None = None
    rows_per_second: float = 0.0
    backlog_bytes: int | None = None
    kafka: list[dict[str, Any]] = field(default_factory=list)
    settling: dict[str, Any] = field(default_factory=dict)
    """Whether what an operator leaves of a cutover could be undone; empty: nobody has looked."""
    settling_at: float = 0.0
    """When that was looked at last (time.monotonic)."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: tuple[float, int] = (0.0, 0)
    _complete: float = 0.0
    """Everything that was committed until then is applied (seconds since 1970; 0: not known)."""
    _completed: dict[Place, float] = field(default_factory=dict)
    """The same of each partition, as far as this process has seen it at its end."""

    def copied(self, table: TableName, rows: int, size: int) -> None:
        """A chunk more is in the target."""
        with self._lock:
            entry = self.copying[table]
            entry.rows += rows
            entry.bytes += size

    def copied_so_far(self, table: TableName, rows: int, size: int) -> None:
        """All that is in the target, by whomever."""
        with self._lock:
            entry = self.copying[table]
            entry.rows, entry.bytes = rows, size

    def streamed(self, facts: StreamFacts | None, heartbeat: float | None = None) -> None:
        """Rates and lag out of the streams' counters; lag by `heartbeat` where there is one."""
        now = time.monotonic()
        with self._lock:
            total = sum(entry.rows for entry in self.copying.values())
            if facts is not None:
                total += facts.rows
                # A stream that has just begun knows nothing yet; the one before it did.
                self._complete = max(self._complete, facts.complete)
                if heartbeat is not None:
                    self.lag_seconds = heartbeat
                elif self._complete:
                    self.lag_seconds = round(max(0.0, time.time() - self._complete), 3)
            self._rate(now, total)

    def counted(self, rows: int) -> None:
        """So many row changes has this process applied so far."""
        with self._lock:
            self._rate(time.monotonic(), rows)

    def _rate(self, now: float, total: int) -> None:
        then, before = self._last
        if now - then >= 0.5:
            self.rows_per_second = max(0.0, (total - before) / (now - then)) if then else 0.0
            self._last = (now, total)

    def consumed(self, rows: Sequence[PartitionState], ends: Mapping[Place, int]) -> None:
        """How far the consumers of Kafka are, all processes together: by messages and by time."""
        now = time.time()
        with self._lock:
            self.kafka = [
                {
                    "topic": row.topic,
                    "partition": row.partition,
                    "offset": row.next_offset,
                    "lag": max(0, ends[row.place] - row.next_offset),
                    "consumer": row.holder,
                }
                for row in rows
            ]
            times = []
            for row in rows:
                if row.next_offset >= ends[row.place]:
                    self._completed[row.place] = now
                else:
                    times.append(max(row.source_time or 0.0, self._completed.get(row.place, 0.0)))
            known = [complete for complete in times if complete]
            if known or not times:
                self.lag_seconds = max(0.0, now - min(known, default=now))

    def could_settle(self, found: dict[str, Any]) -> None:
        """What was found when it was tried to open what undoing a cutover needs."""
        with self._lock:
            self.settling, self.settling_at = found, time.monotonic()

    def document(self) -> dict[str, Any]:
        """The JSON that the control schema keeps."""
        with self._lock:
            return {
                "phase": self.phase,
                "message": self.message,
                "lag_seconds": self.lag_seconds,
                "rows_per_second": round(self.rows_per_second, 1),
                "backlog_bytes": self.backlog_bytes,
                **({"kafka": self.kafka} if self.kafka else {}),
                **({"settling": self._settling()} if self.settling else {}),
            }

    def _settling(self) -> dict[str, Any]:
        return {**self.settling, "seconds": round(time.monotonic() - self.settling_at, 1)}
