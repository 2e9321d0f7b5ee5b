"""CHAR, VARCHAR and the TEXTs, in any character set.

Rows events hold text in the column's character set; CHAR comes without the spaces at its end, as
the servers print it too. Two things may not be text in PostgreSQL: the character NUL (policy
`nul`), and bytes that are no text in their character set (policy `invalid`). Which bytes the
servers store unchecked was found by experiment (MariaDB 10.11, MySQL 9.7): any byte in single-byte
sets, every well-formed code in multi-byte ones though no character is assigned to it, lone
surrogates in ucs2, and on MariaDB UTF-8 encoded surrogates in utf8mb3, utf8mb4 and utf32. All else
they refuse or cut.

Debezium sends UTF-8, with U+FFFD in the place of what it could not read. Where the column cannot
hold that character, or its bytes may be no text, such a value is one that was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.errors import BadValue
from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.charsets import DECODERS, EXACT, UTF8, WIDE, lenient
from bridge.types.copytext import escape, escaped_mysql, literal, never_null, own
from bridge.types.events import EventSettings, EventValue, Form
from bridge.types.integers import mismatch
from bridge.types.target import refuse, refuse_policy, target_of
from bridge.types.zipped import unzipped

_UNREAD = "\ufffd"
_NUL = "_utf8mb4 0x00"
_SURROGATE = r"\xED[\xA0-\xBF]"
_NUL_OR_SURROGATE = r"\x00|" + _SURROGATE
_CONTROL = r"\u00"
_SHORT = 8192
"""Bytes; longer text of MariaDB may be escaped in other words than the stream's."""
_TEXTS = frozenset({"tinytext", "text", "mediumtext", "longtext"})
_CODES = {
    "char": frozenset({layout.STRING}),
    "varchar": frozenset({layout.VARCHAR, layout.VARCHAR_COMPRESSED}),
}
_BLOBS = frozenset({layout.BLOB, layout.BLOB_COMPRESSED})


def charset_of(column: SourceColumn) -> str:
    """The column's character set."""
    return column.charset or "utf8mb4"


def utf8(column: SourceColumn, q: str) -> str:
    """MySQL expression of the text in utf8mb4, compared byte by byte.

    The binary collation makes REPLACE many times faster on MariaDB.
    """
    if charset_of(column) == "utf8mb4":
        return f"{q} COLLATE utf8mb4_bin"
    return f"CONVERT({q} USING utf8mb4) COLLATE utf8mb4_bin"


def escaped(column: SourceColumn, text: str) -> str:
    """MySQL expression: the utf8mb4 text as COPY text.

    Four REPLACE take a microsecond on MySQL, while JSON_QUOTE, which makes everything longer that
    has to be escaped here too, takes a twentieth: text that it leaves alone passes. Only 5.7.8 and
    later have it and read what stands in these comments. MariaDB's REPLACE moves the rest of the
    value at each place (a megabyte with 20,000 lines takes seconds); there long text is quoted,
    which COPY reads as well, but for control characters with no short escape.
    """
    replaced = escaped_mysql(text)
    quoted = f"JSON_QUOTE({text})"
    if column.flavor == "mysql":
        plain = f"LENGTH({quoted}) = LENGTH({text}) + 2"
        return f"/*!50708 IF({plain}, {text}, */ {replaced} /*!50708 ) */"
    if (column.length or _SHORT + 1) <= _SHORT:
        return replaced
    inner = f"SUBSTR({quoted}, 2, CHAR_LENGTH({quoted}) - 2)"
    quotable = f"LENGTH({text}) > {_SHORT} AND LOCATE({literal(_CONTROL)}, {quoted}) = 0"
    return f"IF({quotable}, {inner}, {replaced})"


def holds_nul(column: SourceColumn, q: str) -> str:
    """MySQL condition: the text holds the character NUL."""
    text = utf8(column, q) if charset_of(column) in WIDE else q
    return f"LOCATE(0x00, CAST({text} AS BINARY)) > 0"


def nul_replacement(plan: ColumnPlan) -> str | None:
    """What the policy puts in the place of NUL; None: quarantine."""
    word, colon, text = plan.policy.nul.partition(":")
    if word == "strip":
        return ""
    return text if word == "replace" and colon else None


def refuse_nul(plan: ColumnPlan) -> str:
    """Why the nul policy does not work for the column, '' if it does."""
    return refuse_policy(plan, "nul", ("quarantine", "strip", "replace:"))


