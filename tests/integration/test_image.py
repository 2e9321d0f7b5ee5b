"""The image as compose.yaml runs it, without an engine: its own steps, its accounts, its verbs."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from compose.local import places, programs, servers
from compose.local.launch import HOST, free_port
from compose.local.servers import Server
from tests.composition import FILE, FOLDER, SERVICES, accounts_sql
from tests.fix_servers import UNAVAILABLE
from tests.integration.image_root import Image, lacking

pytestmark = pytest.mark.timeout(900)  # the first one makes the image
PATIENCE = 60.0
ROWS = 1000


@dataclass
class Composition:
    """The image beside servers that are set, and have accounts, as compose.yaml says."""

    image: Image
    project: Path
    secrets: Path
    source: Server
    target: Server
    broker: int

    def dbbridge(self, *words: str, code: int = 0, writable: bool = False) -> str:
        """One verb to its end; its output."""
        done = self.image.run(["dbbridge", *words], self.project, self.secrets, writable=writable)
        assert done.returncode == code, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """A verb that stays."""
        command = self.image.command(["dbbridge", *words], self.project, self.secrets)
        with self.log(words[0]).open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def log(self, verb: str) -> Path:
        """What it has said."""
        return self.secrets.parent / f"{verb}.log"

    def healthy(self, service: str) -> bool:
        """By the service's own check; the broker's port is another one here."""
        _, *words = SERVICES[service]["healthcheck"]["test"]
        words = [word.replace(f":{6379:X} ", f":{self.broker:04X} ") for word in words]
        return self.image.run(words, self.project, self.secrets).returncode == 0

    def rows(self, table: str) -> int:
        """How many rows the target has."""
        with psycopg.connect(self.target.url("shop")) as conn:
            found = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        return int(found[0]) if found else 0


def wait_until(condition: Callable[[], bool], log: Path | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log else "not in time"
        time.sleep(0.1)


def ended(daemon: subprocess.Popen[bytes]) -> int:
    """Its exit code after the signal that the image stops with; it is process 1 of its own."""
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text()
    os.kill(int(children), signal.SIGTERM)
    return daemon.wait(float(SERVICES["sync"]["stop_grace_period"].removesuffix("s")))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Which the image's user may enter."""
    path = Path(tempfile.mkdtemp(prefix="image-", dir=places.folder("data")))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    """Made once, by the steps of the Dockerfile."""
    if reason := lacking():
        pytest.skip(f"{UNAVAILABLE}: the image's root ({reason})")
    return Image(folder / "image")


@pytest.fixture(scope="module")
def passwords(folder: Path) -> Path:
    """A file for each secret, as docs/deploy.md makes them."""
    path = folder / "secrets"
    path.mkdir()
    for name in FILE["secrets"]:
        (path / name).write_text(secrets.token_hex(12))
    return path


def run_on(source: Server, *statements: str) -> None:
    where: dict[str, Any] = {"host": source.host, "port": source.port, "user": source.user}
    connection = pymysql.connect(**where, password=source.password, autocommit=True)
    with closing(connection) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture(scope="module")
def source_as(folder: Path, passwords: Path) -> Iterator[Callable[[str], Server]]:
    """Starts the service of a name with its options, and a shop in it."""
    running = []

    def start(service: str) -> Server:
        server = servers.start(service, folder / service, options=SERVICES[service]["command"])
        running.append(server)
        run_on(
            server,
            "CREATE DATABASE shop CHARACTER SET utf8mb4",
            *accounts_sql("source.sh", passwords),
            "CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(50))",
            "INSERT INTO shop.customers WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL"
            f" SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i, CONCAT('customer ', i) FROM n",
        )
        return server

    yield start
    for server in running:
        server.stop(kill=True)


@pytest.fixture(scope="module")
def target(folder: Path, passwords: Path) -> Iterator[Server]:
    """The service postgres with its accounts."""
    server = servers.start(
        "postgresql", folder / "postgres", options=SERVICES["postgres"]["command"][1:]
    )
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE shop ENCODING 'UTF8' TEMPLATE template0")
    with psycopg.connect(server.url("shop"), autocommit=True) as conn:
        for statement in accounts_sql("target.sh", passwords):
            conn.execute(statement.encode())
    yield server
    server.stop(kill=True)


