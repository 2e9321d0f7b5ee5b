"""From a confirmed difference to its columns: what either side holds, as a person reads it.

Each column of the two rows is compared by a hash of its canonical text; only the texts of columns
that differ are fetched. A row that changed since it was confirmed is handed back to be judged
again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bridge.names import quote_mysql
from bridge.report.verification import MASKED, ColumnDifference, Difference
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of
from bridge.verify.digest import (
    FIRST,
    family,
    null_source,
    source_text,
    target_name,
    target_text,
)
from bridge.verify.keys import Keys
from bridge.verify.readers import Sides
from bridge.verify.recheck import Finding, Key, Value
from bridge.verify.values import KEYS_A_QUERY, parts, whole_hash

SHOWN = 200
"""Characters of a value that a report shows."""
FETCHED = 1 << 16
"""Characters of a value that are fetched to be shown."""
UNREADABLE = "?"
"""Stands for the hash of a text that the source could not build (over max_allowed_packet)."""
_LARGE_ROWS_A_QUERY = 20
"""Where the values that differ may be large."""
_LARGE = frozenset({"text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json"})

Row = tuple[str | None, ...]


@dataclass(slots=True)
class Explained:
    """Differences with their columns, and what turned out to be none.

    `equal` rows only seemed to differ, because the source could not build their whole text;
    `changed` ones are others by now; `unreadable` ones hold a value whose text the source cannot
    build.
    """

    differences: dict[Key, Difference] = field(default_factory=dict)
    equal: list[Key] = field(default_factory=list)
    changed: list[Key] = field(default_factory=list)
    unreadable: list[Key] = field(default_factory=list)


class Explainer:
    """Explains differences of one table with a key."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self._subject = sides.source.subject
        self._columns = self._subject.columns[self._subject.plan.key :]

    def explain(self, findings: Mapping[Key, Finding]) -> Explained:
        """What the confirmed differences consist of."""
        result = Explained()
        for some in parts(list(findings), KEYS_A_QUERY):
            self._explain({key: findings[key] for key in some}, result)
        return result

    def _explain(self, findings: Mapping[Key, Finding], result: Explained) -> None:
        source, target = self._source_hashes(list(findings)), self._target_hashes(list(findings))
        differing: dict[tuple[int, ...], list[Key]] = defaultdict(list)
        for key, finding in findings.items():
            mine, theirs = source.get(key), target.get(key)
            if _hash(mine) != _expected(finding.source) or _hash(theirs) != _expected(
                finding.target
            ):
                result.changed.append(key)
            elif mine is None or theirs is None:
                result.differences[key] = Difference(named(self._subject.keys, key), finding.kind)
            elif UNREADABLE in mine:
                result.unreadable.append(key)
            else:
                pairs = enumerate(zip(mine[1:], theirs[1:], strict=True))
                places = tuple(at for at, (one, other) in pairs if one != other)
                differing[places].append(key)
        for places, keys in differing.items():
            if places:
                self._fetch([self._columns[at] for at in places], keys, result)
            else:
                result.equal.extend(keys)

    # -- which columns -----------------------------------------------------------------------

    def _source_hashes(self, keys: Sequence[Key]) -> dict[Key, Row]:
        columns = [_hash_mysql(column) for column in self._columns]
        return self._source_rows([self._subject.hash.source, *columns], keys)

    def _target_hashes(self, keys: Sequence[Key]) -> dict[Key, Row]:
        columns = [_hash_postgres(column) for column in self._columns]
        return self._target_rows([f"({self._subject.hash.target})::text", *columns], keys)

    def _source_rows(self, outputs: Sequence[str], keys: Sequence[Key]) -> dict[Key, Row]:
        subject = self._subject
        condition = subject.keys.source_condition(keys)
        if not condition:
            return {}
        rows = self._sides.source.query(
            subject.source([*subject.keys.source, *outputs], [condition])
        )
        texts = [tuple(_text(value) for value in row) for row in rows]
        return _by_key(texts, subject.plan.key, keys)

    def _target_rows(self, outputs: Sequence[str], keys: Sequence[Key]) -> dict[Key, Row]:
        subject = self._subject
        rows = self._sides.target.query(
            subject.target([*subject.keys.target(), *outputs], [subject.keys.target_condition()]),
            subject.keys.target_arrays(keys),
        )
        return _by_key(rows, subject.plan.key, keys)

    # -- what they hold ----------------------------------------------------------------------

    def _fetch(self, columns: Sequence[ColumnPlan], keys: Sequence[Key], result: Explained) -> None:
        large = any(column.source.data_type in _LARGE for column in columns)
        for some in parts(keys, _LARGE_ROWS_A_QUERY if large else KEYS_A_QUERY):
            mine = self._source_rows([shown_mysql(column) for column in columns], some)
            theirs = self._target_rows([shown_postgres(column) for column in columns], some)
            for key in some:
                if key not in mine or key not in theirs:
                    result.changed.append(key)
                    continue
                values = zip(columns, mine[key], theirs[key], strict=True)
                found = tuple(_difference(*each) for each in values if not _equal(*each))
                if found:
                    result.differences[key] = Difference(
                        named(self._subject.keys, key), "differs", found
                    )
                else:
                    result.changed.append(key)


