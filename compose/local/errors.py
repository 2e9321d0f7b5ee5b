"""What can go wrong while a local server is obtained or run."""

from __future__ import annotations


class LocalStackError(Exception):
    """A local server could not be obtained, started or stopped."""


class Unavailable(LocalStackError):
    """This platform has no such server at all; nothing is broken, tests may skip."""


class PortTaken(LocalStackError):
    """Another process took the port between choosing it and the server binding it."""
