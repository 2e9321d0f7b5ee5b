"""ENUM and SET.

Rows events hold an ENUM's number (from 1; 0 is the empty text of an invalid value) and a SET's
bits. The labels come from the catalogue. A SET becomes an array with its members in their declared
order. Debezium sends the labels; in its stream, but not in its snapshots, those of an ENUM have a
backslash before each comma, and all have their backslashes doubled, as the table's DDL does.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.errors import BadValue
from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import escape, escape_text, literal, never_null, own
from bridge.types.events import EventSettings, EventValue
from bridge.types.integers import lost, mismatch
from bridge.types.target import refuse, target_of

_ARRAY_SPACE = frozenset(" \t\n\v\f\r")
_INTS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_CACHED = 100_000


class Enums(Family):
    """One of a list of labels."""

    names = frozenset({"enum"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        return (Proposal("text", "with a CHECK over the labels"),)

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        return _accepts_labels(plan, max((len(label) for label in plan.source.labels), default=0))

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family. Labels are known, so the escaped ones are picked by number."""
        labels = ", ".join(literal(_escaped(label)) for label in plan.source.labels)
        return f"ELT({q} + 1, _utf8mb4 '', {labels})"

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return _misread(plan, q, self.digest_source(plan, q))

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"({q} + 0)"

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        return _Labels(plan.source.labels)[int(value)]

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        if code != layout.ENUM or meta not in (1, 2):
            raise mismatch(plan, code)
        name = own(plan, "labels")
        return Wire(_INTS[meta], "%b", f"{name}[{{v}}]", {name: _Labels(plan.source.labels)})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family. The empty text is also what an invalid value comes as."""
        texts = {"": ""}
        for sent, label in _sent(plan).items():
            texts[sent] = escape_text(label)
        name = own(plan, "labels")
        schemas = frozenset({"string:io.debezium.data.Enum"})
        return EventValue(str, f"{name}[{{v}}]", {name: _Known(texts)}, schemas=schemas)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        labels = ", ".join(literal(label) for label in plan.source.labels)
        return f"ELT({q} + 1, _utf8mb4 '', {labels})"

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"{q}::text"


class Sets(Family):
    """Any of up to 64 labels."""

    names = frozenset({"set"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        return (Proposal("text[]"), Proposal("text", "joined by commas, as MySQL prints it"))

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        if target_of(plan).base == "text[]":
            return ""
        return _accepts_labels(plan, len(",".join(plan.source.labels)), ", text[]")

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return _set_mysql(plan, q, copied=True)

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        labels = ", ".join(map(literal, plan.source.labels))
        return _misread(plan, q, f"MAKE_SET({q}, {labels})")

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"CAST({q} AS UNSIGNED)"

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        return _Sets(plan)[int(value)]

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        if code != layout.SET or not 1 <= meta <= 8:
            raise mismatch(plan, code)
        name = own(plan, "sets")
        if meta in _INTS:
            return Wire(_INTS[meta], "%b", f"{name}[{{v}}]", {name: _Sets(plan)})
        parse = own(plan, "parse")
        text = f"{name}[{parse}({{v}}, 'little')]"
        return Wire(f"{meta}s", "%b", text, {name: _Sets(plan), parse: int.from_bytes})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        if "" in plan.source.labels:
            raise lost(plan, "a set of the empty label looks like the empty set in an event")
        name = own(plan, "sets")
        schemas = frozenset({"string:io.debezium.data.EnumSet"})
        return EventValue(str, f"{name}[{{v}}]", {name: _NamedSets(plan)}, schemas=schemas)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return _set_mysql(plan, q, copied=False)

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"{q}::text"


class _Labels(dict[int, bytes]):
    """COPY text of an enum's labels by number."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__({0: b""})
        self.update({place: _escaped(label) for place, label in enumerate(labels, 1)})

    def __missing__(self, number: int) -> bytes:
        raise BadValue("unknown-label", f"number {number} of {len(self) - 1} labels")


