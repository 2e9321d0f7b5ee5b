"""YAML with lines and comments."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.yamlfile import parse, read

TEXT = """\
# head
a: 1   # one
b: {c: [x, 2.5]} # two
d:
  - e: true
    f: null
"""


def test_values_lines_and_comments() -> None:
    document = parse(TEXT, Path("x.yaml"))
    assert document.data == {"a": 1, "b": {"c": ["x", 2.5]}, "d": [{"e": True, "f": None}]}
    assert document.at(("d", 0, "f")) == "x.yaml:6"
    assert document.at(("b", "c", 7, "nothing")) == "x.yaml:3"
    assert document.comments == {("a",): "one", ("b",): "two"}


@pytest.mark.parametrize(
    "text", ["a: null", "a: ~", "a: 12", "a: 0x1", "a: 1.5", "null: a", "1: a"]
)
def test_only_texts(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x.yaml:1: YAML reads"):
        parse(text, Path("x.yaml"), texts_only=True)
    quoted = parse('a: "null"\n"12": on\n', Path("x.yaml"), texts_only=True)
    assert quoted.data == {"a": "null", "12": "on"}


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: b\na: c", 2), ("a: [b", 1), ("? [a]\n: b", 1), ("a:\n\tb: c", 2), ("a: *x", 1)],
)
def test_wrong_yaml(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"x.yaml:{line}:"):
        parse(text, Path("x.yaml"))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("\ufeffa: ä\n".encode())
    assert read(path).data == {"a": "ä"}
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 3"):
        read(path)
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "y.yaml")
