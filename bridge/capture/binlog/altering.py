"""Clauses of ALTER TABLE: which are only about indexes, and which name another table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.capture.binlog.sqltokens import Token

_INDEX_KINDS = frozenset({"UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"})
_INDEX = frozenset({"INDEX", "KEY"})
_INDEX_OPTIONS = frozenset(
    {
        "USING", "BTREE", "HASH", "RTREE", "COMMENT", "KEY_BLOCK_SIZE", "WITH", "PARSER", "VISIBLE",
        "INVISIBLE", "IGNORED", "NOT", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE",
    }
)  # fmt: skip


def only_indexes(clauses: Sequence[Token]) -> bool:
    """Whether all clauses add, drop, rename or hide secondary indexes, or say how to do that."""
    found = list(_split(clauses))
    return bool(found) and all(_is_index_clause(clause) for clause in found)


def renamed(clauses: Sequence[Token]) -> list[int]:
    """Where other tables' names begin: RENAME [TO] name, EXCHANGE … WITH TABLE name, and such."""
    places = []
    depth = 0
    for at, token in enumerate(clauses):
        depth += _depth(token)
        if depth:
            continue
        following = clauses[at + 1] if at + 1 < len(clauses) else None
        if token.upper == "TABLE" and following is not None and following.is_name:
            places.append(at + 1)
        elif token.upper == "RENAME" and following is not None:
            if following.upper in ("INDEX", "KEY", "COLUMN"):
                continue
            skipped = following.upper in ("TO", "AS") or following.text == "="
            places.append(at + 2 if skipped else at + 1)
    return places


def _depth(token: Token) -> int:
    if token.kind != "symbol":
        return 0
    return {"(": 1, ")": -1}.get(token.text, 0)


def _split(clauses: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The clauses between the commas that are not in parentheses."""
    depth = start = 0
    for at, token in enumerate(clauses):
        depth += _depth(token)
        if not depth and token.kind == "symbol" and token.text == ",":
            yield clauses[start:at]
            start = at + 1
    if clauses:
        yield clauses[start:]


def _is_index_clause(clause: Sequence[Token]) -> bool:
    words = [token.upper for token in clause]
    first = words[0] if words else ""
    if first == "ADD":
        return _adds_index(clause, words)
    if first == "DROP":
        rest = words[2:]
        name = clause[4:] if rest[:2] == ["IF", "EXISTS"] else clause[2:]
        # PRIMARY is a name here like any other.
        known = len(name) == 1 and name[0].is_name and name[0].text.upper() != "PRIMARY"
        return words[1:2] in (["INDEX"], ["KEY"]) and known
    if first == "RENAME":
        return len(words) == 5 and words[1] in _INDEX and words[3] == "TO"
    if first == "ALTER":
        hides = words[-1] in ("VISIBLE", "INVISIBLE", "IGNORED")
        return len(words) > 2 and words[1] in _INDEX and hides
    if first in ("ENABLE", "DISABLE"):
        return words[1:] == ["KEYS"]
    if first in ("ALGORITHM", "LOCK"):
        return len(words) in (2, 3)
    return False


def _adds_index(clause: Sequence[Token], words: Sequence[str]) -> bool:
    """ADD [CONSTRAINT [name]] [UNIQUE …] [INDEX|KEY] [name] (columns) [options], nothing else."""
    at = 1
    if words[at : at + 1] == ["CONSTRAINT"]:
        at += 1
        if words[at : at + 1] != ["UNIQUE"]:
            at += 1
        if words[at : at + 1] != ["UNIQUE"]:
            return False
    kind = words[at] if at < len(words) else ""
    if kind in _INDEX_KINDS:
        at += 1
    if words[at : at + 1] in (["INDEX"], ["KEY"]):
        at += 1
    elif kind not in _INDEX_KINDS - {"VECTOR"}:
        return False
    depth = 0
    columns = 0
    for token in clause[at:]:
        if depth == 0 and token.kind == "symbol" and token.text == "(":
            columns += 1
        depth += _depth(token)
        behind = columns and depth == 0 and token.kind == "word"
        if behind and token.upper not in _INDEX_OPTIONS and not token.text.isdigit():
            return _is_parser_name(clause, token)
    return columns == 1


def _is_parser_name(clause: Sequence[Token], token: Token) -> bool:
    """Whether the clause ends with WITH PARSER and this name."""
    return len(clause) > 2 and clause[-1] is token and clause[-2].upper == "PARSER"
