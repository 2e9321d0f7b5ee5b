"""Pieces from which the families build MySQL expressions and COPY text."""

from __future__ import annotations

from bridge.types.base import ColumnPlan

_ESCAPES = ((0x5C, b"\\\\"), (0x09, b"\\t"), (0x0A, b"\\n"), (0x0D, b"\\r"))
_TABLE = {code: text.decode() for code, text in _ESCAPES}


def escape(value: bytes) -> bytes:
    """The bytes with backslash, tab, newline and carriage return as COPY text wants them."""
    for code, text in _ESCAPES:
        if code in value:
            value = value.replace(bytes((code,)), text)
    return value


def escape_text(text: str) -> str:
    """The same for text."""
    for code, escaped in _TABLE.items():
        if chr(code) in text:
            text = text.replace(chr(code), escaped)
    return text


def literal(text: str | bytes) -> str:
    """A utf8mb4 string constant for MySQL that no sql_mode reads differently."""
    raw = text.encode() if isinstance(text, str) else text
    return f"_utf8mb4 0x{raw.hex()}" if raw else "_utf8mb4 ''"


def escaped_mysql(expression: str, codes: bytes = b"\\\t\n\r") -> str:
    """The MySQL text expression with those of its characters escaped; the backslash first."""
    for code, text in _ESCAPES:
        if code in codes:
            expression = f"REPLACE({expression}, _utf8mb4 0x{code:02x}, _utf8mb4 0x{text.hex()})"
    return expression


def never_null(plan: ColumnPlan, condition: str) -> str:
    """The condition, false for NULL."""
    return f"COALESCE({condition}, 0)" if plan.source.nullable else f"({condition})"


def own(plan: ColumnPlan, word: str) -> str:
    """A name for generated code that no other column of the table uses."""
    return f"{word}_{plan.source.ordinal}"
