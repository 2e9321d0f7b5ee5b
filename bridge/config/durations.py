"""How durations are written: 30s, 10m, 2h, 1d."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration_seconds(text: str) -> float | None:
    """The seconds of a duration; None where the text is none."""
    match = _DURATION.fullmatch(text)
    return float(int(match[1]) * _UNITS[match[2]]) if match else None
