"""What a finding is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding. `explanation` tells what happens and why; `hint` what to do."""

    code: str
    slug: str
    severity: Severity
    explanation: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, perhaps about a table (``database.table``) and a column of it.

    `count` is a number of rows where the finding is about rows (None: rows were not counted).
    `fact` is the number that a decision needs: the greatest value of an integer column, the
    greatest length in bytes of an index key. `sampled` says that not every row was looked at: a
    count is then a lower bound, and "none" is no proof.
    """

    code: str
    slug: str
    severity: Severity
    table: str = ""
    column: str = ""
    count: int | None = None
    message: str = ""
    hint: str = ""
    fact: int | None = None
    sampled: bool = False
