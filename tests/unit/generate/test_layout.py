"""Python text as `ruff format` would leave it."""

from __future__ import annotations

import ast
import subprocess
import sys
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from bridge.generate.layout import Group, Node, call, entry, keyword, literal, statement, strings


@given(st.text())
def test_literals_are_read_back(text: str) -> None:
    written = literal(text)
    assert ast.literal_eval(written) == text
    assert written.isprintable()


def test_random_statements_stay_as_they_are() -> None:
    chance = Random(7)
    lines = [
        line
        for number in range(400)
        for line in statement(f"{'x' * chance.choice((1, 30, 90))}{number} = ", _node(chance))
    ]
    text = "\n".join([*lines, ""])
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100", "-"]
    done = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True)
    assert done.stdout == text


def _node(chance: Random, depth: int = 0) -> Node:
    texts = ("it's", 'say "so"', "\\", "é", "a" * 30, "b" * 120)
    items = [_node(chance, depth + 1) for _ in range(chance.randint(0, 4))] if depth < 3 else []
    atoms = [literal(chance.choice(texts)) for _ in range(chance.randint(0, 2))]
    kind = chance.randrange(4 if depth else 3)
    if kind == 0:
        return call("some.function", *atoms, *items, *_keywords(chance, depth))
    if kind == 1:
        return Group("(", (*atoms, *items, "1"))
    if kind == 2:
        pairs = enumerate([*atoms, *items])
        return Group("{", tuple(entry(f"k{number}", each) for number, each in pairs), "}")
    return strings(chance.choices(texts, k=chance.randint(0, 5)))


def _keywords(chance: Random, depth: int) -> list[Node]:
    names = ("server_default", "name")[: chance.randint(0, 2)]
    return [keyword(name, _node(chance, depth + 1) if depth < 2 else "1") for name in names]
