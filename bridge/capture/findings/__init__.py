"""Looking for findings: small queries here, the texts of the codes in bridge.findings."""

from __future__ import annotations

from bridge.capture.findings.data import scan_table
from bridge.capture.findings.grants import grant_findings, grant_lines
from bridge.capture.findings.schema import object_findings, schema_findings
from bridge.capture.findings.server import server_findings
from bridge.findings import Finding, finding

__all__ = [
    "Finding",
    "finding",
    "grant_findings",
    "grant_lines",
    "object_findings",
    "scan_table",
    "schema_findings",
    "server_findings",
]
