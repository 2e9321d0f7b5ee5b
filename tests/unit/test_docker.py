"""What Docker is told to run, where it is asked at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.demo import servers
from compose.local import docker, programs


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    docker.answers.cache_clear()
    monkeypatch.delenv("DBBRIDGE_SERVERS", raising=False)


def put(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program named docker, the only one on PATH."""
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("kind", ["mariadb", "mysql", "postgresql"])
def test_what_it_runs(kind: str) -> None:
    words = docker.words(kind, "one", 12345)
    image = words.index(docker.IMAGES[kind].name)
    assert words[:5] == ["run", "--detach", "--rm", "--name", "one"]
    assert f"127.0.0.1:12345:{5432 if kind == 'postgresql' else 3306}" in words[:image]
    # The variable without its value: passwords are not for everybody's list of processes.
    assert words[words.index("--env") + 1] == docker.IMAGES[kind].password
    options = " ".join(words[image:])
    assert "127.0.0.1" not in options
    assert ("wal_level=logical" if kind == "postgresql" else "--binlog-row-image=FULL") in options


@pytest.mark.parametrize(("script", "there"), [("exit 0", True), ("exit 1", False)])
def test_an_engine_has_to_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, there: bool
) -> None:
    put(tmp_path, monkeypatch, script)
    assert docker.answers() is there


def test_no_docker_is_asked_without_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(tmp_path, monkeypatch, "exit 0")
    monkeypatch.setattr(programs, "installed", lambda _: None)
    assert servers._by_docker("mariadb")
    monkeypatch.setattr(programs, "installed", lambda _: object())
    assert not servers._by_docker("mariadb")
    monkeypatch.setattr(programs, "installed", lambda _: None)
    monkeypatch.setenv("DBBRIDGE_SERVERS", "private")
    assert not servers._by_docker("mariadb")
