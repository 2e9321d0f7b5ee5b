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
LEAVE_SECONDS = 30.0
"""Longer than a worker gives itself, by what a busy machine needs for it."""
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
        workers = begin_together(project, daemon)
        project.wait_streaming(daemon)
        traffic.stop()
    assert not project.ask("SELECT FROM dbbridge.errands")
    # Each says so when its task ends, which is after its last chunk.
    project.wait_until(lambda: all("chunks copied" in worker.log for worker in workers))
    for worker in workers:
        worker.stop(LEAVE_SECONDS)
    daemon.send(signal.SIGTERM)
    daemon.wait(LEAVE_SECONDS)
    project.catch_up()
    assert assert_same(project.source, project.target) > BULK


def await_the_word(project: Project, daemon: Daemon) -> None:
    """While nobody works, it is said how to start somebody who does."""
    project.wait_until(lambda: "start one: dbbridge worker" in daemon.log, daemon=daemon)
    project.wait_until(lambda: "waiting: no worker" in project.run("status").out, daemon=daemon)


def begin_together(project: Project, daemon: Daemon) -> list[Daemon]:
    """Two workers; no chunk can be written before each has one, or the first took them all."""
    schema = project.source.name
    names = (f'"{schema}".{name}' for name in tables.TABLES if name != tables.KEYLESS)
    project.wait_until(lambda: bool(project.stages()), daemon=daemon)
    busy = "SELECT count(DISTINCT worker) FROM dbbridge.errands WHERE worker <> ''"
    with project.target.connect() as holder, holder.transaction():
        holder.execute(f"LOCK TABLE {', '.join(names)} IN SHARE MODE".encode())
        workers = [project.worker("--concurrency", "1") for _ in range(2)]
        project.wait_until(lambda: project.ask(busy) == [(2,)], daemon=daemon)
    return workers


def refuse_without_a_broker(project: Project) -> None:
    """At once, with the line of the file."""
    settings = project.folder / "bridge.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("pipeline:\n", "pipeline:\n  copy_via: celery\n"))
    error, hint = project.run("sync", code=2).err.splitlines()
    assert "bridge.yaml:" in error and "there is no broker for Celery" in error
    assert "celery: {broker:" in hint
    settings.write_text(text)
