"""Whatever is written as YAML is read back as the same text, by YAML 1.2 and 1.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bridge.mapping.yamltext import comment, mapping, scalar, sequence
from bridge.yamlfile import parse

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def read(text: str) -> Any:
    strict = parse(text, Path("x.yaml"), texts_only=True).data
    old = YAML(typ="safe", pure=True)
    old.version = (1, 1)
    assert old.load(text) == strict
    return strict


@given(texts)
@example("null")
@example("on")
@example("12")
@example("1_000")
@example("2024-01-01")
@example("a: b")
@example("a #b")
@example("- a")
@example("'")
@example("\\ '")
@example("a ")
@example("%a")
@example("\u2028x\x85\x00\x07\ufeff")
@example("enum('a','b') -> text")
def test_texts_come_back(text: str) -> None:
    assert read(f"a: {scalar(text)}\n") == {"a": text}
    assert read(f"{scalar(text)}: x\n") == {text: "x"}
    assert read(f"a: {sequence([text, 'b', text])}\n") == {"a": [text, "b", text]}
    assert read(f"a: {mapping({text: scalar(text, flow=True)})}\n") == {"a": {text: text}}


@given(texts)
def test_comments_stay_comments(text: str) -> None:
    assert read(f"a: b  # {comment(text)}\nc: d\n") == {"a": "b", "c": "d"}


@pytest.mark.parametrize("word", ["bigint", "shop.orders -> sales.orders", "enum('a') -> text"])
def test_plain_words_need_no_quotes(word: str) -> None:
    assert scalar(word) == word