def refuse_text(plan: ColumnPlan) -> str:
    """Why the policies for text do not work for the column, '' if they do."""
    charset = charset_of(plan.source)
    if charset not in DECODERS:
        return f"the character set {charset} of {plan.source.name} is not known"
    if plan.policy.invalid == "replace" and charset == "ucs2" and plan.source.flavor == "mysql":
        return "invalid: MySQL cuts text in ucs2 at half a surrogate pair instead of replacing it"
    return refuse_nul(plan) or refuse_policy(plan, "invalid", ("quarantine", "replace"))


def unreadable(plan: ColumnPlan, q: str) -> str:
    """MySQL condition: the value holds bytes that are no text; '' if it cannot.

    A code without a character becomes a question mark (or U+FFFD) when the server converts it, so
    the question marks are counted before and after.
    """
    charset = charset_of(plan.source)
    text = utf8(plan.source, q)
    if charset in UTF8 or charset == "utf32":
        return _surrogates(plan.source, text)
    if charset in EXACT:
        return ""
    question = f"_{charset} 0x003F" if charset == "ucs2" else f"_{charset} 0x3F"
    before = f"CHAR_LENGTH({q}) - CHAR_LENGTH(REPLACE({q}, {question}, _{charset} ''))"
    after = f"CHAR_LENGTH({text}) - CHAR_LENGTH(REPLACE({text}, _utf8mb4 0x3F, _utf8mb4 ''))"
    found = [f"(LOCATE(_utf8mb4 0x3F, {text}) > 0 AND {before} <> {after})"]
    if charset in WIDE:
        found += [f"CHAR_LENGTH({q}) <> CHAR_LENGTH({text})", _surrogates(plan.source, text)]
    else:
        found.append(f"LOCATE(_utf8mb4 0xEFBFBD, {text}) > 0")
    return f"({' OR '.join(found)})"


def _surrogates(column: SourceColumn, text: str) -> str:
    """MySQL condition: the utf8mb4 text holds encoded surrogates, which begin with ED A0 to ED BF.

    MySQL before 8.0 stores them as MariaDB does; later it refuses them, and skips this.
    """
    binary = f"CAST({text} AS BINARY)"
    if column.flavor == "mariadb":
        return f"{binary} REGEXP {literal(_SURROGATE)}"
    found = f"LOCATE(0xED, {binary}) > 0 AND HEX({text}) REGEXP '^(..)*ED[AB]'"
    return f"(1 /*!80000 - 1 */ = 1 AND {found})"


def unfit(plan: ColumnPlan, q: str) -> list[str]:
    """MySQL conditions: NUL or bytes that are no text, as far as they go to quarantine."""
    nul = nul_replacement(plan) is None
    bytes_ = unreadable(plan, q) if plan.policy.invalid == "quarantine" else ""
    if nul and bytes_ and plan.source.flavor == "mariadb" and charset_of(plan.source) in UTF8:
        return [f"CAST({q} AS BINARY) REGEXP {literal(_NUL_OR_SURROGATE)}"]
    return [*([holds_nul(plan.source, q)] if nul else []), *([bytes_] if bytes_ else [])]


def _readable(plan: ColumnPlan, q: str) -> str:
    """MySQL expression of the text, with a question mark for each code that has no character.

    The server puts it there itself when it converts, but for encoded surrogates (which go through
    utf16 for that) and where it prints U+FFFD.
    """
    text = utf8(plan.source, q)
    if plan.policy.invalid != "replace" or not unreadable(plan, q):
        return text
    charset = charset_of(plan.source)
    if charset in UTF8 or charset in WIDE:
        return f"CONVERT(CONVERT({q} USING utf16) USING utf8mb4) COLLATE utf8mb4_bin"
    return f"REPLACE({text}, _utf8mb4 0xEFBFBD, _utf8mb4 0x3F)"


class Cleaner:
    """How one column turns bytes of its character set into UTF-8 (not yet escaped)."""

    def __init__(self, plan: ColumnPlan) -> None:
        self.charset = charset_of(plan.source)
        self.replace = plan.policy.invalid == "replace"
        self.decode = lenient(self.charset) if self.replace else DECODERS[self.charset]
        self.unread = self.charset not in UTF8 | WIDE.keys() or plan.source.flavor == "mariadb"
        self.nul = nul_replacement(plan)
        self.limit = _binding_limit(plan)
        self.unchanged = self.charset in UTF8 and self.limit is None and not self.replace

    def __call__(self, raw: bytes) -> bytes:
        """The text; raises BadValue."""
        try:
            text = self.decode(raw)
        except UnicodeDecodeError as error:
            raise BadValue("invalid-text", f"{raw[:100]!r}: {error.reason}") from None
        return self.fit(text).encode()

    def of_event(self, text: str) -> str:
        """The same for text that Debezium has read; raises BadValue."""
        if _UNREAD in text and self.unread:
            if not self.replace:
                raise BadValue("invalid-text", ascii(text[:100]))
            text = text.replace(_UNREAD, "?")
        return self.fit(text)

    def fit(self, text: str) -> str:
        """Under the policies for NUL and length; raises BadValue."""
        if "\0" in text:
            if self.nul is None:
                raise BadValue("nul-character", ascii(text[:100]))
            text = text.replace("\0", self.nul)
        if self.limit is not None and len(text) > self.limit:
            raise BadValue("too-long", f"{len(text)} characters, {self.limit} fit")
        return text


