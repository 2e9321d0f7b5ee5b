"""What verification writes down, as frozen values, and how rows become them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from bridge.change.position import Kind, Position
from bridge.errors import BridgeError
from bridge.names import TableName
from bridge.verify.recheck import Key
from bridge.verify.subject import Level


class Superseded(BridgeError):
    """Somebody else has claimed the part meanwhile."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Run:
    """A verification that is under way; `seconds` since it began.

    `scheduled`: workers began it, and finish it.
    """

    id: int
    level: Level
    certify: bool
    via: str
    scheduled: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """A range of keys of one table, after `lower` up to `upper` (None: open).

    Everything up to `reached` is in `rows` and `total`; `suspects` are not judged yet; `found` is
    `Found.state`. `silent`: seconds since its worker last saved (None: nobody has).
    """

    table: TableName
    number: int
    version: str
    lower: Key | None
    upper: Key | None
    reached: Key | None = None
    rows: int = 0
    total: int = 0
    suspects: tuple[Key, ...] = ()
    found: dict[str, Any] | None = None
    seconds: float = 0.0
    done: bool = False
    worker: str = ""
    silent: float | None = None


@dataclass(frozen=True, slots=True)
class PartState:
    """How far a part is. `holder`: the worker that is at it now, '' if none is.

    `tries`: how often it was begun, or failed, since it last came further; `error`: why.
    """

    table: TableName
    number: int
    rows: int
    done: bool
    tries: int
    error: str
    holder: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What is proven of one table; see the control schema's comment.

    `open` are keys that could not be judged, `obstacle` says why the proof cannot be kept up (''
    if it can), `differences` how many are known, `updated_at` is in seconds since 1970.
    `log_server`: the server whose log was read up to the position's coordinates, as it named itself
    over that log's connection; '' if none was.
    """

    table: TableName
    verification: int
    level: Level
    generation: int
    version: str
    fingerprint: str
    position: Position
    swept: bool
    rows: int
    total: int
    rechecked: int
    open: tuple[Key, ...]
    equivalences: tuple[str, ...]
    obstacle: str
    differences: int
    updated_at: float
    log_server: str = ""


def _key(key: list[str] | None) -> Key | None:
    return None if key is None else tuple(key)


def part_of(row: tuple[Any, ...]) -> Part:
    """A row of the query `parts`."""
    schema, table, number, version, lower, upper, reached, rows, total, *rest = row
    suspects, found, seconds, done, worker, silent = rest
    return Part(
        TableName(schema, table),
        number,
        version,
        _key(lower),
        _key(upper),
        _key(reached),
        rows,
        int(total),
        tuple(tuple(key) for key in suspects),
        found,
        seconds,
        done,
        worker,
        silent,
    )


def proof_of(row: tuple[Any, ...]) -> Proof:
    """A row of the query `proofs`."""
    schema, table, number, level, generation, version, fingerprint, *rest = row
    kind, text, file, offset, swept, rows, total, rechecked, open_, *more = rest
    equivalences, obstacle, differences, updated_at, log_server = more
    return Proof(
        TableName(schema, table),
        number,
        level,
        generation,
        version,
        fingerprint,
        Position(cast(Kind, kind), text, file, offset),
        swept,
        rows,
        int(total),
        rechecked,
        tuple(tuple(key) for key in open_),
        tuple(equivalences),
        obstacle,
        differences,
        updated_at,
        log_server,
    )
