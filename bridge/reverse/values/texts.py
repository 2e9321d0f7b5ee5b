"""Text in any character set, bytes, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable

from bridge.reverse.values.base import Constant, Unheld, hexadecimal, quoted
from bridge.types.base import ColumnPlan
from bridge.types.charsets import UTF8, WIDE, encoder
from bridge.types.target import target_of
from bridge.types.text import charset_of

MOST_BYTES = {
    "tinytext": 2**8 - 1, "text": 2**16 - 1, "mediumtext": 2**24 - 1, "longtext": 2**32 - 1,
    "tinyblob": 2**8 - 1, "blob": 2**16 - 1, "mediumblob": 2**24 - 1, "longblob": 2**32 - 1,
}  # fmt: skip
_FOUR_BYTES = re.compile(rb"[\xf0-\xf7]")
_SPACE = b" "


def texts(plan: ColumnPlan) -> Constant:
    """CHAR, VARCHAR and the TEXTs."""
    source = plan.source
    charset = charset_of(source)
    most = source.length if source.data_type in ("char", "varchar") else None
    size = MOST_BYTES.get(source.data_type)
    fixed = source.data_type == "char"
    three = charset in UTF8 and charset != "utf8mb4"
    encode = None if charset in UTF8 else _encoded(charset)
    plain_ascii = charset not in WIDE and charset != "swe7"

    def constant(text: bytes) -> bytes:
        if fixed and text.endswith(_SPACE):
            raise Unheld("trailing-spaces", text)
        raw = text
        if encode is not None and not (plain_ascii and text.isascii()):
            raw = encode(text)
        elif three and _FOUR_BYTES.search(text):
            raise Unheld("not-in-charset", text)
        if most is not None and len(text) > most and len(text.decode()) > most:
            raise Unheld("too-long", text)
        if size is not None and len(raw) > size:
            raise Unheld("too-long", text)
        if raw is text:
            return quoted(text)
        return b"_%b %b" % (charset.encode(), hexadecimal(raw))

    return constant


def text_bytes(plan: ColumnPlan) -> Callable[[bytes], bytes]:
    """Text as the bytes that the column stores; raises Unheld."""
    charset = charset_of(plan.source)
    return _encoded(charset) if charset not in UTF8 else lambda text: text


def _encoded(charset: str) -> Callable[[bytes], bytes]:
    encode = encoder(charset)

    def encoded(text: bytes) -> bytes:
        try:
            return encode(text.decode())
        except UnicodeEncodeError:
            raise Unheld("not-in-charset", text) from None

    return encoded


def binaries(plan: ColumnPlan) -> Constant:
    """BINARY, VARBINARY and the BLOBs, printed in hexadecimal; or UUIDs."""
    source = plan.source
    if target_of(plan).base == "uuid":
        return lambda text: b"x'%b'" % text.replace(b"-", b"")
    most = 2 * (MOST_BYTES.get(source.data_type) or source.length or 0)
    exactly = source.data_type == "binary"

    def constant(text: bytes) -> bytes:
        digits = text[2:]
        if len(digits) > most:
            raise Unheld("too-long", text)
        if exactly and len(digits) != most:
            raise Unheld("too-short", text)
        return b"x'%b'" % digits

    return constant


def addresses(plan: ColumnPlan) -> Constant:
    """UUID, INET6 and INET4 of MariaDB; a network is no address."""
    kind = plan.source.data_type

    def constant(text: bytes) -> bytes:
        if kind != "uuid" and (b"/" in text or (b":" in text) != (kind == "inet6")):
            raise Unheld("out-of-range", text)
        return quoted(text)

    return constant