def named(keys: Keys, key: Key) -> dict[str, str]:
    """The key by source column names; masked values hidden."""
    return {
        column.plan.source.name: MASKED if column.plan.policy.mask else column.shown(text)
        for column, text in zip(keys.columns, key, strict=True)
    }


def _hash(row: Row | None) -> str | None:
    return None if row is None else row[0]


def _expected(value: Value | None) -> str | None:
    return None if value is None else str(whole_hash(value) & FIRST)


def _by_key(rows: Sequence[Row], width: int, keys: Sequence[Key]) -> dict[Key, Row]:
    wanted = set(keys)
    found = {}
    for row in rows:
        key = tuple(text or "" for text in row[:width])
        if key in wanted:
            found[key] = row[width:]
    return found


def _hash_mysql(column: ColumnPlan) -> str:
    """NULL for NULL, the hash of the text, or `UNREADABLE`."""
    return f"IF({null_source(column)},NULL,IFNULL(SHA2({source_text(column)},256),'{UNREADABLE}'))"


def _hash_postgres(column: ColumnPlan) -> str:
    return f"encode(sha256(convert_to({target_text(column)},'UTF8')),'hex')"


def shown_mysql(column: ColumnPlan) -> str:
    """What a report shows: the value itself, where the canonical text is made for machines."""
    name = quote_mysql(column.source.name)
    if target_of(column).base == "bytea":
        return f"LOWER(HEX(LEFT({name},{FETCHED})))"
    if target_of(column).base in ("real", "double precision"):
        return f"IF({name} IS NULL,NULL,CONCAT({name}*1e0))"
    if _documents(column):
        return source_text(column)
    return f"LEFT({source_text(column)},{FETCHED})"


def shown_postgres(column: ColumnPlan) -> str:
    """The same of the target's value."""
    name = target_name(column)
    if target_of(column).base == "bytea":
        return f"encode(substr({name},1,{FETCHED}),'hex')"
    if target_of(column).base in ("real", "double precision"):
        return f"{name}::double precision::text"
    if _documents(column):
        return target_text(column)
    return f"left({target_text(column)},{FETCHED})"


def _documents(column: ColumnPlan) -> bool:
    return target_of(column).base == "jsonb"


def _equal(column: ColumnPlan, source: str | None, target: str | None) -> bool:
    """Whether a document is the same although its text is not."""
    if source is None or target is None or not _documents(column):
        return False
    return family(column).same(column, source.encode(), target.encode())


def _difference(column: ColumnPlan, source: str | None, target: str | None) -> ColumnDifference:
    if column.policy.mask:
        return ColumnDifference(column.source.name, MASKED, MASKED)
    place = _first_difference(source or "", target or "")
    return ColumnDifference(column.source.name, cut(source, place), cut(target, place))


def _first_difference(one: str, other: str) -> int:
    for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return place
    return min(len(one), len(other))


def cut(text: str | None, place: int) -> str | None:
    """The part around the first difference; … stands for what is left out."""
    if text is None or len(text) <= SHOWN:
        return text
    start = max(0, min(place - SHOWN // 4, len(text) - SHOWN))
    end = start + SHOWN
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
