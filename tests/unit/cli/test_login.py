"""URLs of the command line: where their passwords come from, and what is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli.login import Login, ask_on_terminal, read_login
from bridge.errors import ConfigError


def login(url: str, *, asked: str = "", base: Path | None = None, **environ: str) -> Login:
    return read_login(url, "mysql", "legacy", environ, base or Path.cwd(), lambda _place: asked)


def test_a_variable() -> None:
    found = login("mysql://me:env:PW@db1:3307/shop?tls=required", PW="a@b:c/%41")
    assert found.endpoint.password.reveal() == "a@b:c/%41"
    assert found.url == "mysql://me:${PW}@db1:3307/shop?tls=required"
    assert found.to_export == ""


def test_a_placeholder() -> None:
    found = login("mysql://me:${PW}@db1/shop", PW="x")
    assert found.endpoint.password.reveal() == "x"
    assert found.url == "mysql://me:${PW}@db1/shop"


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pw").write_text("s:e/c@ret\n")
    here = login("mysql://me:file:pw@db1/shop", base=tmp_path)
    assert here.endpoint.password.reveal() == "s:e/c@ret"
    assert here.url == "mysql://me:${file:pw}@db1/shop"
    elsewhere = login("mysql://me:file:pw@db1/shop", base=tmp_path / "x")
    assert elsewhere.url == f"mysql://me:${{file:{tmp_path}/pw}}@db1/shop"
    placeholder = login(f"mysql://me:${{file:{tmp_path}/pw}}@db1/shop")
    assert placeholder.endpoint.password.reveal() == "s:e/c@ret"


def test_the_password_itself_is_not_written() -> None:
    found = login("mysql://me:p%40ss@db1/shop")
    assert found.endpoint.password.reveal() == "p@ss"
    assert (found.url, found.to_export) == (
        "mysql://me:${LEGACY_PASSWORD}@db1/shop", "LEGACY_PASSWORD",
    )  # fmt: skip


def test_a_password_is_asked_for() -> None:
    found = login("mysql://me@db1/shop", asked="secret")
    assert found.endpoint.password.reveal() == "secret"
    assert (found.url, found.to_export) == (
        "mysql://me:${LEGACY_PASSWORD}@db1/shop", "LEGACY_PASSWORD",
    )  # fmt: skip
    without = login("mysql://me@db1/shop")
    assert (without.url, without.to_export) == ("mysql://me@db1/shop", "")


def test_nobody_is_asked_without_a_terminal() -> None:
    assert ask_on_terminal("mysql://me@db1/shop") == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:env:PW@db1/shop", "variable PW is not set"),
        ("mysql://me:env:P W@db1/shop", "not the name of a variable"),
        ("mysql://me:file:nowhere@db1/shop", "nowhere cannot be read"),
        ("postgresql://me@db1/shop", "is a postgresql URL"),
        ("mysql://me@db1", "names no database"),
    ],
)
def test_what_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        login(url)
    assert said in caught.value.message
