"""The row hash: one number per row, the same on MySQL, MariaDB and PostgreSQL when the rows agree.

A row's text is its columns' canonical texts (`digest_source`, `digest_target` of the families),
joined so that different rows have different texts: bits first that say which columns are NULL,
then the values one after the other, separated; a value that may hold the separator has its length
in front. The hash is the first 60 bits of SHA-256 of that text. A set of rows is compared by its
number of rows and the sum of their hashes: SHA-256 because sums of CRC32 cancel out, 60 bits
because PostgreSQL's bigint is signed, SHA and not MD5 because MySQL 9.6 and FIPS hosts have no
MD5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bridge.names import quote_mysql, quote_postgres
from bridge.types import family_of
from bridge.types.base import ColumnPlan, Family
from bridge.types.target import target_of

TOO_LONG = 1 << 60
"""The hash of a row whose text MySQL could not build (longer than max_allowed_packet, so NULL with
warning 1301). No real hash is so large, so such a row never passes for an equal one."""
SECOND_BITS = 128
"""Where both hashes are taken, one integer holds them: the second one above so many bits."""
FIRST = (1 << SECOND_BITS) - 1
"""The bits of the first one."""
SEPARATOR = "\x1f"
_GROUP = 90
"""PostgreSQL functions take at most 100 arguments."""
_BLOBS = frozenset({"tinyblob", "blob", "mediumblob", "longblob"})
_PLAIN = frozenset(
    {
        "tinyint",
        "smallint",
        "mediumint",
        "int",
        "bigint",
        "year",
        "decimal",
        "float",
        "double",
        "bit",
    }
    | {"date", "datetime", "timestamp", "time", "binary", "varbinary", "uuid"}
    | _BLOBS
)
"""Types whose canonical text, unless the target is a text, never holds the separator."""
_SHORT = (_PLAIN - _BLOBS) | {"char", "varchar", "enum", "set"}
"""Types of which a row holds at most 65,535 bytes (MySQL manual, "Limits on Table Column Count and
Row Size")."""
_PRINTED = frozenset(
    {"smallint", "integer", "bigint", "numeric", "date", "time", "timestamp", "timestamptz", "uuid"}
)
"""Target types whose cast to text is what concat_ws prints by itself, without a text in between."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The row hash of some columns, as SQL expressions over unqualified column names.

    `source` is for MySQL and MariaDB, `target` for PostgreSQL; both give an integer, never NULL.
    """

    source: str
    target: str
    second: tuple[str, str] | None = None
    """The same over other 60 bits of SHA-256, source and target, where they are wanted."""
    texts: tuple[str, str] = ("", "")
    """The row's text, source and target, which tells where it ends: rows that are joined, with
    `SEPARATOR` between them, can be told apart. Values that may be long are in it as their hash."""

    @property
    def sources(self) -> list[str]:
        """MySQL's expressions, one or two."""
        return [self.source, *(self.second or ())[:1]]

    @property
    def targets(self) -> list[str]:
        """PostgreSQL's, as many."""
        return [self.target, *(self.second or ())[1:]]


@dataclass(frozen=True, slots=True)
class _Item:
    """One column in the row's text."""

    source: str
    target: str
    null_source: str
    null_target: str
    nullable: bool
    plain: bool
    short: bool

    @property
    def shortened(self) -> _Item:
        """The same, but a value that may be long is its hash."""
        if self.short:
            return self
        target = f"encode(sha256(textsend(({self.target})::text)),'hex')"
        return replace(self, source=f"SHA2({self.source},256)", target=target, plain=True)


def row_digest(columns: Sequence[ColumnPlan], *, twice: bool = False) -> Digest:
    """The hash over the values of `columns`; with `twice` also the second one."""
    items = [_item(column) for column in columns]
    items.sort(key=lambda item: not item.plain)
    mine, theirs = _row(items, closed=False)
    second = (hash_mysql(mine, 1), hash_postgres(theirs, 1)) if twice else None
    short = [item.shortened for item in items]
    return Digest(hash_mysql(mine), hash_postgres(theirs), second, _row(short, closed=True))


def _row(items: Sequence[_Item], *, closed: bool) -> tuple[str, str]:
    """The row's text, source and target; only where it is `closed` it tells where it ends."""
    source, target = _bits(items), _target_bits(items)
    for item in items:
        if not item.plain and (closed or item is not items[-1]):
            source.append(f"LENGTH({item.source})")
            target.append(f"octet_length({item.target})")
        source.append(item.source)
        target.append(item.target)
    separator = f"_utf8mb4 0x{SEPARATOR.encode().hex()}"
    return (
        _join(source, separator, "CONCAT_WS"),
        _join(target, f"chr({ord(SEPARATOR)})", "concat_ws"),
    )


def hash_mysql(text: str, which: int = 0) -> str:
    """MySQL's 60-bit hash of a text. CONV gives a string, which SUM would add as doubles.

    `which` 1 takes the second of SHA-256's four 64-bit words (each without its last four bits).
    """
    digits = f"SHA2({text},256)"
    # LEFT looks at 15 characters, SUBSTR at all 64: a tenth of a row's whole cost on MariaDB.
    part = f"SUBSTR({digits},{1 + 16 * which},15)" if which else f"LEFT({digits},15)"
    return f"IFNULL(CAST(CONV({part},16,10) AS UNSIGNED),{TOO_LONG})"


def hash_postgres(text: str, which: int = 0) -> str:
    """PostgreSQL's: bit(60) keeps the first 15 of the 16 hexadecimal digits.

    textsend gives the bytes in the session's encoding, which is UTF-8; convert_to looks its name up
    for every row.
    """
    word = f"substr(sha256(textsend({text})),{1 + 8 * which},8)"
    return f"('x'||encode({word},'hex'))::bit(60)::bigint"


def source_text(column: ColumnPlan) -> str:
    """MySQL's canonical text of a column."""
    return family(column).digest_source(column, quote_mysql(column.source.name))


def target_text(column: ColumnPlan, alias: str = "") -> str:
    """PostgreSQL's canonical text of a column."""
    return family(column).digest_target(column, target_name(column, alias))


def family(column: ColumnPlan) -> Family:
    """The family of a carried column."""
    found = family_of(column.source)
    assert found is not None, f"{column.source.name} is carried, so its type is known"
    return found


def target_name(column: ColumnPlan, alias: str = "") -> str:
    """The target column's quoted name, qualified by the alias."""
    return f"{alias}{'.' if alias else ''}{quote_postgres(column.target_name)}"


def null_source(column: ColumnPlan) -> str:
    """MySQL condition: the target is meant to hold NULL (the value is, or a policy makes it so)."""
    policy = column.policy
    if "as-null" in (policy.zero_date, policy.out_of_range):
        return f"ISNULL({source_text(column)})"
    return f"ISNULL({quote_mysql(column.source.name)})"


def _item(column: ColumnPlan) -> _Item:
    target, text = target_of(column), target_text(column)
    labelled = column.source.data_type == "enum" and SEPARATOR not in "".join(column.source.labels)
    plain = (column.source.data_type in _PLAIN or labelled) and not target.is_text
    nullable = column.source.nullable or column.target_nullable
    if target.base in _PRINTED and text == f"{target_name(column)}::text":
        text = target_name(column)
    return _Item(
        source_text(column),
        text,
        null_source(column),
        f"{target_name(column)} IS NULL",
        nullable,
        plain,
        column.source.data_type in _SHORT,
    )


def _bits(items: Sequence[_Item]) -> list[str]:
    nulls = [item.null_source for item in items if item.nullable]
    return [f"CONCAT({','.join(nulls)})"] if nulls else []


def _target_bits(items: Sequence[_Item]) -> list[str]:
    nulls = [
        f"CASE WHEN {item.null_target} THEN '1' ELSE '0' END" for item in items if item.nullable
    ]
    return ["||".join(nulls)] if nulls else []


def _join(texts: Sequence[str], separator: str, function: str) -> str:
    """The texts joined without the NULLs, which the bits tell; in groups, alike on both sides."""
    if len(texts) <= _GROUP:
        return f"{function}({separator},{','.join(texts)})"
    groups = [texts[at : at + _GROUP] for at in range(0, len(texts), _GROUP)]
    return _join([_join(group, separator, function) for group in groups], separator, function)
