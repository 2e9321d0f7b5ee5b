"""The operator's commands around a switch, bounded in time."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import IO, Any, Literal

from bridge.config.models import HookSettings
from bridge.errors import BridgeError, ConfigError

Event = Literal["before_fence", "after_flip", "on_abort"]
TAIL = 4000
"""Characters of a command's output that are kept, its last."""


class HookFailed(BridgeError):
    """A command failed that must not; the switch is to be called off."""


@dataclass(frozen=True, slots=True)
class HookResult:
    """How a command went. `code` is None where it did not end by itself."""

    event: Event
    command: str
    code: int | None
    seconds: float
    output: str

    @property
    def ok(self) -> bool:
        """Whether it ended in time, with 0."""
        return self.code == 0

    @property
    def said(self) -> str:
        """One line about it."""
        how = "did not end in time" if self.code is None else f"ended with {self.code}"
        return f"hook {self.event} ({self.command}) {how} after {self.seconds:.1f} s"

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def run_hook(hooks: HookSettings, event: Event, group: str, pipeline: str) -> HookResult | None:
    """Runs the command of an event, without a shell; None if there is none.

    When its time is over it is ended, with all that it started and that did not leave its process
    group. Its environment is ours with DBBRIDGE_EVENT, DBBRIDGE_GROUP and DBBRIDGE_PIPELINE. Raises
    HookFailed where `before_fence` fails; how others went, the result tells.
    """
    command: str = getattr(hooks, event)
    if not command:
        return None
    names = {"DBBRIDGE_EVENT": event, "DBBRIDGE_GROUP": group, "DBBRIDGE_PIPELINE": pipeline}
    result = _run(event, command, {**os.environ, **names}, hooks.seconds)
    if event == "before_fence" and not result.ok:
        raise HookFailed(result.said, result.output.strip() or "it said nothing")
    return result


def _run(event: Event, command: str, environment: dict[str, str], seconds: float) -> HookResult:
    began = time.monotonic()
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"cutover.hooks.{event}: {error}", "close the quotes") from error
    # A file, not a pipe: a child that lives on would hold a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return HookResult(event, command, 127, time.monotonic() - began, str(error))
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            code = None
        except BaseException:
            _end(process)
            raise
        return HookResult(event, command, code, time.monotonic() - began, _tail(output))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole process group; its number is ours until the command is waited for."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL))
    return output.read().decode(errors="replace")
