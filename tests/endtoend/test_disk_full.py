"""A disk of the target runs full: nothing goes wrong but time, and it goes on by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from compose.local import servers
from compose.local.errors import Unavailable
from tests.endtoend.compare import assert_same
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Daemon, Project
from tests.fix_servers import UNAVAILABLE, SourceDatabase, TargetDatabase

MOUNT, UMOUNT = (shutil.which(name) or f"/bin/{name}" for name in ("mount", "umount"))
SIZE = 96 << 20
REASON = "No space left on device"
WAITS = f'{REASON}", "hint"'
ROWS = 4_000
"""Of some 1.5 kB, which PostgreSQL cannot make smaller."""
FILL = (
    "INSERT INTO item SELECT {first} + a.n + 16 * b.n + 256 * c.n, CONCAT("
    + ", ".join(f"SHA2(CONCAT({{first}}, a.n, ' ', b.n, ' ', c.n, {n}), 512)" for n in range(12))
    + ") FROM {digits} a, {digits} b, {digits} c WHERE a.n + 16 * b.n + 256 * c.n < {rows}"
)
DIGITS = f"(SELECT 0 AS n{''.join(f' UNION ALL SELECT {n}' for n in range(1, 16))})"


@dataclass(frozen=True)
class Disk:
    """A small one, mounted at `path`."""

    path: Path

    def fill(self, but: int = 0) -> None:
        """Takes all that is free, but so many bytes."""
        with suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
        assert os.statvfs(self.path).f_bavail == 0
        os.truncate(self._filler, self._filler.stat().st_size - but)

    def free(self) -> None:
        """Gives it back."""
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return self.path / "filler"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[TargetDatabase, Disk]]:
    """A database that lies on a small disk of its own; its server's log of changes does not."""
    try:
        server = servers.start("postgresql", tmp_path / "postgresql")
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: postgresql ({reason})")
    disk = Disk(server.datadir.parent / "disk")
    disk.path.mkdir()
    owner = server.datadir.stat()
    options = f"size={SIZE},uid={owner.st_uid},gid={owner.st_gid},mode=0700"
    try:
        mounted = subprocess.run(
            [MOUNT, "-t", "tmpfs", "-o", options, "tmpfs", str(disk.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"{UNAVAILABLE}: a small disk ({mounted.stderr.strip()})")
        with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE TABLESPACE small LOCATION '{disk.path}'".encode())
            admin.execute("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
        yield TargetDatabase(server, "small"), disk
    finally:
        server.stop(kill=True)
        subprocess.run([UMOUNT, "--lazy", str(disk.path)], capture_output=True, check=False)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_disk_full(
    source_db: SourceDatabase, small_disk: tuple[TargetDatabase, Disk], new_project: NewProject
) -> None:
    target, disk = small_disk
    project = new_project(source_db, target)
    write(project, "CREATE TABLE item (id int PRIMARY KEY, body text CHARACTER SET ascii NOT NULL)")
    add(project, 0)
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    while_streaming(project, disk, daemon)
    while_copying(project, disk, daemon)
    daemon.stop()
    assert "Traceback" not in daemon.log
    assert assert_same(project.source, project.target, tables=["item"]) == 3 * ROWS
    assert project.ask("SELECT count(*) FROM dbbridge.quarantine") == [(0,)]


def while_streaming(project: Project, disk: Disk, daemon: Daemon) -> None:
    everything = f'SELECT count(*) FROM "{project.source.name}".item'
    disk.fill()
    add(project, ROWS)
    refused(project, daemon, 2)
    assert project.ask(everything) == [(ROWS,)]  # nothing of it is there
    add(project, 2 * ROWS)
    disk.free()
    project.wait_until(lambda: project.ask(everything) == [(3 * ROWS,)], daemon=daemon)
    project.wait_said_streaming(daemon)


def while_copying(project: Project, disk: Disk, daemon: Daemon) -> None:
    """The table that serves stays as it is until the other one is whole."""
    said = daemon.log.count(WAITS)
    disk.fill()
    result = project.run("tables", "resync", "item", code=4)
    assert REASON in result.err and "make room on the target's disk" in result.err, result
    disk.fill(but=1 << 20)
    project.run("tables", "resync", "item")
    refused(project, daemon, said + 1)
    disk.free()
    kept = "SELECT generation, stage FROM dbbridge.tables"
    project.wait_until(lambda: project.ask(kept) == [(2, "streaming")], daemon=daemon)


def refused(project: Project, daemon: Daemon, times: int) -> None:
    """The daemon says why it waits, again and again, and does not end."""
    project.wait_until(lambda: daemon.log.count(WAITS) >= times, daemon=daemon)
    assert "could not extend file" in daemon.log


def write(project: Project, statement: str) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(statement)


def add(project: Project, first: int) -> None:
    write(project, FILL.format(first=first, digits=DIGITS, rows=ROWS))
