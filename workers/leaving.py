"""Tells the processes of a worker that it is to end, so that they save and let go."""

from __future__ import annotations

import mmap

_byte = mmap.mmap(-1, 1)
"""Shared with every process that is forked from this one; a killed process leaves no lock on it."""


def leave() -> None:
    """All processes of the worker know from now on."""
    _byte[0] = 1


def leaving() -> bool:
    """Whether the worker is to end."""
    return bool(_byte[0])
