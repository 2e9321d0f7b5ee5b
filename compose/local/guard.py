"""Ends servers whose owner is gone, however the owner went.

Each process that starts servers keeps a ledger, ``run/PID.TICKS``, one JSON object a line:
a server it started, or a folder to remove in the end. It also holds the writing end of a
pipe to one guard process; when the owner dies, even by SIGKILL, the kernel closes the pipe
and the guard works the ledger off. PR_SET_PDEATHSIG would be shorter, but it fires when the
*thread* that started the server ends (prctl(2)), and servers are started from threads too.
Should a guard have been killed as well, the next process to start a server sweeps up.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from compose.local import places, processes

PATIENCE = 10.0  # seconds for an orderly end; nobody is left who would wait longer

_pipes: dict[int, int] = {}
"""By process (forks have their own): the end whose closing tells its guard."""


def remember_server(pid: int, stop: signal.Signals) -> None:
    """Have this process ended by this signal when ours ends."""
    _write({"server": pid, "birth": processes.birth(pid), "signal": stop.value})


def remember_folder(folder: Path) -> None:
    """Have this folder removed when our process ends."""
    _write({"folder": str(folder)})


def sweep() -> None:
    """Work off the ledgers of owners that are gone."""
    for ledger in places.folder("run").glob("*.*"):
        owner, _, born = ledger.name.partition(".")
        if owner.isdigit() and str(processes.birth(int(owner))) != born:
            settle(ledger)


def settle(ledger: Path) -> None:
    """End all servers and remove all folders that the ledger names, then the ledger."""
    try:
        entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    except FileNotFoundError:
        return
    for entry in entries:
        if "server" in entry and entry["birth"] == processes.birth(entry["server"]):
            processes.end(entry["server"], signal.Signals(entry["signal"]), PATIENCE)
    for entry in entries:
        if "folder" in entry:
            shutil.rmtree(entry["folder"], ignore_errors=True)
    ledger.unlink(missing_ok=True)


def _write(entry: dict[str, object]) -> None:
    ledger = _ledger()
    with ledger.open("a") as handle:
        handle.write(json.dumps(entry) + "\n")
    _guarded(ledger)


def _ledger() -> Path:
    return places.folder("run") / f"{os.getpid()}.{processes.birth(os.getpid())}"


def _guarded(ledger: Path) -> None:
    if os.getpid() in _pipes:
        return
    reading, _pipes[os.getpid()] = os.pipe()
    guard = subprocess.Popen(
        [sys.executable, "-m", "compose.local.guard", str(ledger)],
        cwd=places.CHECKOUT,
        stdin=reading,
        start_new_session=True,
    )
    os.close(reading)
    guard.returncode = 0  # it outlives us, and the interpreter need not warn of that


def main() -> None:
    """Wait for the end of the owner, which is the end of our input."""
    sys.stdin.buffer.read()
    settle(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
