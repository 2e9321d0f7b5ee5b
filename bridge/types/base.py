"""What a type family is: one MySQL type in all its forms, side by side.

A family holds for each of its MySQL types and the PostgreSQL counterpart: the MySQL expression that
prints the value as COPY text (the copy), the conversion of its bytes in a rows event to the same
COPY text (the stream), the same for its value in a Debezium event, the two expressions whose texts
agree exactly when the values are equal (digests), and what a person sees in reports. A column is
read with its `ColumnPlan`, the decision that the mapping made about it.

COPY text is PostgreSQL's text format (manual, COPY, "Text Format"): columns separated by tab, NULL
as ``\\N``, and backslash, tab, newline and carriage return in a value escaped with a backslash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bridge.types.events import EventSettings, EventValue

Flavor = Literal["mysql", "mariadb"]
NULL = b"\\N"
"""NULL in COPY text."""


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column as the source's catalogue gives it.

    `ordinal` counts from 1 in the order of TABLE_MAP events, which hold invisible and virtual
    columns too. `length` is characters for text and bytes for binary types, bits for bit; `fsp` the
    digits of fractional seconds. `default` is MySQL's text of the default, `default_is_expression`
    tells ``CURRENT_TIMESTAMP`` from the word. `generated` is '', 'virtual' or 'stored'.
    """

    name: str
    ordinal: int
    data_type: str
    """information_schema's DATA_TYPE in lower case: 'bigint', 'enum', 'longtext', 'json' … ('json'
    on MariaDB too, where the catalogue says longtext with a json_valid check)."""
    column_type: str
    """The whole: "bigint(20) unsigned", "enum('a','b')"."""
    nullable: bool = True
    unsigned: bool = False
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    fsp: int = 0
    charset: str | None = None
    collation: str | None = None
    labels: tuple[str, ...] = ()
    default: str | None = None
    default_is_expression: bool = False
    generated: Literal["", "virtual", "stored"] = ""
    expression: str = ""
    auto_increment: bool = False
    on_update: str = ""
    comment: str = ""
    invisible: bool = False
    flavor: Flavor = "mysql"


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do with values that the target type cannot hold; the default loses nothing.

    zero_date: 'quarantine', 'as-null', 'as-text' (needs target text), or 'sentinel:VALUE'.
    out_of_range: 'quarantine', 'clamp', or 'as-null' (times outside a day, years, infinite values).
    nul: 'quarantine', 'strip', or 'replace:TEXT' (NUL characters in text and ``\\u0000`` in JSON).
    invalid: 'quarantine', 'replace' ('?', as the server itself prints them), for bytes that are not
    text in the column's charset.
    zone: the IANA zone in which a datetime is to be read ('' keeps it without zone).
    ambiguous: 'quarantine', 'earlier', 'later', for wall-clock times that a zone has twice or
    never.
    mask: values of this column never appear in reports.
    """

    zero_date: str = "quarantine"
    out_of_range: str = "quarantine"
    nul: str = "quarantine"
    invalid: str = "quarantine"
    zone: str = ""
    ambiguous: str = "quarantine"
    mask: bool = False


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """The decision about one carried column: source, target name and type, policies."""

    source: SourceColumn
    target_name: str
    target_type: str
    """As PostgreSQL's format_type prints it, lower case: 'numeric(20,0)', 'text[]', 'smallint' …,
    except 'varchar(10)', 'timestamp(6)' (without time zone) and 'timestamptz(3)'."""
    target_nullable: bool = True
    policy: Policy = field(default_factory=Policy)
    collate_c: bool = False
    """The column is text and part of a key or index: created with COLLATE "C"."""
    reason: str = ""

    def shown(self, text: str) -> str:
        """A value as reports may show it: masked where the mapping says so."""
        return "(masked)" if self.policy.mask else text


@dataclass(frozen=True, slots=True)
class Proposal:
    """One possible target form of a column, and why one would choose it."""

    target_type: str
    reason: str = ""
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Wire:
    """How the value of one column in a rows event becomes COPY text, for the code generator.

    The generator reads the raw value: for a column of fixed width with the `struct` code (without
    byte order; little-endian, '<'), e.g. 'q' or '5s'; for a column with a length prefix it hands
    over the bytes behind the prefix (`struct` is ''). `expression` is a Python expression over
    ``{v}`` (the raw value; it appears there once or more) and the names in `names`; its result goes
    into the line with `format`: '%d' for an int, '%b' for bytes. `escape` says that the bytes may
    hold characters that COPY text escapes, so the generator must care (without it the result is
    COPY text, perhaps NULL). The expression may raise BadValue and assign variables; their names
    and those in `names` end in the column's ordinal, so that no other column of the table has them.
    """

    struct: str = ""
    format: Literal["%d", "%b"] = "%b"
    expression: str = "{v}"
    names: Mapping[str, object] = field(default_factory=dict)
    escape: bool = False


class Family(Protocol):
    """All forms of the types of one family. Families hold no state; one instance each."""

    names: frozenset[str]
    """The values of SourceColumn.data_type that belong to the family."""

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """Target types that can hold the column; the first is the default."""
        ...

    def accepts(self, plan: ColumnPlan) -> str:
        """'' if the forms below work for this target type and these policies, else why not."""
        ...

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """MySQL expression: the non-NULL value `q` as COPY text (escaped), utf8mb4.

        For NULL and for values for which `bad` is true its result does not matter, but it must not
        fail (a warning that a character cannot be converted may come with such a value). A policy
        that turns the value into NULL gives NULL. Up to 4 KiB it is the stream's byte for byte, so
        that both name a key alike.
        """
        ...

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """MySQL condition that is true for values which must go to quarantine; '' if none can.

        Must be false (not NULL) for a NULL value.
        """
        ...

    def hidden(self, plan: ColumnPlan, q: str) -> str:
        """The part of `bad` that the COPY text does not show; '' if it shows all.

        It shows a NUL, and bytes that are no UTF-8: whoever reads the line sees them at less cost.
        """
        return self.bad(plan, q)

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """MySQL expression that fetches the value for `from_raw`.

        For values whose COPY text would be too long (over max_allowed_packet), and for quarantine.
        Adds as little as possible to the value's length.
        """
        ...

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """COPY text (escaped) of a non-NULL value fetched with `raw`; raises BadValue."""
        ...

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """How the stream decodes the column, given type code and metadata as in `layout`.

        Raises TableStopped if they do not fit the column.
        """
        ...

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """How the column's value in a Debezium event is read: the same COPY text as from the log.

        Raises TableStopped ('connector-loses-values') if events do not hold the value under these
        settings.
        """
        ...

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """MySQL expression: canonical text of the value as the target is meant to hold it.

        The input is not NULL; the result is where a policy makes it NULL.
        """
        ...

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """PostgreSQL expression: the same canonical text (type text) of the target's column `q`."""
        ...

    def same(self, plan: ColumnPlan, source_text: bytes, target_text: bytes) -> bool:
        """Whether two digest texts that may differ stand for equal values.

        Equal texts always do. Different ones can only where a target prints values in another way
        than the source (jsonb), so differing rows are to be asked about here before they count.
        """
        return source_text == target_text
