"""From a mapping file's document to a TableMapping; what is wrong is named with file and line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from bridge.errors import MappingError
from bridge.mapping import notation
from bridge.mapping.model import (
    DEFAULT_POLICIES,
    LOCKS,
    ON_DDL,
    POLICIES,
    SCHEMAS,
    ColumnMapping,
    Defaults,
    Place,
    TableMapping,
)
from bridge.yamlfile import Document

TABLE_KEYS = (
    "table", "fingerprint", "schema", "group", "key", "where", "on_ddl", "copy", "columns",
    "indexes", "not_carried", "reason",
)  # fmt: skip
COLUMN_KEYS = ("type", "name", "computed", "reason", "mask", "zone", *POLICIES)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean “x”? ``, or '' if nothing known is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean “{close[0]}”? " if close else ""


def listed(names: Iterable[str], most: int = 12) -> str:
    """The first names, comma-separated, and how many more there are."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def read_mapping(document: Document, defaults: Defaults) -> TableMapping:
    """The mapping of one table. Raises MappingError."""
    return _Reader(document).table(defaults)


def read_defaults(document: Document) -> Defaults:
    """What ``_defaults.yaml`` says. Raises MappingError."""
    reader = _Reader(document)
    data = reader.section((), document.data or {})
    reader.known((), data, ("on_ddl", *DEFAULT_POLICIES))
    policies = {
        name: reader.policy((name,), name, data[name]) for name in DEFAULT_POLICIES if name in data
    }
    return Defaults(reader.choice(("on_ddl",), data.get("on_ddl", "stop"), ON_DDL), policies)


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document

    def table(self, defaults: Defaults) -> TableMapping:
        data = self.section((), self.document.data)
        self.known((), data, TABLE_KEYS)
        if "table" not in data:
            raise self.wrong((), "“table” is missing", "table: shop.orders -> shop.orders")
        names = notation.read_tables(self.text(("table",), data["table"]))
        if names is None:
            raise self.wrong(
                ("table",),
                f"“{data['table']}” does not name two tables",
                'table: shop.orders -> shop.orders (or -> nothing); quoted: shop."my table"',
            )
        columns = self.section(("columns",), data.get("columns", {}))
        copy = self.section(("copy",), data.get("copy", {}))
        self.known(("copy",), copy, ("lock",))
        return TableMapping(
            source=names[0],
            target=names[1],
            fingerprint=self.optional("fingerprint", data),
            columns=tuple(self.column(name, value) for name, value in columns.items()),
            key=self.texts(("key",), data.get("key", [])),
            where=self.optional("where", data),
            group=self.optional("group", data),
            on_ddl=self.choice(("on_ddl",), data.get("on_ddl", defaults.on_ddl), ON_DDL),
            schema=self.choice(("schema",), data.get("schema", "created"), SCHEMAS),
            lock=self.choice(("copy", "lock"), copy["lock"], LOCKS) if "lock" in copy else "",
            indexes=self.texts(("indexes",), data.get("indexes", [])),
            not_carried={
                name: self.text(("not_carried", name), value)
                for name, value in self.section(
                    ("not_carried",), data.get("not_carried", {})
                ).items()
            },
            reason=self.optional("reason", data),
            defaults=defaults,
            file=str(self.document.path),
            lines=self.document.lines,
        )

    def column(self, name: str, value: Any) -> ColumnMapping:
        place: Place = ("columns", name)
        data = {"type": value} if isinstance(value, str) else self.section(place, value)
        self.known(place, data, COLUMN_KEYS)
        reason = self.text((*place, "reason"), data.get("reason", "")) or (
            self.document.comments.get(place, "")
            or self.document.comments.get((*place, "type"), "")
        )
        if "type" not in data:
            raise self.wrong(place, f"column {name} has no type", f"{name}: {{type: …}}")
        if data["type"] == notation.DROPPED:
            self.known(place, data, ("type", "reason"))
            return ColumnMapping(name, dropped=True, reason=reason)
        text = self.text((*place, "type"), data["type"])
        arrow = notation.read_arrow(text)
        if arrow is None:
            raise self.wrong(
                place,
                f"“{text}” does not say what column {name} becomes",
                f"{name}: int -> bigint, or {name}: {{type: dropped, reason: …}}",
            )
        return ColumnMapping(
            source=name,
            source_type=arrow.source,
            target_type=arrow.target,
            source_nullable=arrow.source_nullable,
            target_nullable=arrow.target_nullable,
            name=self.text((*place, "name"), data.get("name", "")),
            policies={
                policy: self.policy((*place, policy), policy, data[policy])
                for policy in POLICIES
                if policy in data
            },
            zone=self.text((*place, "zone"), data.get("zone", "")),
            mask=self.flag((*place, "mask"), data.get("mask", False)),
            computed=self.text((*place, "computed"), data.get("computed", "")),
            reason=reason,
        )

    def policy(self, place: Place, name: str, value: Any) -> str:
        text = self.text(place, value)
        choices = POLICIES[name]
        for choice in choices:
            if text == choice if choice[-1] != ":" else text.startswith(choice):
                return text
        shown = [choice + "TEXT" if choice[-1] == ":" else choice for choice in choices]
        raise self.wrong(
            place,
            f"“{text}” is no policy {name}",
            f"{did_you_mean(text, choices)}possible: {', '.join(shown)}",
        )

    def choice(self, place: Place, value: Any, choices: tuple[str, ...]) -> str:
        text = self.text(place, value)
        if text not in choices:
            raise self.wrong(
                place,
                f"“{text}” is not possible for {place[-1]}",
                f"{did_you_mean(text, choices)}possible: {', '.join(choices)}",
            )
        return text

    def optional(self, name: str, data: Mapping[str, Any]) -> str:
        return self.text((name,), data.get(name, ""))

    def text(self, place: Place, value: Any) -> str:
        if not isinstance(value, str):
            raise self.wrong(place, f"{_dotted(place)} must be a text", "quote it")
        return value

    def texts(self, place: Place, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise self.wrong(place, f"{_dotted(place)} must be a list", f"{place[-1]}: [a, b]")
        return tuple(self.text((*place, index), item) for index, item in enumerate(value))

    def flag(self, place: Place, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return bool(value == "true")
        raise self.wrong(place, f"{_dotted(place)} is true or false", "mask: true")

    def section(self, place: Place, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            what = _dotted(place) or "the file"
            raise self.wrong(place, f"{what} must hold names and values", "name: value")
        return value

    def known(self, place: Place, data: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        for key in data:
            if key not in keys:
                raise self.wrong(
                    (*place, key),
                    f"unknown key “{key}”",
                    f"{did_you_mean(key, keys)}known here: {', '.join(keys)}",
                )

    def wrong(self, place: Place, message: str, hint: str) -> MappingError:
        return MappingError(f"{self.document.at(place)}: {message}", hint)


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))
