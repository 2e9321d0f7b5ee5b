"""Prints the models' figures when MODEL_FIGURES is set."""

from __future__ import annotations

import pytest

from tests.models.check import COUNTED, FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a table in the form that README.md holds."""
    if not COUNTED:
        return
    terminalreporter.write_line("| rule | variant | histories | wrong |")
    terminalreporter.write_line("|---|---|---:|---:|")
    for figure in FIGURES:
        terminalreporter.write_line(
            f"| {figure.rule} | {figure.variant} | {figure.histories:,} | {figure.wrong:,} |"
        )
