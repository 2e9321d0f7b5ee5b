"""DECIMAL(p,s) (NUMERIC).

In rows events (NEWDECIMAL) the digits before and after the point are cut, from the point outwards,
into groups of nine; each is a big-endian number of four bytes, a shorter group at either end takes
fewer. The first bit is inverted, and for negative numbers all bits are (strings/decimal.cc).

Debezium sends the number without its point, big-endian in two's complement ("precise"), as text, or
as a double, which loses digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

from msgspec import Raw

from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import own
from bridge.types.events import CALL, EventSettings, EventValue, Form, decimal_schema
from bridge.types.integers import Limits, lost, mismatch
from bridge.types.target import refuse, refuse_policy, target_of


class Decimals(Family):
    """Exact numbers with a fixed number of digits after the point."""

    names = frozenset({"decimal"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        precision, scale = _digits(column)
        return (Proposal(f"numeric({precision},{scale})"),)

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family. Digits after the point are never given up."""
        precision, scale = _digits(plan.source)
        target = target_of(plan)
        wanted = f"numeric({precision},{scale}) or wider, text"
        if target.is_text:
            return refuse(plan, "text") if (target.limit or 99) < precision + 3 else ""
        if target.base == "numeric":
            if not target.args:
                return ""
            whole = target.args[0] - target.scale
            return (
                "" if target.scale >= scale and whole >= precision - scale else refuse(plan, wanted)
            )
        if target.base in ("smallint", "integer", "bigint") and scale == 0:
            return refuse_policy(plan, "out_of_range", ("quarantine", "clamp", "as-null"))
        return refuse(plan, wanted)

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
        limits = self._limits(plan)
        return value if limits.fits else limits.check(int(value))

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        precision, scale = _digits(plan.source)
        if code != layout.NEWDECIMAL or meta != precision << 8 | scale:
            raise mismatch(plan, code)
        name = own(plan, "decimal")
        struct = f"{layout.decimal_size(precision, scale)}s"
        decode = decoder(precision, scale)
        limits = self._limits(plan)
        if limits.fits:
            return Wire(struct, "%b", f"{name}({{v}})", {name: decode})
        return limits.wire(plan, struct, f"int({name}({{v}}))", {name: decode})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        scale = _digits(plan.source)[1]
        name = own(plan, "decimal")
        if settings.decimal == "double":
            raise lost(plan, "decimal.handling.mode=double rounds it")
        kind, convert = _event_form(settings, scale)
        schemas = frozenset({"string"}) if kind is str else decimal_schema(scale)
        text = f"{name}({{v}})"
        names: dict[str, object] = {name: convert}
        limits = self._limits(plan)
        if not limits.fits:
            return limits.event(plan, kind, f"int({text})", names, schemas)
        if kind is str:
            # BigDecimal prints small numbers with an exponent.
            plain = f"({{v}} if 'E' not in {{v}} else {text})"
            careful = f"({{v}} if {{v}}.replace('.', '', 1).lstrip('-').isdigit() else {text})"
            missing, form = settings.placeholder, Form("printed")
            return EventValue(kind, plain, names, careful, missing, schemas, form)
        form = Form("unscaled", scale) if kind is bytes else CALL
        return EventValue(kind, text, names, schemas=schemas, form=form)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        text = self.copy_text(plan, q)
        if _rescaled(plan):
            return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"
        return text

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        if _trimmed(plan):
            return f"trim_scale({q})::text"
        return f"{q}::text"

    @staticmethod
    def _limits(plan: ColumnPlan) -> Limits:
        precision, scale = _digits(plan.source)
        top = 10**precision - 1 if scale == 0 else 0
        return Limits(plan, (-top, top))