def _binding_limit(plan: ColumnPlan) -> int | None:
    """The target's length in characters, if there may be more after what the policies do."""
    limit = target_of(plan).limit
    longest = plan.source.length if plan.source.data_type in _CODES else None
    grown = len(nul_replacement(plan) or "") > 1
    return None if limit is None or (longest and longest <= limit and not grown) else limit


class Texts(Family):
    """Character strings."""

    names = _TEXTS | frozenset(_CODES)

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        if column.data_type in _TEXTS:
            return (Proposal("text"),)
        return (Proposal(f"varchar({column.length})"), Proposal("text", "without a limit"))

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family. A smaller varchar is accepted: longer values go to quarantine."""
        if not target_of(plan).is_text:
            return refuse(plan, "varchar, text, citext")
        return refuse_text(plan)

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return escaped(plan.source, self.digest_source(plan, q))

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        conditions = [*unfit(plan, q), *self._too_long(plan, q)]
        return never_null(plan, " OR ".join(conditions)) if conditions else ""

    def hidden(self, plan: ColumnPlan, q: str) -> str:
        """See Family. Text in utf8mb4 goes into the line as it is, unless it is quoted for that."""
        if charset_of(plan.source) != "utf8mb4" or (plan.source.length or _SHORT + 1) > _SHORT:
            return self.bad(plan, q)
        conditions = self._too_long(plan, q)
        return never_null(plan, " OR ".join(conditions)) if conditions else ""

    def _too_long(self, plan: ColumnPlan, q: str) -> list[str]:
        limit = _binding_limit(plan)
        return [] if limit is None else [f"CHAR_LENGTH({self.digest_source(plan, q)}) > {limit}"]

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family. The bytes as they are stored."""
        return f"CAST({q} AS BINARY)"

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        return escape(Cleaner(plan)(value))

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        if code not in _CODES.get(plan.source.data_type, _BLOBS):
            raise mismatch(plan, code)
        return text_wire(plan, code)

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        name = own(plan, "text")
        cleaner = Cleaner(plan)
        clean: Callable[[str], str] = cleaner.of_event
        text = f"{name}({{v}})"
        if cleaner.limit is not None:
            plain = text
        elif cleaner.unread:
            plain = f"({{v}} if {{v}}.isascii() else {text})"
        else:
            plain = "{v}"
        names: dict[str, object] = {name: clean}
        schemas = frozenset({"string"})
        unsafe = " or ".join(f"{char!r} in {{v}}" for char in "\\\t\n\r\0")
        careful = f"(escape_text({text}) if {unsafe} else {plain})"
        most = -1 if cleaner.limit is None else cleaner.limit
        form = Form("text", int(cleaner.unread), most)
        return EventValue(str, plain, names, careful, settings.placeholder, schemas, form)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        text = _readable(plan, q)
        replacement = nul_replacement(plan)
        if replacement is not None:
            text = f"REPLACE({text}, {_NUL}, {literal(replacement)})"
        return text

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"{q}::text"


def _passing(clean: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Hands UTF-8 through as it is, and only what is none, or holds NUL, to `clean`."""

    def check(raw: bytes) -> bytes:
        try:
            raw.decode()
        except UnicodeDecodeError:
            return clean(raw)
        return clean(raw) if 0 in raw else raw

    return check


def text_wire(plan: ColumnPlan, code: int) -> Wire:
    """The stream's form of text: plain ASCII passes as it is."""
    name = own(plan, "text")
    cleaner = Cleaner(plan)
    clean = _passing(cleaner) if cleaner.unchanged else cleaner
    if code in (layout.VARCHAR_COMPRESSED, layout.BLOB_COMPRESSED):
        return Wire("", "%b", f"{name}({{v}})", {name: lambda v: clean(unzipped(v))}, escape=True)
    if cleaner.limit is not None or cleaner.charset == "swe7" or cleaner.charset in WIDE:
        return Wire("", "%b", f"{name}({{v}})", {name: clean}, escape=True)
    expression = f"({{v}} if {{v}}.isascii() and 0 not in {{v}} else {name}({{v}}))"
    return Wire("", "%b", expression, {name: clean}, escape=True)
