"""Starting and ending server processes by id, without ever hitting a stranger."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from compose.local.errors import LocalStackError
from compose.local.places import Account

_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _disown() -> None:
    """What still runs is the guard's; the interpreter need not warn of it."""
    for child in _children.values():
        child.returncode = child.returncode or 0


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path, account: Account | None
) -> int:
    """Start a server in a session of its own, so that a ^C for us does not reach it."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env={**base_environment(), **environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    _children[child.pid] = child
    return child.pid


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
) -> str:
    """Run a tool to its end and return what it said; its words are in the error too."""
    finished = subprocess.run(
        [str(word) for word in command],
        env={**base_environment(), **(environment or {})},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    if finished.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise LocalStackError(f"{words}\nexited {finished.returncode}:\n{finished.stdout[-4000:]}")
    return finished.stdout


def base_environment() -> dict[str, str]:
    """What servers and tools get to see: ours, less what would change how they behave."""
    leaking = ("LC_", "LANG", "TZ", "LD_", "PG", "MYSQL", "MARIADB")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(leaking)}
    return {**kept, "LC_ALL": "C"}


def birth(pid: int) -> int | None:
    """When the process began, in ticks; None if it is gone or a zombie.

    With the id it identifies a process: ids are used again, these pairs are not (proc(5),
    fields 3 and 22 of stat, counted after the name, which may contain spaces). A killed
    server looks like a zombie while its other threads still hold files and locks.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        over = fields[0] in "ZX" and len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if over else int(fields[19])


def descendants(pid: int) -> list[int]:
    """The processes below this one, nearest first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(parents.get(pid, []))
    for child in found:
        found.extend(parents.get(child, []))
    return found


def end(pid: int, first: signal.Signals, patience: float = 60.0) -> None:
    """Send the signal, wait until the process and its children are gone, else kill them."""
    family = {member: birth(member) for member in (pid, *descendants(pid))}
    if birth(pid) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, first)
    if not _gone(family, patience):
        for member, born in family.items():
            if born is not None and birth(member) == born:
                os.kill(member, signal.SIGKILL)
        if not _gone(family, 10.0):
            raise LocalStackError(f"process {pid} does not end")


def _gone(family: Mapping[int, int | None], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        for member in family:
            exited(member)
        if all(born is None or birth(member) != born for member, born in family.items()):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def exited(pid: int) -> bool:
    """Whether the process has ended; collects its exit status if it is our child."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
    return birth(pid) is None
