"""Positions in a source's log: MySQL GTID sets, MariaDB GTIDs, and binlog file with offset.

A position names everything up to a point. It is written as `status` prints it: ``uuid:1-77,…``
(MySQL), ``0-1-100,2-1-5`` (MariaDB: domain-server-sequence), or ``binlog.000003:1234``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bridge.errors import ConfigError

Kind = Literal["mysql-gtid", "mariadb-gtid", "file"]
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_MARIADB = re.compile(r"(\d+)-(\d+)-(\d+)")
_FILE = re.compile(r"(.+\.(\d+)):(\d+)")

Intervals = tuple[tuple[int, int], ...]
"""Sorted, disjoint, not adjacent; both ends inclusive."""


def merge_intervals(intervals: list[tuple[int, int]]) -> Intervals:
    """Sorted intervals without overlaps and without neighbours that could be one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def parse_gtid_set(text: str) -> dict[str, Intervals]:
    """MySQL's text of a GTID set, ``uuid[:tag]:1-5:7,…`` (manual, "GTID Sets").

    Keys are ``uuid`` or ``uuid:tag``. Raises ConfigError.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for part in "".join(text.split()).split(","):
        if not part:
            continue
        uuid, *pieces = part.split(":")
        if not _UUID.fullmatch(uuid) or not pieces:
            raise ConfigError(f"“{part}” is not a GTID set", "write it as SHOW STATUS prints it")
        sid = uuid.lower()
        for piece in pieces:
            first, _, last = piece.partition("-")
            if first.isdigit() and (last.isdigit() or not last):
                found.setdefault(sid, []).append((int(first), int(last or first)))
            elif _TAG.fullmatch(piece.lower()):
                sid = f"{uuid.lower()}:{piece.lower()}"
            else:
                raise ConfigError(f"“{part}” is not a GTID set", "an interval looks like 1-5")
    return {sid: merge_intervals(found[sid]) for sid in sorted(found)}


@dataclass(frozen=True, slots=False)
class Position:
    """Everything up to a point in the log.

    `text` is the canonical form without coordinates. `file` and `offset` are the binlog coordinates
    of the server that was read, where they are known (they mean nothing on another server).
    """

    kind: Kind
    text: str
    file: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return self.text

    @cached_property
    def sets(self) -> Mapping[str, Intervals]:
        """A MySQL position's intervals per server UUID (and tag)."""
        return parse_gtid_set(self.text) if self.kind == "mysql-gtid" else {}

    @cached_property
    def domains(self) -> Mapping[int, tuple[int, int]]:
        """A MariaDB position's (server id, sequence number) per replication domain."""
        if self.kind != "mariadb-gtid":
            return {}
        triples = (tuple(map(int, part.split("-"))) for part in self.text.split(",") if part)
        return {domain: (server, sequence) for domain, server, sequence in triples}

    @property
    def coordinates(self) -> tuple[int, int]:
        """(file number, offset), which order positions of one server."""
        return file_number(self.file), self.offset

    def covers(self, other: Position) -> bool:
        """Whether everything up to `other` is also up to here (reflexive).

        Raises ValueError for positions of different kinds, which cannot be compared.
        """
        if self.kind != other.kind:
            raise ValueError(f"cannot compare {self} with {other}")
        if self.kind == "mysql-gtid":
            return all(_within(spans, self.sets.get(sid, ())) for sid, spans in other.sets.items())
        if self.kind == "mariadb-gtid":
            mine = self.domains
            return all(
                sequence <= mine.get(domain, (0, 0))[1]
                for domain, (_, sequence) in other.domains.items()
            )
        return self.coordinates >= other.coordinates

    def past(self, bound: Position) -> bool:
        """Whether everything up to `bound` is also up to here, both of one server.

        Positions of different kinds compare by their binlog coordinates; where those are unknown:
        no.
        """
        if self.kind == bound.kind:
            return self.covers(bound)
        return bool(self.file and bound.file) and self.coordinates >= bound.coordinates

    @classmethod
    def parse(cls, text: str, file: str = "", offset: int = 0) -> Position:
        """A position as `status` prints it; raises ConfigError."""
        stripped = "".join(text.split())
        if _MARIADB.fullmatch(stripped.split(",")[0]):
            if not all(_MARIADB.fullmatch(part) for part in stripped.split(",")):
                raise ConfigError(f"“{text}” is not a MariaDB GTID", "write it like 0-1-100,2-1-5")
            return cls("mariadb-gtid", stripped, file, offset)
        if _UUID.match(stripped):
            return cls("mysql-gtid", format_gtid_set(parse_gtid_set(stripped)), file, offset)
        match = _FILE.fullmatch(stripped)
        if match:
            return cls("file", stripped, match[1], int(match[3]))
        raise ConfigError(
            f"“{text}” is not a position",
            "write it as `dbbridge status` prints it: a GTID set, a MariaDB GTID, or file:position",
        )

    @classmethod
    def at(cls, file: str, offset: int) -> Position:
        """A position by binlog coordinates alone."""
        return cls("file", f"{file}:{offset}", file, offset)


