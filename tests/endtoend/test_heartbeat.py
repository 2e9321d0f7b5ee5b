"""Lag by heartbeats: with the rights that `check` asks for, and without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from bridge.names import quote_mysql
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Project
from tests.fix_servers import SourceDatabase, TargetDatabase


@pytest.fixture
def project(
    source_db: SourceDatabase, target_db: TargetDatabase, new_project: NewProject
) -> Iterator[Project]:
    """One small table, and a heartbeat in another database."""
    project = new_project(source_db, target_db)
    other = f"{source_db.name}_beat"
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
        cursor.execute("INSERT INTO t VALUES (1, 1)")
        cursor.execute(f"CREATE DATABASE {quote_mysql(other)}")
        project.begin()
        settings = project.folder / "bridge.yaml"
        heartbeat = f"  heartbeat: {{table: {other}.beat, seconds: 0.2}}\n"
        settings.write_text(settings.read_text().rstrip("\n") + "\n" + heartbeat)
        yield project
        project.close()
        cursor.execute(f"DROP DATABASE {quote_mysql(other)}")


def lag(project: Project) -> float | None:
    """As `status` tells it."""
    found = project.run("status", "--format", "json").json["lag_seconds"]
    assert found is None or isinstance(found, float)
    return found


def test_lag_is_told_by_heartbeats(project: Project) -> None:
    found = project.run("check", "--format", "json", code=1).json
    assert [f["code"] for f in found["findings"] if f["severity"] == "error"] == ["G005"]
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for line in found["source"]:
            cursor.execute(line)
        project.run("check")
        daemon = project.sync()
        project.wait_streaming(daemon)
        project.wait_until(lambda: (lag(project) or 9.0) < 1.0, daemon=daemon)
        with closing(project.target.connect()) as blocker:
            blocker.autocommit = False
            blocker.execute(f'LOCK TABLE "{project.source.name}".t IN EXCLUSIVE MODE'.encode())
            cursor.execute("UPDATE t SET v = 2")
            project.wait_until(lambda: (lag(project) or 0.0) > 1.5, daemon=daemon)
        project.wait_until(lambda: (lag(project) or 9.0) < 1.0, daemon=daemon)
        daemon.stop()


def test_a_source_that_refuses_heartbeats_costs_a_warning(project: Project) -> None:
    daemon = project.sync()
    project.wait_streaming(daemon)
    project.wait_until(lambda: "no-heartbeat" in daemon.log, daemon=daemon)
    project.wait_until(lambda: lag(project) == 0.0, daemon=daemon)
    daemon.stop()


def test_a_table_that_is_carried_is_refused(project: Project) -> None:
    settings = project.folder / "bridge.yaml"
    settings.write_text(settings.read_text().replace("_beat.beat", ".t"))
    refused = project.run("sync", code=2)
    assert refused.err.startswith("error: pipeline.heartbeat names")
    assert "\nhint: name a table of its own" in refused.err
