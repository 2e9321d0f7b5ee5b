"""Text of every character set of MySQL and MariaDB, read exactly as the servers read it.

Their latin1 is Windows-1252 with C1 controls in its five holes. Single-byte sets are read by tables
made from the servers; for multi-byte ones Python's codec is corrected where the servers differ. A
byte sequence without a character raises UnicodeError, or becomes a question mark, which the servers
print for it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from functools import cached_property

from bridge.types.charset_tables import EUCJPMS, SWE7, UPPER

Decode = Callable[[bytes], str]
_HOLE = "\ufffe"
_ASCII = "".join(map(chr, range(128)))

_BIG5_UNKNOWN = ("a15a", "a1c3", "a1c5", "a1fe", "a240", "a2cc", "a2ce")
_CP932_UNKNOWN = (b"\x80", b"\xa0", b"\xfd", b"\xfe", b"\xff")

UTF8 = frozenset({"utf8mb4", "utf8mb3", "utf8"})
"""Sets whose bytes are UTF-8 already."""
WIDE = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}
"""Sets with more than one byte even for ASCII, and Python's names of them."""


class MultiByte:
    """A multi-byte set: Python's codec, and the codes where the servers read something else.

    `corrections` gives them, once they are needed, with None for codes without a character on the
    servers. Text that may hold one of them is read again, code by code.
    """

    def __init__(
        self, codec: str, corrections: Callable[[], Mapping[bytes, str | None]] = dict
    ) -> None:
        self._codec = codec
        self._made = corrections
        self.codec = codec
        """Python's."""

    @cached_property
    def codes(self) -> dict[str, bytes]:
        """Codes of the characters beyond ASCII that the servers read otherwise."""
        known = reversed(self._corrections.items())
        return {char: code for code, char in known if char and not char.isascii()}

    @cached_property
    def _corrections(self) -> dict[bytes, str | None]:
        return dict(self._made())

    @cached_property
    def _suspicious(self) -> frozenset[str]:
        wrong = (_decoded(code, self._codec) for code in self._corrections)
        return frozenset(char for char in wrong if char is not None)

    def __call__(self, raw: bytes) -> str:
        """The text; raises UnicodeDecodeError."""
        try:
            text = raw.decode(self._codec)
        except UnicodeDecodeError:
            if not self._corrections:
                raise
            return self._walk(raw)
        # An empty set would still look at every character.
        if not self._suspicious or self._suspicious.isdisjoint(text):
            return text
        return self._walk(raw)

    def lenient(self, raw: bytes) -> str:
        """The text, with a question mark for each code that has no character."""
        return self._walk(raw, "?")

    def _walk(self, raw: bytes, unknown: str | None = None) -> str:
        text = []
        at = 0
        while at < len(raw):
            char, size = self._code(raw, at)
            if char is None:
                char = unknown
            if char is None:
                raise UnicodeDecodeError(self._codec, raw, at, at + 1, "no character")
            text.append(char)
            at += size
        return "".join(text)

    def _code(self, raw: bytes, at: int) -> tuple[str | None, int]:
        """The character of the next code, and the code's length."""
        for size in (1, 2, 3, 4):
            code = raw[at : at + size]
            if code in self._corrections:
                return self._corrections[code], size
            char = _decoded(code, self._codec)
            if char is not None:
                return char, size
        return None, self._width(raw[at : at + 2])

    def _width(self, code: bytes) -> int:
        """Bytes of a code without a character, given at least its first two."""
        if self._codec == "utf-8" or (self._codec == "euc_jp" and code[0] == 0x8F):
            return 3
        if self._codec == "utf-32-be" or (self._codec == "gb18030" and code[1:].isdigit()):
            return 4
        return 2


class Ucs2(MultiByte):
    """Two bytes for each character: halves of surrogate pairs stay halves, even in a pair."""

    def __call__(self, raw: bytes) -> str:
        """The text; raises UnicodeDecodeError."""
        text = super().__call__(raw)
        return text if 2 * len(text) == len(raw) else self._walk(raw)

    def _code(self, raw: bytes, at: int) -> tuple[str | None, int]:
        return _decoded(raw[at : at + 2], self._codec), 2


def _decoded(code: bytes, codec: str) -> str | None:
    try:
        text = code.decode(codec)
    except UnicodeDecodeError:
        return None
    return text if len(text) == 1 else None


def _by_table(table: str) -> Decode:
    def decode(raw: bytes) -> str:
        return codecs.charmap_decode(raw, "strict", table)[0]

    return decode


