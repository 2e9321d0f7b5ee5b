"""What information_schema prints, read into values that mean the same on every server.

The servers print the same definition differently: MariaDB quotes literal defaults and writes NULL
as a word (manual, "Information Schema COLUMNS Table"), MySQL 8 escapes expressions as if they stood
in a string, MySQL 5 does not mark expressions at all. All of it was read off the servers.
"""

from __future__ import annotations

import re
from typing import Literal

_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a"}
_LITERAL = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_BITS = re.compile(r"b'[01]*'")
_NOW = re.compile(
    r"(?:current_timestamp|now|localtimestamp|localtime)(?:\((\d*)\))?", re.IGNORECASE
)
_ON_UPDATE = re.compile(r"\bon update (\w+(?:\(\d*\))?)", re.IGNORECASE)
_JSON_CHECK = re.compile(r"json_valid\(`((?:[^`]|``)+)`\)", re.IGNORECASE)
_KEY_RULE = re.compile(
    r"^  CONSTRAINT ([`\"])(?P<name>.+?)\1 FOREIGN KEY \(.*?"
    r"(?: ON DELETE (?P<delete>CASCADE|SET NULL|SET DEFAULT|RESTRICT|NO ACTION))?"
    r"(?: ON UPDATE (?P<update>CASCADE|SET NULL|SET DEFAULT|RESTRICT|NO ACTION))?,?$",
    re.MULTILINE,
)


def unescape(text: str) -> str:
    """A string constant's inside, with its backslash escapes resolved."""
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text, flags=re.DOTALL)


def unquote(literal: str) -> str:
    r"""The value of a constant in single quotes, as the servers print it: ``'it''s \\ x'``."""
    inner = literal[1:-1]
    pattern = r"''|\\(.)"
    return re.sub(
        pattern, lambda m: "'" if m[0] == "''" else _ESCAPES.get(m[1], m[1]), inner, flags=re.DOTALL
    )


def parse_labels(column_type: str) -> tuple[str, ...]:
    """The labels of ``enum('a','it''s')`` or ``set(…)``; () for any other type.

    Characters outside the Basic Multilingual Plane are question marks here, on every server: the
    information schema speaks three-byte UTF-8.
    """
    if not re.match(r"(?:enum|set)\(", column_type, re.IGNORECASE):
        return ()
    return tuple(unquote(match[0]) for match in _LITERAL.finditer(column_type))


def now_call(text: str) -> str:
    """CURRENT_TIMESTAMP or CURRENT_TIMESTAMP(n) in one spelling; '' for other texts."""
    match = _NOW.fullmatch(text.strip())
    if not match:
        return ""
    return f"CURRENT_TIMESTAMP({match[1]})" if match[1] and match[1] != "0" else "CURRENT_TIMESTAMP"


def parse_on_update(extra: str) -> str:
    """The call behind ON UPDATE in EXTRA, in one spelling; '' if there is none."""
    match = _ON_UPDATE.search(extra)
    return (now_call(match[1]) or match[1]) if match else ""


def parse_generated(extra: str) -> Literal["", "virtual", "stored"]:
    """Whether EXTRA says that the column is generated, and how."""
    words = extra.upper()
    if "VIRTUAL GENERATED" in words:
        return "virtual"
    if "STORED GENERATED" in words or "PERSISTENT" in words:
        return "stored"
    return ""


def default_mariadb(text: str | None) -> tuple[str | None, bool]:
    """A default as MariaDB prints it → (its text, whether that is an expression)."""
    if text is None or text == "NULL":
        return None, False
    if _LITERAL.fullmatch(text):
        return unquote(text), False
    if _NUMBER.fullmatch(text) or _BITS.fullmatch(text):
        return text, False
    return now_call(text) or text, True


def default_mysql(text: str | None, extra: str, data_type: str) -> tuple[str | None, bool]:
    """A default as MySQL prints it → (its text, whether that is an expression).

    Before 8.0 EXTRA says nothing; there only CURRENT_TIMESTAMP can be an expression.
    """
    if text is None:
        return None, False
    if data_type in ("timestamp", "datetime") and now_call(text):
        return now_call(text), True
    if "DEFAULT_GENERATED" in extra.upper():
        return unescape(text), True
    return text, False


def json_column(condition: str) -> str:
    """The column that a check ``json_valid(`c`)`` is about, or ''."""
    match = _JSON_CHECK.fullmatch(condition.strip())
    return match[1].replace("``", "`") if match else ""


def parse_key_rules(create_table: str, unsaid: str) -> dict[str, tuple[str, str]]:
    """Each foreign key's rules for deletes and updates, from SHOW CREATE TABLE's text.

    `unsaid` is how the server's catalogue names the rule that SHOW CREATE TABLE leaves out.
    """
    return {
        match["name"].replace(match[1] * 2, match[1]): (
            match["delete"] or unsaid,
            match["update"] or unsaid,
        )
        for match in _KEY_RULE.finditer(create_table)
    }