def decoder(precision: int, scale: int) -> Callable[[bytes], bytes]:
    """A function from NEWDECIMAL's bytes to the text that MySQL prints."""
    if precision - scale <= 18 and scale <= 9:
        return _short_decoder(precision, scale)
    size = layout.decimal_size(precision, scale)
    top = 1 << (8 * size - 1)
    everything = (1 << (8 * size)) - 1
    parse = int.from_bytes
    whole_groups = _groups(precision - scale, front=True)
    fraction_groups = _groups(scale, front=False)
    point = b"." if scale else b""

    def decode(value: bytes) -> bytes:
        bits = parse(value, "big") ^ top
        sign = b""
        if bits & top:
            bits ^= everything
            sign = b"-"
        plain = bits.to_bytes(size, "big")
        at = 0
        whole = 0
        for length, digits in whole_groups:
            whole = whole * 10**digits + parse(plain[at : at + length], "big")
            at += length
        fraction = b""
        for length, digits in fraction_groups:
            fraction += b"%0*d" % (digits, parse(plain[at : at + length], "big"))
            at += length
        return b"%b%d%b%b" % (sign, whole, point, fraction)

    return decode


def _short_decoder(precision: int, scale: int) -> Callable[[bytes], bytes]:
    """The common case: up to two groups before the point and one behind it."""
    parse = int.from_bytes
    size = layout.decimal_size(precision, scale)
    top = 1 << (8 * size - 1)
    everything = (1 << (8 * size)) - 1
    shift = 8 * layout.decimal_size(scale, 0)
    mask = (1 << shift) - 1
    long = precision - scale > 9
    positive = b"%%d.%%0%dd" % scale if scale else b"%d"
    negative = b"-" + positive

    def decode(value: bytes) -> bytes:
        bits = parse(value, "big")
        if bits & top:
            bits ^= top
            form = positive
        else:
            bits ^= everything ^ top
            form = negative
        whole = bits >> shift
        if long:
            whole = (whole >> 32) * 1_000_000_000 + (whole & 0xFFFFFFFF)
        return form % (whole, bits & mask) if scale else form % whole

    return decode


def _event_form(settings: EventSettings, scale: int) -> tuple[type, Callable[..., str]]:
    """What the JSON is read as, and how it becomes text."""
    if settings.decimal == "string":
        return str, printed(scale)
    if not settings.numeric:
        return bytes, unscaled(scale)
    convert = printed(scale)
    return Raw, lambda value: convert(bytes(value).decode())


def unscaled(scale: int) -> Callable[[bytes], str]:
    """A function from a Connect Decimal's bytes to the text that MySQL prints."""
    parse = int.from_bytes
    unit: int = 10**scale
    form = f"%d.%0{scale}d"

    def decode(value: bytes) -> str:
        number: int = parse(value, "big", signed=True)
        if not scale:
            return str(number)
        if number >= 0:
            return form % divmod(number, unit)
        return "-" + form % divmod(-number, unit)

    return decode


def printed(scale: int) -> Callable[[str], str]:
    """A function from a number as Java prints it to the text that MySQL prints; ValueError."""

    def decode(text: str) -> str:
        try:
            value = Decimal(text)
        except InvalidOperation as error:
            raise ValueError(f"{text!r:.80} is no number") from error
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or -exponent > scale:
            raise ValueError(f"{text!r:.80} has more than {scale} digits after the point")
        return f"{value:.{scale}f}"

    return decode


def _groups(digits: int, *, front: bool) -> tuple[tuple[int, int], ...]:
    """(bytes, digits) of the groups; the short one stands in front of the point's left side."""
    full = [(4, 9)] * (digits // 9)
    rest = digits % 9
    short = [(layout.decimal_size(rest, 0), rest)] if rest else []
    return tuple(short + full if front else full + short)


def _digits(column: SourceColumn) -> tuple[int, int]:
    return column.precision or 10, column.scale or 0


def _bare(plan: ColumnPlan, q: str) -> str:
    """The number without the zeros in front that ZEROFILL prints."""
    if "zerofill" in plan.source.column_type:
        precision, scale = _digits(plan.source)
        return f"CAST({q} AS DECIMAL({precision},{scale}))"
    return q


def _trimmed(plan: ColumnPlan) -> bool:
    """Whether the target prints another number of digits after the point."""
    target = target_of(plan)
    return target.base == "numeric" and (not target.args or target.scale != _digits(plan.source)[1])


def _rescaled(plan: ColumnPlan) -> bool:
    return _trimmed(plan) and _digits(plan.source)[1] > 0