def _private_use() -> dict[bytes, str | None]:
    """User-defined rows of the Japanese EUC sets, which the servers map to U+E000 and on."""
    rows = [bytes((row,)) for row in range(0xF5, 0xFF)]
    rows += [b"\x8f" + row for row in rows]
    codes = [row + bytes((cell,)) for row in rows for cell in range(0xA1, 0xFF)]
    return {code: chr(0xE000 + place) for place, code in enumerate(codes)}


def _eucjpms() -> dict[bytes, str | None]:
    corrections = _private_use()
    for first, chars in EUCJPMS.items():
        for place, char in enumerate(chars):
            if char != _HOLE:
                corrections[first[:-1] + bytes((first[-1] + place,))] = char
    pairs = "a1c1～ a1c2∥ a1dd－ a1f1￠ a1f2￡ a2cc￢ 8fa2b7～ 8fa2c3￤"  # noqa: RUF001
    return corrections | {bytes.fromhex(pair[:-1]): pair[-1] for pair in pairs.split()}


def _big5() -> dict[bytes, str | None]:
    """Seven characters more, and seven that the servers cannot tell (they print U+FFFD)."""
    more = {bytes((0xF9, 0xD6 + place)): char for place, char in enumerate("碁銹裏墻恒粧嫺")}
    return {
        **more,
        **{bytes.fromhex(code): None for code in _BIG5_UNKNOWN},
    }


def lenient(charset: str) -> Decode:
    """How to read a character set with question marks for what has no character."""
    strict = DECODERS[charset]
    if isinstance(strict, MultiByte):
        return strict.lenient
    table = "".join("?" if char == _HOLE else char for char in _table(charset))
    return _by_table(table.ljust(256, "?"))


def _table(charset: str) -> str:
    if charset == "swe7":
        return _ASCII.translate(SWE7)
    return _ASCII + UPPER.get(charset, "")


DECODERS: Mapping[str, Decode] = {
    **{name: _by_table(_table(name)) for name in (*UPPER, "ascii", "swe7")},
    **{name: MultiByte(codec) for name, codec in WIDE.items()},
    "ucs2": Ucs2("utf-16-be"),
    **dict.fromkeys(UTF8, MultiByte("utf-8")),
    "gb2312": MultiByte("gb2312"),
    "gbk": MultiByte("gbk"),
    "gb18030": MultiByte("gb18030", lambda: {b"\xa8\xbc": "\u1e3f"}),
    "euckr": MultiByte("cp949"),
    "big5": MultiByte("big5", _big5),
    "sjis": MultiByte("shift_jis", lambda: {b"\x81\x5f": "\\"}),
    "cp932": MultiByte("cp932", lambda: dict.fromkeys(_CP932_UNKNOWN)),
    "ujis": MultiByte("euc_jp", lambda: {**_private_use(), b"\xa1\xc0": "\\"}),
    "eucjpms": MultiByte("euc_jp", _eucjpms),
}
"""How to read each character set."""

COMPLETE = frozenset(name for name, upper in UPPER.items() if _HOLE not in upper)
"""Single-byte sets in which every byte is a character."""
EXACT = COMPLETE | UTF8 | {"utf16", "utf16le"}
"""Sets whose stored bytes always are text: the servers check it when they store them (surrogates in
UTF-8 apart, which MariaDB does not see)."""


def _codes(charset: str) -> Mapping[str, bytes]:
    """Codes of characters that Python's codec has none or another for."""
    decode = DECODERS[charset]
    if isinstance(decode, MultiByte):
        return decode.codes
    table = _table(charset)
    return {char: bytes((code,)) for code, char in reversed([*enumerate(table)]) if char != _HOLE}


def encoder(charset: str) -> Callable[[str], bytes]:
    """Writes text in a character set of the servers, so that they read the same text.

    What it gives raises UnicodeEncodeError for characters that the set does not have.
    """
    decode, codes = DECODERS[charset], _codes(charset)
    codec = decode.codec if isinstance(decode, MultiByte) else "ascii"
    widest = 0xFFFF if charset in ("utf8mb3", "utf8", "ucs2") else 0x10FFFF

    def encode(text: str) -> bytes:
        raw = b"".join(codes.get(char) or char.encode(codec) for char in text)
        if max(text, default="") > chr(widest) or decode(raw) != text:
            raise UnicodeEncodeError(codec, text, 0, len(text), f"not in {charset}")
        return raw

    return encode
