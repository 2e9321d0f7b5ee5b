"""Findings: what would go wrong, or needs a decision, each under a stable code.

A code is a letter and three digits: D data, G grants, K Kafka and Debezium's connector, M mapping
files, P why a table stands still, Q why a row is in quarantine, S server settings, T tables and
their schema.
Codes are part of the command line's contract: a code is never used again for something else.
`bridge.capture.findings` looks for them; `dbbridge check` prints and `dbbridge explain` tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.findings.base import Code, Finding, Severity
from bridge.findings.connector import CONNECTOR
from bridge.findings.data import DATA
from bridge.findings.grants import GRANTS
from bridge.findings.kafka import KAFKA
from bridge.findings.mapping import MAPPING
from bridge.findings.server import SERVER
from bridge.findings.stops import BAD_ROWS, STOPS
from bridge.findings.tables import TABLES

CODES: Mapping[str, Code] = {
    code.code: code
    for codes in (DATA, TABLES, SERVER, CONNECTOR, KAFKA, GRANTS, MAPPING, STOPS, BAD_ROWS)
    for code in codes
}
"""Every kind of finding by its code."""


def finding(code: str, **said: Any) -> Finding:
    """A finding of that code; what `said` leaves out comes from the code (slug, severity, hint)."""
    kind = CODES[code]
    return Finding(
        **{"hint": kind.hint, "severity": kind.severity, **said}, code=code, slug=kind.slug
    )


def find_code(text: str) -> Code | None:
    """The code that a person means: ``D017``, ``d017``, ``zero-date``, or ``refused-23505``."""
    wanted = text.strip().lower()
    wanted = "refused" if wanted.startswith("refused-") else wanted
    return next((c for c in CODES.values() if wanted in (c.code.lower(), c.slug)), None)


__all__ = ["CODES", "Code", "Finding", "Severity", "find_code", "finding"]
