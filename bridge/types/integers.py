"""TINYINT … BIGINT of either sign, and YEAR.

MySQL sends integers little-endian; whether they are unsigned only the catalogue and the table map's
metadata know. YEAR is one byte: 0 for the year 0000, else years since 1900. Debezium sends BIGINT
UNSIGNED as a signed number of 64 bits (or, if told so, as a Decimal of scale 0), and the year 0000
as 1900, which is no YEAR of MySQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Raw

from bridge.errors import BadValue, TableStopped
from bridge.types import layout
from bridge.types.base import NULL, ColumnPlan, Family, Policy, Proposal, SourceColumn, Wire
from bridge.types.copytext import never_null, own
from bridge.types.events import CALL, EventSettings, EventValue, Form, decimal_schema
from bridge.types.target import Target, refuse, refuse_policy, target_of

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_CODES = {
    "tinyint": layout.TINY,
    "smallint": layout.SHORT,
    "mediumint": layout.INT24,
    "int": layout.LONG,
    "bigint": layout.LONGLONG,
    "year": layout.YEAR,
}
_STRUCTS = {"tinyint": "b", "smallint": "h", "int": "i", "bigint": "q"}
_SCHEMAS = {
    ("tinyint", False): "int16",
    ("tinyint", True): "int16",
    ("smallint", False): "int16",
    ("smallint", True): "int32",
    ("mediumint", False): "int32",
    ("mediumint", True): "int32",
    ("int", False): "int32",
    ("int", True): "int64",
    ("bigint", False): "int64",
    ("bigint", True): "int64",
    ("year", False): "int32:io.debezium.time.Year",
}
"""Types in embedded schemas, by type and whether it is unsigned."""
_LADDER = ("smallint", "integer", "bigint", "numeric(20,0)")


def mismatch(plan: ColumnPlan, code: int) -> TableStopped:
    """The error for an event whose type is not the one that the catalogue knows."""
    return TableStopped(
        f"column {plan.source.name} is {plan.source.column_type}, but the binlog sends type {code}",
        "the table was changed in a way that was not seen: copy it again (dbbridge tables resync)",
        code="type-mismatch",
    )


def lost(plan: ColumnPlan, why: str) -> TableStopped:
    """The error for a column whose values Debezium does not keep under the connector's settings."""
    return TableStopped(
        f"column {plan.source.name} ({plan.source.column_type}): {why}",
        "change the connector's settings, and have it make its snapshot anew",
        code="connector-loses-values",
    )


def source_range(column: SourceColumn) -> tuple[int, int]:
    """The least and greatest value that the column can hold."""
    if column.data_type == "year":
        return 0, 2155
    bits = _BITS[column.data_type]
    return (0, 2**bits - 1) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


class Limits:
    """An integer expression kept inside what the target holds, in MySQL and in the stream.

    Used by every family whose values are whole numbers.
    """

    def __init__(self, plan: ColumnPlan, source: tuple[int, int]) -> None:
        target = target_of(plan)
        bounds = (0, 1) if target.base == "boolean" else target.integers
        low, high = bounds or source
        self.low = low if low > source[0] else None
        self.high = high if high < source[1] else None
        self.truth = target.base == "boolean"
        self.policy = plan.policy.out_of_range

    @property
    def fits(self) -> bool:
        """Whether the target holds every value of the source."""
        return self.low is None and self.high is None

    def outside(self, q: str) -> str:
        """MySQL condition: the value does not fit."""
        low = [f"{q} < {self.low}"] if self.low is not None else []
        high = [f"{q} > {self.high}"] if self.high is not None else []
        return " OR ".join(low + high)

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """MySQL condition for quarantine, '' if nothing goes there."""
        if self.fits or self.policy != "quarantine":
            return ""
        return never_null(plan, self.outside(q))

    def mysql(self, q: str) -> str:
        """MySQL expression of the number that the target gets."""
        if self.fits or self.policy == "quarantine":
            return q
        if self.policy == "as-null":
            return f"IF({self.outside(q)}, NULL, {q})"
        if self.truth:
            return f"({q} <> 0)"
        if self.low is not None:
            q = f"GREATEST({q}, {self.low})"
        return f"LEAST({q}, {self.high})" if self.high is not None else q

    def check(self, value: int) -> bytes:
        """COPY text of the number that the target gets; raises BadValue."""
        below = self.low is not None and value < self.low
        above = self.high is not None and value > self.high
        if not (below or above):
            return b"%d" % value
        if self.policy == "as-null":
            return NULL
        if self.policy == "clamp":
            nearest = self.low if below else self.high
            return b"%d" % (value != 0 if self.truth else nearest or 0)
        raise BadValue("out-of-range", str(value))

    def wire(self, plan: ColumnPlan, struct: str, number: str, names: dict[str, object]) -> Wire:
        """The stream's form of a number given as an expression."""
        if self.fits:
            return Wire(struct, "%d", number, names)
        check: Callable[[int], bytes] = self.check
        name = own(plan, "limit")
        return Wire(struct, "%b", f"{name}({number})", {**names, name: check})

    def event(
        self,
        plan: ColumnPlan,
        kind: object,
        number: str,
        names: dict[str, object],
        schemas: frozenset[str],
    ) -> EventValue:
        """The form of a number in an event, given as an expression."""
        if self.fits:
            form = Form("integer") if kind is int and number == "{v}" else CALL
            return EventValue(kind, number, names, schemas=schemas, form=form)
        check: Callable[[int], bytes] = self.check
        name = own(plan, "limit")
        names = {**names, name: check}
        return EventValue(kind, f"{name}({number}).decode()", names, schemas=schemas)


