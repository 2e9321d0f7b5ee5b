"""Java servers: with which words they are run, and how they come to start quickly.

Most of a start is loading and verifying classes. A server's classes are archived once, at the
end of a trial run, and mapped from there afterwards (class data sharing; -XX:ArchiveClassesAtExit
in `java(1)`): Connect starts in a third of the time. The JVM ignores an archive of another build.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from compose.local import guard, places, processes
from compose.local.errors import LocalStackError
from compose.local.programs import Program

TRIAL_SECONDS = 90.0

# One of many processes on few cores: quick to start rather than quick in the long run.
# Exit on a full heap, since a server that is half alive would hang its clients. Before Java 18
# texts are taken for what the locale says, which is C: Debezium lost the names of JSON's members.
FLAGS = (
    "-Dfile.encoding=UTF-8",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dfile.encoding=UTF-8",  # else Debezium reads names in JSON by the locale, before Java 18
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.io.debezium=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


def words(
    program: Program, heap: int, main: Sequence[str], options: Sequence[str]
) -> tuple[str, ...]:
    """The words that run a class; the heap is in MB, of the options those with a dash are taken."""
    flags = [f"-Xmx{heap}m", *FLAGS, *(option for option in options if option.startswith("-"))]
    archive = _archive(program)
    if archive.exists():
        flags.insert(0, f"-XX:SharedArchiveFile={archive}")
    return (*program.command, *flags, *main)


def write_properties(path: Path, settings: Mapping[str, str], options: Sequence[str]) -> None:
    """Write settings and options: ``name=value`` replaces, ``name+=value`` adds to a list.

    Options that begin with a dash are the JVM's (``words``).
    """
    merged = dict(settings)
    for option in options:
        name, _, value = option.partition("=")
        if name.endswith("+"):
            name, value = name[:-1], f"{merged[name[:-1]]},{value}"
        if not option.startswith("-"):
            merged[name] = value
    lines = (f"{name}={value}\n" for name, value in merged.items())
    path.touch(mode=0o600)
    path.write_text("".join(lines).replace("\\", "\\\\"))


@contextmanager
def running(
    command: Sequence[str], program: Program, log: Path, ready: Callable[[], str | None]
) -> Iterator[None]:
    """A server for as long as the context lasts, from when it is ready."""
    pid = processes.spawn(command, program.environment, log, None)
    guard.remember_server(pid, signal.SIGTERM)
    try:
        deadline = time.monotonic() + TRIAL_SECONDS
        while not ready():
            if processes.exited(pid) or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-4000:]
                raise LocalStackError(f"a trial run of {program.kind} failed:\n{said}")
            time.sleep(0.05)
        yield
    finally:
        processes.end(pid, signal.SIGTERM)


@contextmanager
def archiving(program: Program) -> Iterator[list[str]]:
    """The options for a trial run, whose classes are archived in the end."""
    archive = _archive(program)
    partial = archive.with_name(f"{archive.name}.partial")
    partial.unlink(missing_ok=True)
    yield [f"-XX:ArchiveClassesAtExit={partial}"]
    if partial.exists():  # a JVM that cannot archive says so in its log, and is only slower
        partial.rename(archive)


def _archive(program: Program) -> Path:
    return places.folder("java") / f"{program.identity}.jsa"
