"""Limits that an operator changes while things run: kept in the control schema, each with an end.

Whoever reads for a long time asks for them every second; see `dbbridge set`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.store.state import Connection, Q

Value = bool | int | float


@dataclass(frozen=True, slots=True)
class Override:
    """A value that holds instead of the settings', until a time in seconds since 1970 (or None)."""

    name: str
    text: str
    until: float | None

    @property
    def value(self) -> Value:
        """What it means."""
        return NAMES[self.name](self.text)


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 100_000:
        raise ValueError("a whole number from 1 to 100000")
    return number


def _seconds(text: str) -> float:
    digits = text.removesuffix("s")
    try:
        seconds = float(digits)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise ValueError("seconds, from 1 to 86400")
    return seconds


NAMES: Mapping[str, Callable[[str], Value]] = {
    "verify.paused": _switch,
    "verify.replica_lag": _seconds,
    "verify.threads_running": _count,
}
"""What can be set while it runs. A parser raises ValueError, which says what is wanted."""


def read_overrides(conn: Connection, pipeline: str) -> dict[str, Override]:
    """Those that hold now, by name; names that this version does not know are left out."""
    rows = conn.execute(Q["overrides"], {"pipeline": pipeline})
    return {row[0]: Override(*row) for row in rows if row[0] in NAMES}


def set_override(
    conn: Connection, pipeline: str, name: str, text: str, seconds: float | None
) -> None:
    """Lets a value hold for so many seconds, or (None) until it is unset."""
    names: dict[str, Any] = {"pipeline": pipeline, "name": name, "value": text}
    conn.execute(Q["set_override"], {**names, "seconds": seconds})


def unset_override(conn: Connection, pipeline: str, name: str) -> bool:
    """The settings hold again; whether they had not."""
    return conn.execute(Q["unset_override"], {"pipeline": pipeline, "name": name}).rowcount > 0
