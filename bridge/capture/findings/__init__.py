"""Looking for findings: small queries here, the texts of the codes in bridge.findings."""

from __future__ import annotations

from bridge.capture.findings.data import scan_table
from bridge.findings import Finding, finding

__all__ = ["Finding", "finding", "scan_table"]
