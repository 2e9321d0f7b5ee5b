"""What every test may ask for, and which tests share a process."""

from __future__ import annotations

import gc
import re
import signal
from collections.abc import Iterator

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = [
    "tests.fix_servers",
    "tests.fix_kafka",
    "tests.endtoend.fixtures",
    "tests.endtoend.kafka_project",
]

# Machines are shared.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

# Processes under test inherit it from a shell that runs us in the background, where it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

_KIND = re.compile(r"\[.*(mariadb|mysql)")
_KAFKA = re.compile("tests/(acceptance|crash|endtoend|integration)/[^:]*kafka")
_SERVERS = re.compile("tests/(acceptance|contract|crash|endtoend|integration|runbooks)/")


class ByKind(LoadScopeScheduling):  # type: ignore[misc]
    """Tests about one kind of source share a process, which starts its server once.

    So do those about Kafka, told by the name of their file or folder: Java is large.
    """

    def _split_scope(self, nodeid: str) -> str:
        if _KAFKA.match(nodeid):
            return "kafka"
        kind = _KIND.search(nodeid)
        if kind:
            return kind[1]
        return "mariadb" if _SERVERS.match(nodeid) else nodeid.partition("::")[0]


def pytest_collection_finish() -> None:
    """What is there before the first test stays, and need not be looked through after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _leaks_are_seen(request: pytest.FixtureRequest) -> Iterator[None]:
    """A session left open fails the test that left it, not one that runs when it is collected."""
    yield
    if _SERVERS.match(request.node.nodeid):
        gc.collect()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByKind:
    """For `pytest -n 2`."""
    return ByKind(config, log)
