"""One column of a key: a text that is the same on both servers, and constants made of it."""

from __future__ import annotations

import math
import re
import struct

from bridge.names import literal_mysql, quote_mysql
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of
from bridge.verify.digest import source_text, target_name, target_text

_NUMBERS = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "year", "decimal", "bit"}
)
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"})
_BINARIES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_MOMENTS = frozenset({"date", "datetime", "timestamp"})
_NUMBER = re.compile(r"-?\d{1,65}(\.\d{1,30})?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?)?")
_SPAN = re.compile(r"-?\d{2,3}:\d\d:\d\d(\.\d{1,6})?")
_HEX = re.compile(r"([0-9a-f]{2})*")
_BITS = re.compile(r"[01]{1,64}")


class KeyColumn:
    """What can be done with the texts of one key column.

    The text is the canonical one of the column's family, but for binary values, which are always in
    hexadecimal, whole.
    """

    def __init__(self, plan: ColumnPlan) -> None:
        self.plan = plan
        self._kind = plan.source.data_type
        self._target = target_of(plan)
        self._floating = self._kind in ("float", "double") and not self._target.is_text
        known = _NUMBERS | _TEXTS | _BINARIES | _MOMENTS
        self._constants = self._kind in known or self._kind == "time" or self._floating
        # There is no way back from these texts, so the target is searched by the text itself.
        self._by_text = bool(plan.policy.zone) or self._target.base.endswith("[]")

    # -- MySQL -------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """MySQL expression of the text."""
        if self._kind in _BINARIES:
            return f"LOWER(HEX({self._name}))"
        return source_text(self.plan)

    @property
    def compared(self) -> str:
        """What MySQL compares with `literal`: the column itself where its type has constants."""
        return self._name if self._constants else f"CAST({source_text(self.plan)} AS BINARY)"

    @property
    def sorted_by(self) -> str:
        """What MySQL orders by and compares with `order_literal`: for an ENUM its number."""
        return f"({self._name}+0)" if self._kind == "enum" else self._name

    def literal(self, text: str) -> str:
        """A constant for MySQL; '' if the source cannot hold the value."""
        kind = self._kind
        if kind in _NUMBERS:
            if self._target.base == "bit":
                return str(int(text, 2)) if _BITS.fullmatch(text) else ""
            return text if _NUMBER.fullmatch(text) else ""
        if kind in _TEXTS:
            return literal_mysql(text)
        if kind in _BINARIES:
            return f"x'{text}'" if _HEX.fullmatch(text) else ""
        if kind in _MOMENTS:
            bare = text.removesuffix("*").removesuffix("+00")
            return f"'{bare}'" if _MOMENT.fullmatch(bare) else ""
        if kind == "time":
            return f"'{text}'" if _SPAN.fullmatch(text) else ""
        if self._floating:
            number = _double(text)
            return repr(number) if math.isfinite(number) else ""
        return f"_binary 0x{text.encode().hex()}" if text else "_binary ''"

    def order_literal(self, text: str) -> str:
        """A constant for MySQL that `sorted_by` may be compared with."""
        if self._kind == "enum":
            return str(("", *self.plan.source.labels).index(text))
        return self.literal(text)

    # -- PostgreSQL --------------------------------------------------------------------------

    def target(self, alias: str = "") -> str:
        """PostgreSQL expression of the text."""
        if self._target.base == "bytea":
            return f"encode({target_name(self.plan, alias)},'hex')"
        return target_text(self.plan, alias)

    def searched(self, alias: str = "") -> str:
        """What PostgreSQL compares with `given`."""
        return target_text(self.plan, alias) if self._by_text else target_name(self.plan, alias)

    @property
    def cast(self) -> str:
        """The type of `given`: text without its length, so that longer values are not found."""
        by_text = self._by_text or self._target.is_text
        return "text" if by_text else self.plan.target_type

    def given(self, text: str) -> str | None:
        """What PostgreSQL reads as the value; None if the column cannot hold it."""
        if self._by_text:
            return text
        if self._floating:
            return repr(_double(text))
        if self._target.base == "boolean":
            return {"0": "f", "1": "t"}.get(text)
        if self._target.base == "bytea":
            return f"\\x{text}"
        limits = self._target.integers
        if limits is not None and "." not in text:
            return text if limits[0] <= int(text) <= limits[1] else None
        return text

    # -- both --------------------------------------------------------------------------------

    @property
    def ordered(self) -> bool:
        """Whether both sides can be read in ranges of the column."""
        return self._constants and not self._by_text

    @property
    def is_text(self) -> bool:
        """Whether the target orders it by a collation."""
        return self._target.is_text

    def shown(self, text: str) -> str:
        """The value as a person reads it."""
        return repr(_double(text)) if self._floating else text

    @property
    def _name(self) -> str:
        return quote_mysql(self.plan.source.name)


def _double(text: str) -> float:
    """The double of which the text is the bytes, the first one the highest."""
    (number,) = struct.unpack(">d", bytes.fromhex(text))
    assert isinstance(number, float)
    return number
