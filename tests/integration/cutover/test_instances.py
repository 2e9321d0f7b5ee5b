"""Instances of the layer say that they are there, and which epochs they know."""

from __future__ import annotations

from contextlib import closing

from sqlalchemy import text

from bridge.dualwrite.authority import read_source, set_up
from tests.endtoend.dual import drop_application, dual_write, grant_dual_writes, grant_on_target
from tests.endtoend.project import Project
from tests.integration.cutover.gating import Gated, gated


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
        dual.close()  # waits for its goodbye, but not for long
        project.wait_until(lambda: known(project) == [], daemon=daemon)
        dual.source.dispose()
        dual.target.dispose()
    finally:
        daemon.stop(timeout=60)
        drop_application(project)


def known(project: Project) -> list[tuple[str, int | None]]:
    return project.ask("SELECT kind, (epochs ->> 'customer')::int FROM dbbridge.instances")


def test_a_group_that_was_never_set_up(project: Project) -> None:
    """An instance that writes it is held by nothing, until it has rows that everybody knows."""
    found = gated(project)
    grant_dual_writes(project)
    grant_on_target(project)
    dual = dual_write(project)
    write = text("UPDATE customer SET name = 'x' WHERE id = 1")
    try:
        with dual.engine().begin() as conn:
            conn.execute(write)
        found.passing(lambda: known(project) == [("layer", None)])
        assert "was never set up" in found.becomes("instances", False).missing
        make_rows(found)
        assert "knows epoch" in found.gates()["instances"].missing or known(project) == [
            ("layer", 1)
        ]
        found.becomes("instances", True)
        with dual.engine().begin() as conn:
            conn.execute(write)
        assert recorded(project) == 1
    finally:
        dual.close()
        dual.source.dispose()
        dual.target.dispose()
        found.daemon.stop(timeout=60)
        drop_application(project)


def make_rows(found: Gated) -> None:
    """Whichever of them are missing, as often as it is asked for; those that are there stay."""
    name = found.project.source.name
    with found.sessions() as (source, target):

        def both() -> list[tuple[str, int]]:
            set_up(source, target, name, name, "customer", 5)
            here = read_source(source, name)["customer"]
            ((side, epoch),) = found.project.ask("SELECT authority, epoch FROM dbbridge.authority")
            return [(here.side, here.epoch), (side, epoch)]

        assert both() == [("source", 1)] * 2
        found.on_target("DELETE FROM dbbridge.authority")
        assert both() == [("source", 1)] * 2
        found.on_source("DELETE FROM _bridge_authority")
        assert both() == both() == [("source", 1)] * 2


def recorded(project: Project) -> int:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        return int(cursor.execute("SELECT seq FROM _bridge_op"))
