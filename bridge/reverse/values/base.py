"""What every conversion of a PostgreSQL value into a constant of MySQL's shares.

A value can be held if, carried back by the column's own mapping, it would be what it was: nothing
is rounded, cut, padded or put in another order. What cannot is told before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable

Constant = Callable[[bytes], bytes]
"""PostgreSQL's text of a value that is not NULL → a constant of MySQL's; raises Unheld."""


class Unheld(Exception):
    """A value that the source's column cannot hold.

    `code` is a stable word (``out-of-range``), `text` the value's beginning as a person reads it;
    `column` is set by whoever knows which one it was.
    """

    def __init__(self, code: str, value: bytes | str, column: str = "") -> None:
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        super().__init__(f"{code}: {text[:SHOWN]}")
        self.code = code
        self.text = text[:SHOWN]
        self.column = column


SHOWN = 200
"""Characters of a value that a message holds."""


def quoted(text: bytes) -> bytes:
    """A string constant in the session's utf8mb4, where backslashes escape (no sql_mode else)."""
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    if b"'" in text:
        text = text.replace(b"'", b"\\'")
    return b"'%b'" % text


def hexadecimal(raw: bytes) -> bytes:
    """A constant of bytes."""
    return b"x'%b'" % raw.hex().encode()
