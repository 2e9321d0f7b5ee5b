"""What is said where Java or Maven cannot be had; the tests that need them are skipped then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.local import maven
from compose.local.errors import Unavailable


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of our own making: its PATH, beside a shell."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}")
    monkeypatch.setenv("DBBRIDGE_LOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    maven.java.cache_clear()
    yield programs
    maven.java.cache_clear()


def put(folder: Path, name: str, does: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def test_without_java(machine: Path) -> None:
    with pytest.raises(Unavailable, match="no java on PATH: install Java 17"):
        maven.libraries()


@pytest.mark.parametrize(
    ("said", "version"), [("11.0.2", "11.0.2"), ("1.8.0_402", "1.8.0_402"), ("", "broken")]
)
def test_with_an_old_java(machine: Path, said: str, version: str) -> None:
    put(machine, "java", f"echo 'openjdk version \"{said}\" 2024-01-16' >&2")
    with pytest.raises(Unavailable, match=f"is {version}: install Java 17"):
        maven.java()


def test_without_maven(machine: Path) -> None:
    put(machine, "java", "echo 'openjdk version \"21.0.2\"' >&2")
    assert maven.java() == (machine / "java", "21.0.2")
    with pytest.raises(Unavailable, match="no mvn on PATH: install Maven"):
        maven.libraries()


def test_when_maven_fetches_nothing(machine: Path) -> None:
    put(machine, "java", "echo 'openjdk version \"17\"' >&2")
    put(machine, "mvn", "echo '[ERROR] Unknown host'; echo '[ERROR] Help'; exit 1")
    for fetch in (maven.libraries, lambda: maven.connector("mysql")):
        with pytest.raises(Unavailable, match=r"mvn: \[ERROR\] Unknown host; try again"):
            fetch()
    assert [path for path in (machine.parent / "home/java").iterdir() if path.suffix == ""] == []
