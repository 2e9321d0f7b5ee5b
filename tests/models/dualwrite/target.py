"""The target: committed rows, the bridge's own tables, and locks as PostgreSQL has them.

A row that a transaction has written is locked until its end. Whoever wants to write it waits, and
then sees what was committed. A delete that finds no committed row locks nothing, and an insert
waits for a transaction that may leave, or free, the same unique value.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.models.dualwrite.source import Log, Row, Rows

FREE = -1
WAITS = -2


@dataclass(eq=False, slots=True)
class Writing:
    """An open transaction: what it has written, unseen by others, and the claims it holds."""

    rows: dict[int, Row | None] = field(default_factory=dict)
    claims: list[int] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)


class Target:
    """All that is committed, and all locks."""

    def __init__(self, log: Log) -> None:
        self.rows: Rows
        self.quarantine: Rows
        self.ahead: dict[int, tuple[int, ...]]
        """The operations whose write left a row, by key, until the stream writes it (xmin)."""
        self.copy(log.states[0])
        self.position = 0
        """Up to here the stream has claimed."""
        self.frontier = 0
        """Up to here the tables hold what the log says: the same, but further until tables that
        were copied again join the stream, and less far while they stand still."""
        self.standing = False
        self.confirmed: dict[int, bool] = {}
        """applied_ops: operations by number, and whether the stream has met them."""
        self.watermark = 0
        self.epoch = 1
        self.provisional = True
        self.sharing = 0
        """Holders of the group's shared lock."""
        self.held: dict[int, Writing] = {}
        self.claiming: dict[int, Writing] = {}
        self.versions: dict[int, int] = {}

    def shared(self) -> bool:
        """Whether somebody holds the group's lock, so that what is written under it must wait."""
        return self.sharing > 0

    def copy(self, rows: Rows) -> None:
        """Hold these rows, the bad ones in quarantine."""
        self.rows = {key: row for key, row in rows.items() if row[1] >= 0}
        self.quarantine = {key: row for key, row in rows.items() if row[1] < 0}
        self.ahead = {}

    def conflict(self, mine: Writing, key: int, unique: int | None) -> int:
        """The key of the row that holds this unique value, or FREE, or WAITS."""
        if unique is None:
            return FREE
        rows = self.rows
        for other, writing in self.held.items():
            if writing is not mine and other != key:
                new, old = writing.rows[other], rows.get(other)
                if (new and new[0] == unique) or (old and old[0] == unique):
                    return WAITS
        written = mine.rows
        for other, row in written.items():
            if row and row[0] == unique and other != key:
                return other
        for other, row in rows.items():
            if row[0] == unique and other != key and other not in written:
                return other
        return FREE

    def write(self, mine: Writing, key: int, row: Row | None) -> None:
        """Write a row that nobody else has locked."""
        mine.rows[key] = row
        self.held[key] = mine

    def commit(self, mine: Writing, ops: tuple[int, ...] = ()) -> None:
        """Let all others see the rows, and go on; `ops` if they are those of operations."""
        for key, row in mine.rows.items():
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row
            if row is None or not ops:
                self.ahead.pop(key, None)
            else:
                self.ahead[key] = ops
        self.versions.update(mine.versions)
        self.release(mine)

    def release(self, mine: Writing) -> None:
        """Give the locks back; what was not committed is gone."""
        for key in mine.rows:
            del self.held[key]
        for op in mine.claims:
            del self.claiming[op]
        mine.rows.clear()
        mine.claims.clear()
        mine.versions.clear()

    def forget(self, watermark: int) -> None:
        """Remove the confirmed operations up to a number, whose writes are refused from now on."""
        self.watermark = max(self.watermark, watermark)
        gone = {op for op, sure in self.confirmed.items() if sure and op <= self.watermark}
        for op in gone:
            del self.confirmed[op]


class CoarseTarget(Target):
    """A target whose unique index takes two neighbouring values for one."""

    def conflict(self, mine: Writing, key: int, unique: int | None) -> int:
        """As above, for both values."""
        if unique is None:
            return FREE
        found = super().conflict(mine, key, unique)
        return super().conflict(mine, key, unique ^ 1) if found == FREE else found
