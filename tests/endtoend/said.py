"""What a verb or a daemon says when it refuses, and whether it is said as it should be."""

from __future__ import annotations

from dataclasses import dataclass

from tests.endtoend.project import Daemon, Result


@dataclass(frozen=True)
class Refusal:
    """The two lines of an error, without their first words."""

    error: str
    hint: str


def refusal(result: Result) -> Refusal:
    """Of a verb: nothing else stands on stderr."""
    lines = result.err.splitlines()
    assert len(lines) == 2, result
    return _two(lines, str(result))


def refused(daemon: Daemon, code: int, timeout: float = 60.0) -> Refusal:
    """Of a daemon that ends by itself with this code: its last two lines."""
    ended = daemon.wait(timeout)
    assert ended == code, f"ended with {ended}:\n{daemon.log}"
    assert "Traceback" not in daemon.log, daemon.log
    return _two(daemon.log.splitlines()[-2:], daemon.log)


def _two(lines: list[str], all_of_it: str) -> Refusal:
    first, second = lines
    assert first.startswith("error: "), all_of_it
    assert second.startswith("hint: "), all_of_it
    assert len(second) > len("hint: "), all_of_it
    return Refusal(first.removeprefix("error: "), second.removeprefix("hint: "))
