"""Says at the end how many kills were made, of which kind and on which source."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from compose.local import servers
from compose.local.servers import Server
from tests.crash.kills import MADE
from tests.crash.pair import pair

__all__ = ["pair"]
KILLS = "kills"


@pytest.fixture(autouse=True)
def _kills(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """The kills of the test go into its report, which other processes see."""
    MADE.clear()
    yield
    record_property(KILLS, {source: dict(kills) for source, kills in MADE.items()})


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """One that may be killed."""
    server = servers.start("redis", tmp_path / "broker")
    yield server
    with suppress(ProcessLookupError):
        server.stop(kill=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each kind."""
    made: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "teardown":
                for source, kills in dict(report.user_properties).get(KILLS, {}).items():
                    made[source].update(kills)
    for source, kills in sorted(made.items()):
        terminalreporter.section(f"{kills.total()} SIGKILLs and the like on {source}")
        for kind, count in sorted(kills.items()):
            terminalreporter.write_line(f"{count:5} {kind}")
