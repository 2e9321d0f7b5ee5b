"""JSON: a binary format on MySQL, text with a check on MariaDB.

MySQL's text of a document is reproduced in the stream byte by byte. jsonb refuses the character NUL
(``\\u0000``; policy `nul`) and, which only MariaDB's text can hold, half of a surrogate pair and
numbers beyond numeric. jsonb prints some numbers differently from MySQL (1e2 is 100), and MariaDB
keeps the text as it was written, so digests over jsonb can differ though the values are equal: then
`same` decides. Equal digests are equal values.

Debezium's stream prints a document of MySQL without the spaces that MySQL prints; they are put back
where the target keeps the text. It prints doubles of seven digits and more before the point, and
those below 0.001, with all the digits of their binary value (1e-7 has 84), of which the shortest
ones are made again as far as they cannot be a DECIMAL's. Two things are lost: that a number without
a fraction was a double, and zeros at the end of the fractions of times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import isinf
from typing import Any

from bridge.errors import BadValue
from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import escape, escaped_mysql, literal, never_null, own
from bridge.types.events import EventSettings, EventValue
from bridge.types.integers import mismatch
from bridge.types.json_binary import json_double, json_text
from bridge.types.target import refuse, target_of
from bridge.types.text import (
    Cleaner,
    escaped,
    nul_replacement,
    refuse_nul,
    refuse_text,
    text_wire,
    unfit,
    utf8,
)

_PAIR = "_utf8mb4 0x5C5C"
_NUL = "_utf8mb4 0x5C7530303030"
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SPACING = re.compile(rb'("(?:[^"\\]++|\\.)*+")|([,:])|\s++')
_LONG = re.compile(rb"[0-9][0-9.]{18}")
_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?[0-9]++(?:[.][0-9]++)?+(?:[eE][+-]?[0-9]++)?+')
_QUOTE = 0x22
_DECIMAL_DIGITS = 65
_CHANCE = 10
"""Digits behind the point from which a number with a double's value is one."""
_LAX = r"[.](?![0-9])|\\"
"""Where text that MariaDB takes for JSON may be none: ``1.``, or an escape like ``\\x``."""
_LAX_NUMERIC = _LAX + "|[eE][+-]?[0-9]{5}"
"""The same, and numbers that may be beyond numeric."""
_TOKENS = (
    r'^(?:[^"0-9]++|"(?:[^"\\]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"'
    r"|[0-9]++(?:[.][0-9]++)?+(?:[eE][+-]?[0-9]++)?+(?![.eE]))*+$"
)
_TOKENS_NUMERIC = _TOKENS.replace("[0-9]++)?+(?![.eE])", "[0-9]{1,4}+(?![0-9]))?+(?![.eE])")
"""JSON of well-formed strings and numbers, given that MariaDB took it for valid.

Read alike by PCRE and Python. Exponents of five digits are refused for numeric, whose limits lie
at 1e131072 and 1e-16384.
"""


