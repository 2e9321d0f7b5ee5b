"""Tables without a key: compared as multisets of rows, by how often each row hash occurs.

The key of a row is its hash, its value how often the hash occurs. Equal rows can't be told apart,
so a row's version proves nothing: the recheck goes by steady rounds alone, which read the whole
table each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bridge.change.position import Position
from bridge.report.verification import MASKED, ColumnDifference, Difference
from bridge.types.base import ColumnPlan
from bridge.verify.buckets import together
from bridge.verify.explain import cut, shown_mysql, shown_postgres
from bridge.verify.readers import Sides
from bridge.verify.recheck import Finding, Held, Key, Reading, Value
from bridge.verify.source import SourceReader
from bridge.verify.sweep import Tally
from bridge.verify.target import TargetReader
from bridge.verify.values import KEYS_A_QUERY, parts

BUCKETS = 1 << 10
_WIDTH = (1 << 60) // BUCKETS
EXAMPLES_A_QUERY = 200
OPEN_ROWS = 50_000
"""Rows of both sides whose hashes are fetched at a time."""

Counts = dict[Key, int]


def sweep(
    sides: Sides,
    tally: Tally,
    *,
    relieve: Callable[[], None],
    progress: Callable[[int], None],
) -> None:
    """Compares all rows: the sums of both tables, and where they differ, those of hash ranges.

    `relieve` is called before suspects are added; the last ones are the caller's.
    """
    source = sides.source.totals(()).get(0, (0, 0))
    target = sides.target.totals((), ()).get(0, (0, 0))
    progress(source[0])
    if source == target:
        tally.match(*source)
        return
    mine = sides.source.totals((), f"{sides.source.subject.hash.source} DIV {_WIDTH}")
    theirs = sides.target.totals((), (), f"{sides.target.subject.hash.target}/{_WIDTH}")
    differing: list[tuple[int, int]] = []
    for bucket in mine.keys() | theirs.keys():
        here, there = mine.get(bucket, (0, 0)), theirs.get(bucket, (0, 0))
        if here == there:
            tally.match(*here)
        else:
            differing.append((bucket, here[0] + there[0]))
    for some in together(differing, OPEN_ROWS, BUCKETS):
        relieve()
        _compare(_source_counts(sides.source, some), _target_counts(sides.target, some), tally)


def _compare(source: Counts, target: Counts, tally: Tally) -> None:
    for key, count in source.items():
        if target.pop(key, 0) == count:
            tally.match(count, count * int(key[0]))
        else:
            tally.suspects[key] = None
    tally.suspects.update(dict.fromkeys(target))


def _source_counts(reader: SourceReader, buckets: Sequence[int]) -> Counts:
    listed = ",".join(map(str, buckets))
    return _grouped_source(reader, f"h DIV {_WIDTH} IN ({listed})")


def _grouped_source(reader: SourceReader, condition: str) -> Counts:
    inner = reader.subject.source([f"{reader.subject.hash.source} AS h"])
    rows = reader.query(f"SELECT h,COUNT(*) FROM ({inner}) AS hashed WHERE {condition} GROUP BY h")
    return {(str(int(value)),): int(count) for value, count in rows}


def _target_counts(reader: TargetReader, buckets: Sequence[int]) -> Counts:
    inner = reader.subject.target([f"{reader.subject.hash.target} AS h"])
    rows = reader.query(
        f"SELECT h,count(*) FROM ({inner}) AS hashed WHERE h/{_WIDTH} = ANY(%s) GROUP BY h",
        [list(buckets)],
    )
    return {(str(value),): count for value, count in rows}


def differences(sides: Sides, findings: Mapping[Key, Finding]) -> list[tuple[Key, Difference]]:
    """Each confirmed hash as rows that are missing or extra, with the values of one of them."""
    found: list[tuple[Key, Difference]] = []
    lost = {k: _surplus(f) for k, f in findings.items() if _surplus(f) > 0}
    more = {k: -_surplus(f) for k, f in findings.items() if _surplus(f) < 0}
    for some in parts(list(lost), EXAMPLES_A_QUERY):
        rows = _examples(sides, "source", some)
        found += [(k, Difference({}, "missing", rows.get(k, ()), lost[k])) for k in some]
    for some in parts(list(more), EXAMPLES_A_QUERY):
        rows = _examples(sides, "target", some)
        found += [(k, Difference({}, "extra", rows.get(k, ()), more[k])) for k in some]
    return found


def _surplus(finding: Finding) -> int:
    """How many more rows the source has."""
    return occurrences(finding.source) - occurrences(finding.target)


def occurrences(value: Value | None) -> int:
    """How often a hash occurs."""
    return value if isinstance(value, int) else 0


def _examples(
    sides: Sides, side: str, keys: Sequence[Key]
) -> dict[Key, tuple[ColumnDifference, ...]]:
    """One row of each hash, as a person reads it."""
    subject = sides.source.subject
    columns = subject.columns
    if side == "source":
        texts = [f"{shown_mysql(column)} AS c{at}" for at, column in enumerate(columns)]
        hashed = subject.source([f"{subject.hash.source} AS h", *texts])
        listed = ",".join(key[0] for key in keys)
        # Without sql_mode ONLY_FULL_GROUP_BY this gives one of the rows.
        rows = sides.source.query(
            f"SELECT * FROM ({hashed}) AS hashed WHERE h IN ({listed}) GROUP BY h"
        )
    else:
        texts = [f"{shown_postgres(column)} AS c{at}" for at, column in enumerate(columns)]
        hashed = subject.target([f"({subject.hash.target}) AS h", *texts])
        rows = sides.target.query(
            f"SELECT DISTINCT ON (h) * FROM ({hashed}) AS hashed WHERE h = ANY(%s)",
            [[int(key[0]) for key in keys]],
        )
    found: dict[Key, tuple[ColumnDifference, ...]] = {}
    for value, *texts in rows:
        pairs = zip(columns, texts, strict=True)
        found[str(value),] = tuple(_column(column, text, side) for column, text in pairs)
    return found


def _column(column: ColumnPlan, text: str | bytes | None, side: str) -> ColumnDifference:
    shown = cut(text.decode(errors="replace") if isinstance(text, bytes) else text, 0)
    if column.policy.mask:
        shown = MASKED
    name = column.source.name
    return (
        ColumnDifference(name, shown, None)
        if side == "source"
        else ColumnDifference(name, None, shown)
    )


class MultisetSource:
    """The source's side for the recheck."""

    def __init__(self, reader: SourceReader) -> None:
        self._reader = reader

    def read(self, keys: Sequence[Key]) -> Reading:
        """See `recheck.Source`; no lower bound, since a version proves nothing here."""
        return Reading(self._counts(keys), None, self._reader.upper_bound())

    def sample(self, keys: Sequence[Key]) -> Mapping[Key, Value]:
        """See `recheck.Source`."""
        return self._counts(keys)

    def upper_bound(self) -> Position:
        """See `recheck.Source`."""
        return self._reader.upper_bound()

    def _counts(self, keys: Sequence[Key]) -> dict[Key, Value]:
        found: dict[Key, Value] = {}
        for some in parts(keys, 10 * KEYS_A_QUERY):
            listed = ",".join(key[0] for key in some)
            found.update(_grouped_source(self._reader, f"h IN ({listed})"))
        return found


class MultisetTarget:
    """The target's side for the recheck."""

    def __init__(self, reader: TargetReader) -> None:
        self._reader = reader

    def read(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        """See `recheck.Target`."""
        inner = self._reader.subject.target([f"{self._reader.subject.hash.target} AS h"])
        found: dict[Key, Held] = {}
        for some in parts(keys, 10 * KEYS_A_QUERY):
            rows = self._reader.query(
                f"SELECT h,count(*) FROM ({inner}) AS hashed WHERE h = ANY(%s) GROUP BY h",
                [[int(key[0]) for key in some]],
            )
            found.update({(str(value),): Held(count, "") for value, count in rows})
        return found
