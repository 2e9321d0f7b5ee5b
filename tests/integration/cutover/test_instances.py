"""Instances of the layer say that they are there, and which epochs they know."""

from __future__ import annotations

from contextlib import closing

from sqlalchemy import text

from tests.endtoend.dual import drop_application, dual_write, grant_dual_writes, grant_on_target
from tests.endtoend.project import Project


def test_an_instance_is_heard_of(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE customer (id int PRIMARY KEY)")
    grant_dual_writes(project)
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    try:
        grant_on_target(project)
        project.run("cutover", "mode", "cdc")
        dual = dual_write(project)
        with dual.engine().begin() as conn_:
            conn_.execute(text("INSERT INTO customer VALUES (1)"))
        project.wait_until(lambda: known(project) == [("layer", 1)], daemon=daemon)
        # It hears of another epoch without writing anything.
        project.run("cutover", "mode", "cdc")
        project.wait_until(lambda: known(project) == [("layer", 2)], daemon=daemon)
        dual.close()
        assert known(project) == []
        dual.source.dispose()
        dual.target.dispose()
    finally:
        daemon.stop()
        drop_application(project)


def known(project: Project) -> list[tuple[str, int]]:
    return project.ask("SELECT kind, (epochs ->> 'customer')::int FROM dbbridge.instances")
