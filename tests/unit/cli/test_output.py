"""What is printed: aligned tables, JSON alone, progress."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.cli.output import Output, aligned, number, size


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    parts: frozenset[str]


def test_plain_tables_are_aligned() -> None:
    lines = aligned(
        ("name", "rows"), [("a", 5), ("日本", 12_345), ("e\u0301", None)], right=("rows",)
    )
    assert lines == ["name   rows", "a         5", "日本  12345", "e\u0301"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert aligned(("name",), [("a\x1b[2J\nb",)]) == ["name", "a\\x1b[2J\\nb"]


def test_text_prints_no_json_and_json_no_text() -> None:
    for form, said in (("text", "hello\nnext: dbbridge check\n"), ("json", '{\n  "a": 1\n}\n')):
        stdout = io.StringIO()
        out = Output("json" if form == "json" else "text", stdout, io.StringIO())
        out.line("hello")
        out.json({"a": 1})
        out.next("dbbridge check")
        assert stdout.getvalue() == said


def test_tables_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stdout = Terminal()
    Output("text", stdout).table(("table", "state"), [("[red]a", "ok")], title="Tables")
    assert "[red]a" in stdout.getvalue()


def test_values_become_json() -> None:
    stdout = io.StringIO()
    Output("json", stdout).json([Thing("ä", frozenset({"b", "a"})), Path("x"), b"\x01"])
    assert json.loads(stdout.getvalue()) == [{"name": "ä", "parts": ["a", "b"]}, "x", "01"]
    assert "ä" in stdout.getvalue()


def test_progress_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("bridge.cli.output.PLAIN_PROGRESS_SECONDS", 0)
    with Output("text", io.StringIO(), stderr).progress("looking", total=2) as advance:
        advance()
        advance(1, "shop.orders")
    assert stderr.getvalue() == "looking: 1 of 2\nshop.orders: 2 of 2\n"


@pytest.mark.parametrize(
    ("count", "text"), [(None, ""), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (318e9, "318 GB")]
)
def test_sizes(count: float | None, text: str) -> None:
    assert size(count) == text


def test_numbers() -> None:
    assert number(412300118) == "412,300,118"
    assert number(None) == ""
