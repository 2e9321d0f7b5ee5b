"""Which character set a collation number means, and how Python reads it.

The numbers are the same on MySQL and MariaDB where both have the collation
(information_schema.COLLATIONS); MariaDB adds 1024 for the variant without padding, and numbers its
UCA 14.0.0 collations from 2048 in blocks of 256 per character set.
"""

from __future__ import annotations

_SINGLE = tuple(
    """
    . big5 latin2 dec8 cp850 latin1 hp8 koi8r latin1 latin2 swe7 ascii ujis sjis cp1251 latin1
    hebrew . tis620 euckr latin7 latin2 koi8u cp1251 gb2312 greek cp1250 latin2 gbk cp1257
    latin5 latin1 armscii8 utf8mb3 cp1250 ucs2 cp866 keybcs2 macce macroman cp852 latin7
    latin7 macce cp1250 utf8mb4 utf8mb4 latin1 latin1 latin1 cp1251 cp1251 cp1251 macroman
    utf16 utf16 utf16le cp1256 cp1257 cp1257 utf32 utf32 utf16le binary armscii8 ascii cp1250
    cp1256 cp866 dec8 greek hebrew hp8 keybcs2 koi8r koi8u utf8mb3 latin2 latin5 latin7 cp850
    cp852 swe7 utf8mb3 big5 euckr gb2312 gbk sjis tis620 ucs2 ujis geostd8 geostd8 latin1
    cp932 cp932 eucjpms eucjpms cp1250
    """.split()  # noqa: SIM905 - one on each line would fill a screen
)
"""Collations 0 to 99."""

_RANGES = (
    (101, 127, "utf16"),
    (128, 159, "ucs2"),
    (160, 191, "utf32"),
    (192, 223, "utf8mb3"),
    (224, 247, "utf8mb4"),
    (248, 250, "gb18030"),
    (255, 575, "utf8mb4"),
    (576, 607, "utf8mb3"),
    (608, 639, "utf8mb4"),
    (640, 671, "ucs2"),
    (672, 703, "utf16"),
    (736, 767, "utf32"),
    (2048, 2303, "utf8mb3"),
    (2304, 2559, "utf8mb4"),
    (2560, 2815, "ucs2"),
    (2816, 3071, "utf16"),
    (3072, 3327, "utf32"),
)
_NOPAD = range(1024, 2048)

_CODECS = {
    "utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "ascii": "ascii", "binary": "latin-1",
    "latin1": "cp1252", "latin2": "iso8859-2", "latin5": "iso8859-9", "latin7": "iso8859-13",
    "ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be",
    "ujis": "euc_jp", "eucjpms": "euc_jp", "sjis": "shift_jis", "cp932": "cp932",
    "gb2312": "gb2312", "gbk": "gbk", "gb18030": "gb18030", "big5": "big5", "euckr": "cp949",
    "tis620": "tis_620", "greek": "iso8859-7", "hebrew": "iso8859-8", "koi8r": "koi8-r",
    "koi8u": "koi8-u", "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256",
    "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852", "cp866": "cp866",
    "macce": "mac_latin2", "macroman": "mac_roman", "hp8": "hp_roman8",
}  # fmt: skip


def charset_of(collation: int) -> str | None:
    """The character set of a collation number ('utf8mb3' for the old 'utf8'); None if not known."""
    if collation in _NOPAD:
        collation -= 1024
    if collation < len(_SINGLE):
        return _SINGLE[collation] if _SINGLE[collation] != "." else None
    for first, last, charset in _RANGES:
        if first <= collation <= last:
            return charset
    return None


def decode(raw: bytes, charset: str | None) -> str | None:
    """Text in that character set as Python reads it; None where Python cannot."""
    codec = _CODECS.get(charset or "")
    if codec is None:
        return raw.decode("ascii") if raw.isascii() and charset else None
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        # MySQL's latin1 gives the five bytes that cp1252 leaves out the code points of ISO 8859-1.
        return raw.decode("latin-1") if codec == "cp1252" else None