def project_of(folder: Path, source: Server, target: Server, broker: int = 0) -> Path:
    """The settings of compose.yaml's own servers, with the addresses that they have here."""
    folder.mkdir()
    folder.chmod(0o777)  # the user of the image is not who makes it
    text = (FOLDER / "project" / "bridge.yaml").read_text()
    for name, port in (("mysql", source.port), ("postgres", target.port), ("redis", broker)):
        text = text.replace(f"@{name}/", f"@{HOST}:{port}/")
    (folder / "bridge.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def composition(
    image: Image,
    folder: Path,
    passwords: Path,
    source_as: Callable[[str], Server],
    target: Server,
    broker: int,
) -> Composition:
    """All of it, with MySQL."""
    source = source_as("mysql")
    project = project_of(folder / "project", source, target, broker)
    return Composition(image, project, passwords, source, target, broker)


@pytest.fixture(scope="module")
def broker(folder: Path, passwords: Path) -> Iterator[int]:
    """The service redis by its own command; its port, which its own check has found healthy."""
    port, program = free_port(), programs.find("redis")
    tools = f"{Path(program.command[0]).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **program.environment, "PATH": tools}

    def words(text: str) -> list[str]:
        text = text.replace("/run/secrets", str(passwords)).replace("bind * -::*", f"port {port}")
        return ["sh", "-c", text.replace("redis-cli", f"redis-cli -p {port}")]

    service = SERVICES["redis"]
    process = subprocess.Popen(words(service["command"][0]), env=environment, cwd=folder)
    check = words(service["healthcheck"]["test"][1])
    wait_until(lambda: subprocess.run(check, env=environment, check=False).returncode == 0)
    yield port
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_it_runs_without_rights_and_writes_nowhere(image: Image, folder: Path) -> None:
    script = """
import os, pathlib, dbm, sys
import bridge.cli.sync, bridge.cli.worker, workers.app
assert (os.getuid(), os.getgid(), os.getgroups()) == (10001, 10001, []), os.getgroups()
assert not sys.flags.safe_path and pathlib.Path.cwd() == pathlib.Path("/project")
for name in ("/", "/project", "/opt/dbbridge", "/usr/local", "/root"):
    try:
        pathlib.Path(name, "new").touch()
    except OSError:
        continue
    raise SystemExit(f"{name} can be written")
caches = [getattr(m, "__cached__", None) for m in list(sys.modules.values())]
print(*[path for path in caches if path and not os.path.exists(path)])
for name in ("pip", "setuptools", "pytest", "mypy"):
    assert name not in sys.modules
    assert not list(pathlib.Path("/opt/dbbridge").rglob(f"site-packages/{name}/__init__.py")), name
"""
    done = image.run(["python", "-c", script], folder, folder)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_shop_is_moved_and_streamed(composition: Composition) -> None:
    composition.dbbridge("init", writable=True)
    # Warnings at most: of the rights, and of how the servers are set, nothing is missing.
    composition.dbbridge("check")
    plan = json.loads(composition.dbbridge("schema", "plan", "--format", "json"))["plan"]
    composition.dbbridge("schema", "apply", "--plan", plan)
    daemon = composition.begin("sync")
    try:
        wait_until(lambda: composition.healthy("sync"), composition.log("sync"))
        wait_until(lambda: composition.rows("shop.customers") == ROWS)
        run_on(composition.source, f"INSERT INTO shop.customers VALUES ({ROWS + 1}, 'new')")
        wait_until(lambda: composition.rows("shop.customers") == ROWS + 1)
        assert ended(daemon) == 0
    finally:
        daemon.kill()
        daemon.wait()
    assert not composition.healthy("sync")


def test_a_worker_takes_tasks(composition: Composition) -> None:
    assert not composition.healthy("worker")
    worker = composition.begin(*SERVICES["worker"]["command"])
    try:
        wait_until(lambda: composition.healthy("worker"), composition.log("worker"))
        composition.dbbridge("verify", "--via", "celery")
        assert ended(worker) == 0
    finally:
        worker.kill()
        worker.wait()
    assert not composition.healthy("worker")


def test_mariadb_is_set_as_well(
    composition: Composition, folder: Path, source_as: Callable[[str], Server]
) -> None:
    source = source_as("mariadb")
    project = project_of(folder / "of-mariadb", source, composition.target)
    other = replace(composition, project=project, source=source)
    other.dbbridge("init", writable=True)
    other.dbbridge("check")
