"""Who reads one table: one reader of either side, and helpers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bridge.verify.source import SourceReader
from bridge.verify.target import TargetReader


class Helpers(NamedTuple):
    """A second reader of either side, for the thread of the other one.

    The source has an application to serve: it gets one only where nobody has limited its load, and
    where the ranges are known before they are read.
    """

    source: SourceReader | None = None
    target: TargetReader | None = None

    def cancel(self) -> None:
        """Ends what they have under way."""
        for reader in self:
            if reader is not None:
                reader.cancel()


ALONE = Helpers()
"""Each side has one reader."""


@dataclass(frozen=True, slots=True)
class Sides:
    """A reader of either side, for one thread."""

    source: SourceReader
    target: TargetReader
    helpers: Helpers = ALONE