class Documents(Family):
    """JSON documents."""

    names = frozenset({"json"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        forms = [Proposal("jsonb"), Proposal("json", "keeps the text"), Proposal("text")]
        if column.flavor == "mariadb":
            forms[:2] = [
                Proposal("json", "MariaDB's JSON is text, kept as it is"),
                Proposal("jsonb"),
            ]
        return forms

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        if target_of(plan).base not in ("jsonb", "json", "text"):
            return refuse(plan, "jsonb, json, text")
        return refuse_text(plan) if _textual(plan) else refuse_nul(plan)

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family. MySQL's text has no control characters."""
        text = self.digest_source(plan, q)
        return escaped(plan.source, text) if _textual(plan) else escaped_mysql(text, b"\\")

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        text = _text(plan, q)
        conditions = unfit(plan, q) if _textual(plan) else []
        conditions += _refused_mysql(plan, text)
        return never_null(plan, " OR ".join(conditions)) if conditions else ""

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"CAST({q} AS BINARY)" if _textual(plan) else _text(plan, q)

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        if _textual(plan):
            value = Cleaner(plan)(value)
        check = _checker(plan)
        return escape(check(value) if check else value)

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        name = own(plan, "json")
        check = _checker(plan)
        if _textual(plan):
            if code not in (layout.BLOB, layout.BLOB_COMPRESSED):
                raise mismatch(plan, code)
            wire = text_wire(plan, code)
            if check is None:
                return wire
            return Wire("", "%b", f"{name}({wire.expression})", {**wire.names, name: check}, True)
        if code != layout.JSON:
            raise mismatch(plan, code)
        decode: Callable[[bytes], bytes] = json_text
        if check is not None:
            checked = check

            def decode(data: bytes) -> bytes:
                return checked(json_text(data))

        return Wire("", "%b", f"{name}({{v}}).replace(b'\\\\', b'\\\\\\\\')", {name: decode})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        name = own(plan, "json")
        check = _checker(plan)
        steps: list[Callable[[bytes], bytes]] = [check] if check else []
        clean: Callable[[str], str] = _whole
        if _textual(plan):
            clean = Cleaner(plan).of_event
        else:
            keeps_text = target_of(plan).base != "jsonb"
            steps = [shortened, *([spaced] if keeps_text else []), *steps]

        def text(value: str) -> str:
            found = clean(value).encode()
            for step in steps:
                found = step(found)
            return escape(found).decode()

        schemas = frozenset({"string:io.debezium.data.Json", "string"})
        missing = settings.placeholder
        return EventValue(str, f"{name}({{v}})", {name: text}, unavailable=missing, schemas=schemas)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        text = _text(plan, q)
        if target_of(plan).base == "jsonb" and nul_replacement(plan) is not None:
            # Pairs of backslashes are set aside, so that what remains before u0000 is an escape.
            aside, back = "_utf8mb4 0x01", nul_replacement(plan) or ""
            text = f"REPLACE({text}, {_PAIR}, {aside})"
            text = f"REPLACE({text}, {_NUL}, {literal(_inner(back))})"
            text = f"REPLACE({text}, {aside}, {_PAIR})"
        return text

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"{q}::text"

    def same(self, plan: ColumnPlan, source_text: bytes, target_text: bytes) -> bool:
        """See Family. Compares what jsonb compares: members without order, numbers by value."""
        if source_text == target_text:
            return True
        if target_of(plan).base != "jsonb":
            return False
        try:
            return bool(_canonical(source_text) == _canonical(target_text))
        except ValueError:
            return False


def _textual(plan: ColumnPlan) -> bool:
    """Whether the source's JSON is text."""
    return plan.source.flavor == "mariadb"


def _text(plan: ColumnPlan, q: str) -> str:
    if _textual(plan):
        return utf8(plan.source, q)
    return f"CAST({q} AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin"


def _strict(plan: ColumnPlan) -> tuple[str, str] | None:
    """(Pattern of what has to be looked at, pattern that it must match); None if all is well."""
    if not _textual(plan) or target_of(plan).base == "text":
        return None
    numeric = target_of(plan).base == "jsonb"
    return (_LAX_NUMERIC, _TOKENS_NUMERIC) if numeric else (_LAX, _TOKENS)


def _refused_mysql(plan: ColumnPlan, text: str) -> list[str]:
    """MySQL conditions for what the target refuses; each looks for something rare first."""
    found = []
    strict = _strict(plan)
    if strict:
        lax, tokens = map(literal, strict)
        found.append(f"({text} REGEXP {lax} AND NOT {text} REGEXP {tokens})")
    if target_of(plan).base == "jsonb" and nul_replacement(plan) is None:
        escapes = f"REPLACE({text}, {_PAIR}, _utf8mb4 '')"
        found.append(f"(LOCATE({_NUL}, {text}) > 0 AND LOCATE({_NUL}, {escapes}) > 0)")
    return found


def _checker(plan: ColumnPlan) -> Callable[[bytes], bytes] | None:
    """Text to the text for the target, or BadValue; None: the stream need not look."""
    strict = _strict(plan)
    escapes = _escapes(plan) if target_of(plan).base == "jsonb" else None
    if strict is None:
        return escapes
    lax, tokens = (re.compile(pattern.encode()) for pattern in strict)
    loose = re.compile(_TOKENS.encode())

    def check(text: bytes) -> bytes:
        if lax.search(text) and not tokens.search(text):
            code = "out-of-range" if loose.search(text) else "invalid-json"
            raise BadValue(code, text[:100].decode())
        return escapes(text) if escapes else text

    return check


def _escapes(plan: ColumnPlan) -> Callable[[bytes], bytes]:
    """Applies the policy for NUL to escaped ones."""
    replacement = nul_replacement(plan)
    inner = None if replacement is None else _inner(replacement).encode()

    def one(match: re.Match[bytes]) -> bytes:
        if match[1] != b"0000":
            return match[0]
        if inner is None:
            raise BadValue("nul-character", match.string[:100].decode(errors="replace"))
        return inner

    return lambda text: _ESCAPE.sub(one, text) if b"\\u0000" in text else text


def _whole(text: str) -> str:
    """The document of an event, unless something of it was lost on the way.

    Debezium decodes the names of members by its JVM's default character set, which before Java 18
    is the locale's: a character that this does not have arrives as U+FFFD.
    """
    if "\0" in text:
        raise BadValue("invalid-json", ascii(text[:100]))
    if "\ufffd" in text:
        raise BadValue("mangled-text", text[:100])
    return text


def shortened(text: bytes) -> bytes:
    """A document with the shortest digits of doubles that were printed with all of theirs."""
    return _NUMBER.sub(_shortest, text) if _LONG.search(text) else text


def _shortest(match: re.Match[bytes]) -> bytes:
    """The digits that MySQL prints of a double, given all of them; other numbers as they are.

    A DECIMAL has at most 65 digits, and 30 behind the point. One that has ten or more there is
    taken for a double if it has the value of one, which one in ten million has by chance.
    """
    token = match[0]
    whole, _, fraction = token.lstrip(b"-").partition(b".")
    if token[0] == _QUOTE or (len(whole) <= _DECIMAL_DIGITS and len(fraction) < _CHANCE):
        return token
    if b"e" in token or b"E" in token:
        return token
    value = float(token)
    if isinf(value) or Decimal(value) != Decimal(token.decode()):
        return token
    return json_double(value)


def spaced(text: bytes) -> bytes:
    """A document with a space behind each comma and colon, and no other, as MySQL prints it."""
    return _SPACING.sub(_space, text)


def _space(match: re.Match[bytes]) -> bytes:
    return match[1] or (match[2] + b" " if match[2] else b"")


def _inner(replacement: str) -> str:
    """A text as it stands inside a JSON string."""
    return json.dumps(replacement, ensure_ascii=False)[1:-1]


def _canonical(text: bytes) -> Any:
    return _tagged(json.loads(text, parse_int=Decimal, parse_float=Decimal))


def _tagged(value: Any) -> Any:
    """Truth values told from numbers, which Python holds equal."""
    if isinstance(value, bool):
        return ("truth", value)
    if isinstance(value, dict):
        return {key: _tagged(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_tagged(member) for member in value]
    return value
