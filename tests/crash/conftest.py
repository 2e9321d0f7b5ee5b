"""Says at the end how many kills were made, of which kind and on which source."""

from __future__ import annotations

import pytest

from tests.crash.kills import MADE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each kind."""
    for source, kills in sorted(MADE.items()):
        terminalreporter.section(f"{kills.total()} SIGKILLs to a daemon on {source}")
        for kind, count in sorted(kills.items()):
            terminalreporter.write_line(f"{count:5} {kind}")
