"""A statement of MySQL or MariaDB cut into tokens (pure).

Just enough to find a statement's verb, the names in it and its clauses, whatever else it holds.
Source: MySQL manual, "Language Structure"; MariaDB knowledge base, "Comment Syntax".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bridge.capture.binlog.events import ANSI_QUOTES, NO_BACKSLASH_ESCAPES

TokenKind = Literal["word", "name", "string", "symbol"]

ALWAYS_EXECUTED = 50600
"""Code in ``/*!NNNNN … */`` up to this version is executed by every server that is supported."""

_WORD = re.compile(r"[\w$\u0080-\uffff]+")
_SPACE = re.compile(r"\s+")
_EXECUTABLE = re.compile(r"/\*(M?)!(\d{5,6})?")


class Unreadable(Exception):
    """The statement ends inside a string, a name or a comment."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word (keyword, number or bare name), a quoted name, a string, or one symbol.

    `text` is without quotes; `upper` is a word in capitals, '' for everything else, so that a
    quoted name is never taken for a keyword.
    """

    kind: TokenKind
    text: str
    upper: str = ""

    @property
    def is_name(self) -> bool:
        """Whether it can be an identifier."""
        return self.kind in ("word", "name")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A whole statement. `conditional` says that some of it is executed by some versions only."""

    tokens: tuple[Token, ...]
    conditional: bool


def tokenize(statement: str, sql_mode: int, *, conditional_is_code: bool) -> Tokens:
    """Cuts a statement; raises Unreadable.

    Code in executable comments counts as code where every version executes it, otherwise if
    `conditional_is_code`.
    """
    return _Tokenizer(statement, sql_mode, conditional_is_code).run()


class _Tokenizer:
    def __init__(self, statement: str, sql_mode: int, conditional_is_code: bool) -> None:
        self._text = statement
        self._ansi = bool(sql_mode & ANSI_QUOTES)
        self._backslash = not sql_mode & NO_BACKSLASH_ESCAPES
        self._as_code = conditional_is_code
        self._conditional = False
        self._open = 0
        self._found: list[Token] = []

    def run(self) -> Tokens:
        at = 0
        while at < len(self._text):
            at = self._step(at)
        if self._open:
            raise Unreadable
        return Tokens(tuple(self._found), self._conditional)

    def _step(self, at: int) -> int:
        """Takes what stands at `at`; returns where it ends."""
        text = self._text
        space = _SPACE.match(text, at)
        if space:
            return space.end()
        if text.startswith("/*", at):
            return self._comment(at)
        if self._open and text.startswith("*/", at):
            self._open -= 1
            return at + 2
        if text[at] == "#" or (text.startswith("--", at) and text[at + 2 : at + 3] <= " "):
            end = text.find("\n", at)
            return len(text) if end < 0 else end + 1
        if text[at] in "'\"`":
            return self._quoted(at)
        word = _WORD.match(text, at)
        if word:
            self._found.append(Token("word", word[0], word[0].upper()))
            return word.end()
        self._found.append(Token("symbol", text[at]))
        return at + 1

    def _comment(self, at: int) -> int:
        executable = _EXECUTABLE.match(self._text, at)
        if executable:
            version = int(executable[2] or 0)
            # MySQL takes the letter M for a comment, MariaDB does not.
            certain = not executable[1] and version <= ALWAYS_EXECUTED
            self._conditional |= not certain
            if certain or self._as_code:
                self._open += 1
                return executable.end()
        end = self._text.find("*/", at + 2)
        if end < 0:
            raise Unreadable
        return end + 2

    def _quoted(self, at: int) -> int:
        text = self._text
        quote = text[at]
        is_name = quote == "`" or (quote == '"' and self._ansi)
        escapes = self._backslash and not is_name
        pieces = []
        start = at = at + 1
        while at < len(text):
            if escapes and text[at] == "\\":
                at += 2
            elif text[at] != quote:
                at += 1
            elif text.startswith(quote, at + 1):
                pieces.append(text[start : at + 1])
                start = at = at + 2
            else:
                pieces.append(text[start:at])
                self._found.append(Token("name" if is_name else "string", "".join(pieces)))
                return at + 1
        raise Unreadable