def file_number(file: str) -> int:
    """The running number of a binlog file, ``binlog.000012`` → 12; 0 where there is none."""
    tail = file.rpartition(".")[2]
    return int(tail) if tail.isdigit() else 0


def format_gtid_set(sets: Mapping[str, Intervals]) -> str:
    """The text that MySQL prints for a GTID set, servers sorted."""
    return ",".join(
        sid + "".join(f":{a}" if a == b else f":{a}-{b}" for a, b in sets[sid])
        for sid in sorted(sets)
    )


def _within(spans: Intervals, outer: Intervals) -> bool:
    return all(any(a <= first and last <= b for a, b in outer) for first, last in spans)


class Progress:
    """A position that grows with each committed transaction; cheap to add to, printed when asked.

    Mutable on purpose: one is kept per stream, and thirty thousand transactions a second pass it.
    """

    def __init__(self, start: Position) -> None:
        self.kind: Kind = start.kind
        self.file = start.file
        self.offset = start.offset
        self._sets = {sid: list(spans) for sid, spans in start.sets.items()}
        self._domains = dict(start.domains)

    def add_mysql(self, sid: str, number: int) -> None:
        """Adds a transaction of MySQL; `sid` is the UUID in lower case, with ``:tag`` if any."""
        spans = self._sets.setdefault(sid, [])
        if spans and spans[-1][1] + 1 == number:
            spans[-1] = (spans[-1][0], number)
        else:
            self._sets[sid] = list(merge_intervals([*spans, (number, number)]))

    def add_mariadb(self, domain: int, server: int, sequence: int) -> None:
        """Adds a transaction (event group) of MariaDB."""
        self._domains[domain] = (server, sequence)

    def covers(self, other: Position) -> bool:
        """Whether everything up to `other` has been added.

        Against a GTID position only GTIDs count: its coordinates may be those of a stream that had
        received nothing yet. Raises ValueError for kinds that cannot be compared.
        """
        if other.kind == "file":
            return (file_number(self.file), self.offset) >= other.coordinates
        if other.kind != self.kind:
            raise ValueError(f"cannot compare {self.position()} with {other}")
        if other.kind == "mysql-gtid":
            return all(
                _within(spans, tuple(self._sets.get(sid, ()))) for sid, spans in other.sets.items()
            )
        return all(
            sequence <= self._domains.get(domain, (0, 0))[1]
            for domain, (_, sequence) in other.domains.items()
        )

    def position(self) -> Position:
        """The position as it is now."""
        if self.kind == "mysql-gtid":
            text = format_gtid_set({sid: tuple(spans) for sid, spans in self._sets.items()})
            return Position("mysql-gtid", text, self.file, self.offset)
        if self.kind == "mariadb-gtid":
            text = ",".join(f"{d}-{s}-{n}" for d, (s, n) in sorted(self._domains.items()))
            return Position("mariadb-gtid", text, self.file, self.offset)
        return Position.at(self.file, self.offset)
