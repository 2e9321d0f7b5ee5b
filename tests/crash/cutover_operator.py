"""Operators of a cutover: processes that run `dbbridge cutover …` and may be killed anywhere.

They are forked from one that has imported the program, since starting takes longer than a switch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bridge.cli.context import Context
from bridge.cli.cutover_moves import opener
from bridge.cli.main import main
from bridge.cutover.gates.looking import Looker
from bridge.cutover.journal import whoami
from bridge.cutover.plan import PLANS, plan_hash
from bridge.cutover.transitions import TABLE
from bridge.cutover.waivers import Waivers
from bridge.replicate import points
from tests.endtoend.project import Project

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.crash.cutover_operator", "bridge.cli.cutover"])
MOVES = ("switch", "reverse")
WAIVED = ("writers", "planner")


@dataclass(frozen=True)
class Operator:
    """A process that runs, or has ended."""

    process: ForkServerProcess
    path: Path

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.path.read_text(errors="replace")

    @property
    def stopped(self) -> bool:
        """Whether it stands still by SIGSTOP."""
        with suppress(FileNotFoundError, ProcessLookupError):  # gone before or while it is read
            text = Path(f"/proc/{self.process.pid}/stat").read_text()
            return text.rpartition(")")[2].split()[0] == "T"
        return False

    def send(self, number: signal.Signals) -> None:
        """A signal, if it is still there."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def wait(self, timeout: float) -> int:
        """Its exit code, negative for a signal; fails if it takes longer."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGABRT)
            self.process.join()
            raise AssertionError(f"an operator has not ended within {timeout} s:\n{self.said}")
        assert "Traceback" not in self.said, self.said
        return code

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join()


@dataclass
class Operators:
    """Starts them; `count` numbers their logs."""

    project: Project
    count: int = 0

    def begin(self, verb: str, *words: str, kill_at: str = "", stop_at: str = "") -> Operator:
        """`cutover VERB`; a switch or reverse with the hash of its plan."""
        self.count += 1
        path = self.project.folder / f"operator-{self.count}.log"
        environment = self.project._environment() | {
            "DBBRIDGE_KILL_AT": f"{kill_at}:1" if kill_at else "",
            "DBBRIDGE_STOP_AT": f"{stop_at}:1" if stop_at else "",
        }
        arguments = (str(self.project.folder), environment, str(path), verb, words)
        process = _PROCESSES.Process(target=operate, args=arguments, daemon=True)
        process.start()
        path.touch()
        return Operator(process, path)


def operate(
    folder: str, environment: Mapping[str, str], path: str, verb: str, words: tuple[str, ...]
) -> None:
    """In the process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    for name, number in (("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)):
        setattr(points, f"_{name}", points._Wanted(f"DBBRIDGE_{name.upper()}_AT", number))
    print(f"--- {verb} {' '.join(words)} {environment['DBBRIDGE_KILL_AT']}", flush=True)
    try:
        if verb in MOVES:
            words = (*words, "--plan", _agreed(verb))
        code = main(["cutover", verb, *words])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    os._exit(code or 0)


def _agreed(direction: str) -> str:
    """The plan's hash; what writers and statistics say is waived, as it is while all write."""
    context = Context()
    with context.closing, opener(context, None).look() as work:
        number = plan_hash(work, PLANS[direction](work))
        if direction == "switch" and TABLE[work.attempt.state].resting:
            gates, _ = Looker(opener(context, None), direction).gates(work)
            waivers = Waivers(work.target, work.pipeline)
            for gate in gates:
                if gate.name in WAIVED:
                    waivers.waive(work.group, gate.name, "known", gate.evidence_hash(), whoami())
    return number
