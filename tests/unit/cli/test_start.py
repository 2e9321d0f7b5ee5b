"""^C at any moment of a command: no traceback, and the exit code of what was interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
SETTINGS = """\
databases: {a: {url: "mysql://u@h/shop"}, b: {url: "postgresql://u@h/shop"}}
pipeline: {source: a, target: b}
"""
END = "end"
INTERRUPTS = f"""\
import atexit, os, signal, sys

def interrupt(name, path=None, target=None):
    if name == os.environ["INTERRUPTED_AT"]:
        os.kill(os.getpid(), signal.SIGINT)
    elif "tidying before " + name == os.environ["INTERRUPTED_AT"]:
        Tidying()

class Tidying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

class Finder:
    find_spec = staticmethod(interrupt)

sys.meta_path.insert(0, Finder)
atexit.register(interrupt, "{END}")
"""
"""Python imports it first of all; it is asked for each module before that is imported."""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with settings, and with what interrupts the processes that are started there."""
    (tmp_path / "bridge.yaml").write_text(SETTINGS)
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTS)
    return tmp_path


def interrupted(here: Path, moment: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What the command gives that gets a SIGINT when it is about to import the module."""
    path = os.pathsep.join([str(here), str(CHECKOUT)])
    return subprocess.run(
        words,
        cwd=here,
        env={**os.environ, "PYTHONPATH": path, "INTERRUPTED_AT": moment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        pytest.param("bridge.cli.main", "--help", id="the command"),
        pytest.param("typer.core", "--help", id="a library"),
        pytest.param("typer._click._textwrap", "--help", id="the help"),
        pytest.param("bridge.cli.config", "config show", id="the verb"),
        pytest.param("bridge.config", "config show", id="within the verb"),
        pytest.param("tidying before bridge.config", "config show", id="where none can be raised"),
        pytest.param(END, "config show", id="after the verb"),
    ],
)
def test_an_interrupt_says_next_to_nothing(here: Path, moment: str, words: str) -> None:
    command = (sys.executable, "-m", "bridge.cli.start", *words.split())
    done = interrupted(here, moment, *command)
    assert done.returncode == 130, done
    assert done.stderr.strip() in ("", "interrupted")
    assert bool(done.stdout) == (moment == END)


@pytest.mark.parametrize("moment", ["bridge.cli.main", "bridge.config", END])
def test_who_is_told_to_ignore_interrupts_does_so(here: Path, moment: str) -> None:
    ignoring = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")
    command = (sys.executable, "-m", "bridge.cli.start", "config", "show")
    done = interrupted(here, moment, *ignoring, *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pipeline.name" in done.stdout
