"""BIT(1) … BIT(64). Rows events send them big-endian in as few bytes as they need.

Debezium sends one bit as a truth value, more as little-endian bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import own
from bridge.types.events import EventSettings, EventValue
from bridge.types.integers import Limits, accepts_number, mismatch, number_digest
from bridge.types.target import refuse, target_of


class Bits(Family):
    """Bit fields, kept as bits or read as unsigned numbers."""

    names = frozenset({"bit"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        width = _width(column)
        number = "bigint" if width < 64 else "numeric(20,0)"
        choices = [Proposal(f"bit({width})"), Proposal(number, "read as a number")]
        if width == 1:
            choices.insert(1, Proposal("boolean", "a single bit is a truth value"))
        return choices

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        width = _width(plan.source)
        target = target_of(plan)
        if target.base == "bit":
            same = (target.args or (1,)) == (width,)
            return "" if same else refuse(plan, f"bit({width})")
        return accepts_number(plan, len(str(2**width - 1)), width == 1)

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        if target_of(plan).base == "bit":
            return f"LPAD(BIN({q} + 0), {_width(plan.source)}, '0')"
        return self._limits(plan).mysql(f"({q} + 0)")

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return self._limits(plan).bad(plan, f"({q} + 0)")

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"({q} + 0)"

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        if target_of(plan).base == "bit":
            return format(int(value), f"0{_width(plan.source)}b").encode()
        return self._limits(plan).check(int(value))

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        width = _width(plan.source)
        if code != layout.BIT or meta != width:
            raise mismatch(plan, code)
        size = (width + 7) // 8
        name = own(plan, "bits")
        if target_of(plan).base == "bit":
            if size == 1:
                texts = tuple(format(bits, f"0{width}b").encode() for bits in range(2**width))
                return Wire("B", "%b", f"{name}[{{v}}]", {name: texts})
            form = f"0{width}b"
            return Wire(
                f"{size}s",
                "%b",
                f"{name}({{v}})",
                {name: lambda v: format(int.from_bytes(v, "big"), form).encode()},
            )
        if size == 1:
            return self._limits(plan).wire(plan, "B", "{v}", {})
        number = f"{name}({{v}}, 'big')"
        return self._limits(plan).wire(plan, f"{size}s", number, {name: int.from_bytes})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        width = _width(plan.source)
        kind: type = bool if width == 1 else bytes
        schemas = frozenset({"boolean" if width == 1 else "bytes:io.debezium.data.Bits"})
        name = own(plan, "bits")
        number, names = "({v} + 0)", dict[str, object]()
        if width > 1:
            number, names = f"{name}({{v}}, 'little')", {name: int.from_bytes}
        if target_of(plan).base != "bit":
            return self._limits(plan).event(plan, kind, number, names, schemas)
        text = f"format({number}, '0{width}b')"
        return EventValue(kind, text, names, schemas=schemas)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return self.copy_text(plan, q)

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return number_digest(target_of(plan), q)

    @staticmethod
    def _limits(plan: ColumnPlan) -> Limits:
        return Limits(plan, (0, 2 ** _width(plan.source) - 1))


def _width(column: SourceColumn) -> int:
    """Bits; the catalogue gives them as NUMERIC_PRECISION."""
    return column.length or column.precision or 1
