"""Workers copy what the daemon offers them; both sides are the same in the end."""

from __future__ import annotations

import signal

from compose.local.servers import Server
from tests.endtoend import tables
from tests.endtoend.compare import assert_same
from tests.endtoend.project import Daemon, Project
from tests.endtoend.spread import by_workers
from tests.endtoend.traffic import Traffic

BULK = 100_000
LEAVE_SECONDS = 10.0
RATE = 80.0


def test_workers_copy_beside_traffic(project: Project, redis: Server, seed: int) -> None:
    tables.create(project.source, bulk=BULK, seed=seed)
    project.init()
    if project.source.server.kind == "mysql":
        project.consent_to_lock(tables.KEYLESS)
    refuse_without_a_broker(project)
    by_workers(project, redis)
    project.apply_schema()
    with Traffic(project.source, seed, rate=RATE) as traffic:
        daemon = project.sync()
        if project.source.server.kind == "mariadb":
            await_the_word(project, daemon)
        workers = [project.worker("--concurrency", "1") for _ in range(2)]
        project.wait_streaming(daemon)
        traffic.stop()
    assert not project.ask("SELECT FROM dbbridge.errands")
    for worker in workers:
        assert "chunks copied" in worker.log, worker.log
        worker.stop(LEAVE_SECONDS)
    daemon.send(signal.SIGTERM)
    daemon.wait(LEAVE_SECONDS)
    project.catch_up()
    assert assert_same(project.source, project.target) > BULK


def await_the_word(project: Project, daemon: Daemon) -> None:
    """While nobody works, it is said how to start somebody who does."""
    project.wait_until(lambda: "start one: dbbridge worker" in daemon.log, daemon=daemon)
    project.wait_until(lambda: "waiting: no worker" in project.run("status").out, daemon=daemon)


def refuse_without_a_broker(project: Project) -> None:
    """At once, with the line of the file."""
    settings = project.folder / "bridge.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("pipeline:\n", "pipeline:\n  copy_via: celery\n"))
    error, hint = project.run("sync", code=2).err.splitlines()
    assert "bridge.yaml:" in error and "there is no broker for Celery" in error
    assert "celery: {broker:" in hint
    settings.write_text(text)
