"""Which server binaries are used: those on PATH, or privately unpacked ones."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compose.local import maven, packages
from compose.local.errors import LocalStackError, Unavailable
from compose.local.processes import base_environment

KINDS = ("mariadb", "mysql", "postgresql", "redis")
JAVA_KINDS = ("kafka", "connect")
OLDEST = {"mariadb": (10, 5), "mysql": (8, 0), "postgresql": (14,), "redis": (6,)}
PACKAGES = {
    # the client package has my_print_defaults, which mariadb-install-db calls
    "mariadb": ("mariadb-server-core(-[0-9.]+)?", "mariadb-client-core(-[0-9.]+)?"),
    "mysql": ("mysql-server-core(-[0-9.]+)?",),
    "postgresql": ("postgresql-[0-9]+",),
    "redis": ("redis-server",),
}
BINARIES = {
    "mariadb": ["mariadbd", "mysqld"],
    "mysql": ["mysqld"],
    "postgresql": ["postgres"],
    "redis": ["redis-server"],
}
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/bin")


@dataclass(frozen=True)
class Program:
    """A server's binaries: how it is called, where its files lie, and what it needs to run."""

    kind: str
    version: str
    command: tuple[str, ...]
    tools: Path
    """The folder of its tools: mariadb-install-db, initdb."""
    base: Path
    """What MySQL calls basedir: /usr of the system or of the private root."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """A name for this very build, for folders that only it should use."""
        digest = hashlib.sha256(f"{self.version} {self.command}".encode()).hexdigest()[:8]
        return f"{self.kind}-{'.'.join(map(str, self.number))}-{digest}"

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers, to compare."""
        return numbered(self.version)


def private_only() -> bool:
    """Whether servers of this machine are to be left alone (CI checks the bare machine's way)."""
    return os.environ.get("DBBRIDGE_SERVERS") == "private"


@functools.cache
def find(kind: str) -> Program:
    """The binaries for a kind of server; unpacks them if need be."""
    if kind in JAVA_KINDS:
        return _java(kind)
    if kind not in KINDS:
        known = ", ".join((*KINDS, *JAVA_KINDS))
        raise LocalStackError(f"no kind of server is called {kind}: {known}")
    return installed(kind) or _private(kind)


@functools.cache
def installed(kind: str) -> Program | None:
    """The machine's own binaries, if it has any and they may be used."""
    if private_only():
        return None
    for candidate in _candidates(BINARIES[kind]):
        program = Program(
            kind=kind,
            version=_version((str(candidate),), {}),
            command=(str(candidate),),
            tools=_tools(kind, candidate),
            base=candidate.parent.parent,
        )
        if _fits(program):
            return program
    return None


def _candidates(names: list[str]) -> list[Path]:
    """Installed binaries of these names, PATH first; PostgreSQL's lie outside of it on Debian."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: numbered(str(path)),
        reverse=True,
    )
    path = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS, *map(str, versions)]
    )
    found = [shutil.which(name, path=path) for name in names]
    return [Path(name).resolve() for name in found if name]


def _tools(kind: str, binary: Path) -> Path:
    if kind == "mariadb" and not (binary.parent / "mariadb-install-db").exists():
        return binary.parent.parent / "bin"
    return binary.parent


def _fits(program: Program) -> bool:
    tool = {"mariadb": "mariadb-install-db", "postgresql": "initdb"}.get(program.kind)
    return (
        ("MariaDB" in program.version) == (program.kind == "mariadb")
        and program.number >= OLDEST[program.kind]
        and (tool is None or (program.tools / tool).exists())
    )


def _private(kind: str) -> Program:
    distribution = packages.distribution()
    if kind == "mysql" and distribution == "debian":
        return _sid_mysql()
    root = packages.unpacked(kind, PACKAGES[kind])
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, _libraries(root)))}
    if kind == "postgresql":
        binary = next(root.glob("usr/lib/postgresql/*/bin/postgres"))
    else:
        folder = "usr/bin" if kind == "redis" else "usr/sbin"
        binary = root / folder / BINARIES[kind][0]
    return Program(
        kind=kind,
        version=_version((str(binary),), environment),
        command=(str(binary),),
        tools=_tools(kind, binary),
        base=root / "usr",
        environment=environment,
    )


def _sid_mysql() -> Program:
    """Debian has MySQL in sid only; it runs with the libc of its time, not the machine's."""
    if platform.machine() not in ("x86_64", "aarch64"):
        raise Unavailable(f"Debian has no MySQL for {platform.machine()}")
    root = packages.unpacked("mysql", ["mysql-server-core"], suite="sid")
    loader = next(root.glob("usr/lib/*-linux-gnu*/ld-linux-*.so.*"))
    command = (
        str(loader),
        "--library-path",
        os.pathsep.join(map(str, _libraries(root))),
        str(root / "usr/sbin/mysqld"),
    )
    return Program("mysql", _version(command, {}), command, root / "usr/bin", root / "usr")


def _java(kind: str) -> Program:
    """A class of Kafka's libraries, of which there is no installed kind to prefer."""
    libraries = maven.libraries()
    binary, version = maven.java()
    jars = sorted(map(str, libraries.glob("*.jar")))
    return Program(
        kind=kind,
        version=f"{maven.KAFKA} on Java {version}",
        command=(str(binary),),
        tools=binary.parent,
        base=libraries,
        environment={"CLASSPATH": os.pathsep.join(jars)},
    )


def _libraries(root: Path) -> list[Path]:
    return sorted(root.glob("usr/lib/*-linux-gnu*")) + sorted(root.glob("lib/*-linux-gnu*"))


def _version(command: tuple[str, ...], environment: Mapping[str, str]) -> str:
    finished = subprocess.run(
        [*command, "--version"],
        env={**base_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.stdout.strip()


def numbered(text: str) -> tuple[int, ...]:
    """The first dotted number in a text, such as ``mysqld  Ver 9.7.4 for Linux``."""
    found = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