def accepts_number(plan: ColumnPlan, digits: int, boolean: bool) -> str:
    """Whether a target holds whole numbers of up to `digits` digits (and the sign)."""
    target = target_of(plan)
    if target.is_text:
        if target.limit is not None and target.limit <= digits:
            return refuse(plan, f"varchar({digits + 1}) or text")
        return ""
    if target.base == "numeric" and (not target.args or target.args[0] > target.scale >= 0):
        return refuse_policy(plan, "out_of_range", ("quarantine", "clamp", "as-null"))
    if (
        target.base in ("smallint", "integer", "bigint") or (boolean and target.base == "boolean")
    ) and (not target.args):
        return refuse_policy(plan, "out_of_range", ("quarantine", "clamp", "as-null"))
    return refuse(plan, "smallint, integer, bigint, numeric, text" + ", boolean" * boolean)


def number_digest(target: Target, q: str) -> str:
    """PostgreSQL's text of a whole number, whatever type holds it."""
    if target.base == "boolean":
        return f"{q}::integer::text"
    if target.base == "numeric" and (not target.args or target.scale):
        return f"trim_scale({q})::text"
    return f"{q}::text"


class Integers(Family):
    """Whole numbers."""

    names = frozenset(_CODES)

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """The smallest type that holds all values; see Family."""
        fitting = [name for name in _LADDER if _holds(name, source_range(column))]
        default = [Proposal(name) for name in fitting]
        if column.data_type == "bigint" and column.unsigned:
            checked = Proposal("bigint", "if the greatest value is below 2^63")
            return (checked, *default) if column.auto_increment else (*default, checked)
        if column.column_type.startswith("tinyint(1)"):
            default.insert(1, Proposal("boolean", "if a full scan finds only 0 and 1"))
        return default

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family. A smaller integer type is accepted; values outside follow the policy."""
        if plan.source.column_type.startswith("year(2)"):
            return "YEAR(2) lost its century: change it to YEAR(4) in the source"
        low, high = source_range(plan.source)
        digits = max(len(str(-low)), len(str(high)))
        return accepts_number(plan, digits, plan.source.data_type == "tinyint")

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return self._limits(plan).mysql(_bare(plan, q))

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return self._limits(plan).bad(plan, q)

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return _bare(plan, q)

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        return self._limits(plan).check(int(value))

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        kind = plan.source.data_type
        if code != _CODES[kind]:
            raise mismatch(plan, code)
        limits = self._limits(plan)
        if kind == "year":
            return limits.wire(plan, "B", "({v} and {v} + 1900)", {})
        if kind == "mediumint":
            name, parse = own(plan, "integer"), _unsigned24 if plan.source.unsigned else _signed24
            return limits.wire(plan, "3s", f"{name}({{v}})", {name: parse})
        struct = _STRUCTS[kind]
        return limits.wire(plan, struct.upper() if plan.source.unsigned else struct, "{v}", {})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        kind, unsigned = plan.source.data_type, plan.source.unsigned
        limits = self._limits(plan)
        if kind == "bigint" and unsigned and settings.unsigned == "precise":
            name = own(plan, "integer")
            read: type = Raw if settings.numeric else bytes
            parse = _raw_integer if settings.numeric else _decimal_integer
            return limits.event(plan, read, f"{name}({{v}})", {name: parse}, decimal_schema(0))
        number = "{v}"
        if kind == "bigint" and unsigned:
            number = f"({{v}} if {{v}} >= 0 else {{v}} + {2**64})"
        elif kind == "year":
            number = "({v} if {v} != 1900 else 0)"
        # MariaDB and MySQL differ in whether YEAR counts as unsigned.
        schema = _SCHEMAS[kind, unsigned and kind != "year"]
        return limits.event(plan, int, number, {}, frozenset({schema}))

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return self.copy_text(plan, q)

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return number_digest(target_of(plan), q)

    @staticmethod
    def _limits(plan: ColumnPlan) -> Limits:
        return Limits(plan, source_range(plan.source))


def _holds(target_type: str, source: tuple[int, int]) -> bool:
    column = SourceColumn("", 1, "", "")
    bounds = target_of(ColumnPlan(column, "", target_type, policy=Policy())).integers
    return bounds is None or (bounds[0] <= source[0] and source[1] <= bounds[1])


def _bare(plan: ColumnPlan, q: str) -> str:
    """The number without the zeros in front that ZEROFILL and YEAR print."""
    if plan.source.data_type == "year" or "zerofill" in plan.source.column_type:
        return f"({q} + 0)"
    return q


_decimal_integer = partial(int.from_bytes, byteorder="big", signed=True)


def _raw_integer(value: Raw) -> int:
    return int(bytes(value))


def _signed24(value: bytes) -> int:
    return int.from_bytes(value, "little", signed=True)


def _unsigned24(value: bytes) -> int:
    return int.from_bytes(value, "little")