class _Sets(dict[int, bytes]):
    """COPY text of a set by its bits; made when first met."""

    def __init__(self, plan: ColumnPlan) -> None:
        super().__init__()
        self._array = target_of(plan).base == "text[]"
        self._members = _members(plan, copied=True)

    def __missing__(self, bits: int) -> bytes:
        if bits >> len(self._members):
            raise BadValue("unknown-label", f"bits {bits:b} of {len(self._members)} labels")
        chosen = (text for place, text in enumerate(self._members) if bits >> place & 1)
        text = b",".join(chosen)
        if self._array:
            text = b"{" + text + b"}"
        if len(self) < _CACHED:
            self[bits] = text
        return text


def _sent(plan: ColumnPlan) -> dict[str, str]:
    """Every form in which an event may hold a label, and the label; raises TableStopped."""
    found: dict[str, str] = {}
    for label in plan.source.labels:
        for text in (label, label.replace("\\", "\\\\")):
            for sent in (text, text.replace(",", "\\,")):
                other = found.setdefault(sent, label)
                if other != label:
                    raise lost(plan, f"“{label}” and “{other}” can look alike in an event")
    return found


class _Known(dict[str, str]):
    """COPY text of an enum's labels by name."""

    def __missing__(self, label: str) -> str:
        raise BadValue("unknown-label", label)


class _NamedSets(dict[str, str]):
    """COPY text of a set by its members' names, joined by commas; made when first met."""

    def __init__(self, plan: ColumnPlan) -> None:
        super().__init__()
        self._sets = _Sets(plan)
        bits = {label: 1 << place for place, label in enumerate(plan.source.labels)}
        self._bits = {sent: bits[label] for sent, label in _sent(plan).items()}

    def __missing__(self, names: str) -> str:
        bits = 0
        for name in names.split(",") if names else ():
            if name not in self._bits:
                raise BadValue("unknown-label", names)
            bits |= self._bits[name]
        text = self._sets[bits].decode()
        if len(self) < _CACHED:
            self[names] = text
        return text


def array_element(label: str) -> str:
    """An array's element as PostgreSQL prints it (array_out): quoted only where it has to be."""
    special = not label or label.upper() == "NULL" or not _ARRAY_SPACE.isdisjoint(label)
    if special or any(char in label for char in '"\\{},'):
        return '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return label


def _members(plan: ColumnPlan, *, copied: bool) -> list[bytes]:
    array = target_of(plan).base == "text[]"
    texts = [array_element(label) if array else label for label in plan.source.labels]
    return [_escaped(text) if copied else text.encode() for text in texts]


def _set_mysql(plan: ColumnPlan, q: str, *, copied: bool) -> str:
    members = ", ".join(literal(text) for text in _members(plan, copied=copied))
    text = f"MAKE_SET({q}, {members})"
    return f"CONCAT('{{', {text}, '}}')" if target_of(plan).base == "text[]" else text


def _misread(plan: ColumnPlan, q: str, text: str) -> str:
    """MySQL condition: the value is not the text that its label in the catalogue has.

    The catalogues of MySQL and MariaDB print ``?`` for characters beyond U+FFFF, so a label that
    holds one is looked at. The stream gets true labels from the table map, or stops.
    """
    if not any("?" in label for label in plan.source.labels):
        return ""
    return never_null(plan, f"CONVERT({q} USING utf8mb4) COLLATE utf8mb4_bin <> {text}")


def _escaped(label: str) -> bytes:
    return escape(label.encode())


def _accepts_labels(plan: ColumnPlan, longest: int, more: str = "") -> str:
    target = target_of(plan)
    if any("\0" in label for label in plan.source.labels):
        return f"a label of {plan.source.name} holds a NUL character"
    if not target.is_text:
        return refuse(plan, "text" + more)
    return refuse(plan, f"varchar({longest})") if (target.limit or longest) < longest else ""
