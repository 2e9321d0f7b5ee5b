"""What ends the process while there is nothing yet that has to end in order."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from bridge.cli.signals import at_once
from bridge.cli.start import INTERRUPTED

PROGRAM = """
import signal
from bridge.cli.signals import at_once
with at_once():
    print("ready", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)])
def test_a_signal_before_the_daemon_runs_ends_the_process(
    number: signal.Signals, code: int
) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(30) == code


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with at_once():
        pass
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == before
