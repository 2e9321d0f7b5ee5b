"""While the target has authority: writes around the fence, what is refused, and the end."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.dual import as_role, drop_application
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start
from tests.endtoend.project import Daemon, Project, Result
from tests.endtoend.test_cutover import TABLES
from tests.endtoend.test_cutover_operators import standing


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_target_primary(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    move(project, "switch")
    near(project)
    shown(project)
    nothing_is_copied(project)
    around_the_fence(project)
    mended(project)
    move(project, "switch")
    near(project)
    daemon = mapped_later(project, daemon)
    daemon = completed(project, daemon)
    daemon.stop()
    drop_application(project)


def on_source(project: Project, *statements: str) -> None:
    """As an administrator, whom no fence stops."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        conn.commit()


def on_target(project: Project, *statements: str) -> None:
    """As the application."""
    with as_role(project) as conn:
        conn.execute(f'SET search_path = "{project.source.name}"'.encode())
        for statement in statements:
            conn.execute(statement.encode())


def shown(project: Project) -> None:
    found = standing(project)
    assert found["state"] == "target-primary" and found["phase"] is None
    assert found["rollback_available"] is True, found
    assert found["way_back"]["slot_state"] == "reserved" and found["way_back"]["alarm"] is None
    assert found["way_back"]["retained_bytes"] > 0
    assert (found["fence"]["kind"], found["fence"]["stands"]) == ("revoke", True)
    assert found["next_steps"] == [
        "dbbridge cutover plan --reverse --group customer",
        "dbbridge cutover complete --group customer",
    ]
    text = project.run("cutover", "status").out
    assert "the way back is open" in text and "fence (revoke) stands" in text
    (group,) = project.status()["groups"]
    assert group["state"] == "target-primary" and group["rollback_available"] is True
    assert group["fence_violations"] == 0
    assert "target-primary, authority target" in project.run("status").out


def nothing_is_copied(project: Project) -> None:
    result = project.run("tables", "resync", "purchase", code=1)
    assert "refused: the target has authority over" in result.out
    plan = project.run("schema", "plan", "--format", "json").json
    assert plan["steps"] == []
    for phase in ("indexes", "constraints"):
        project.run("schema", "plan", "--phase", phase)


def around_the_fence(project: Project) -> None:
    on_source(
        project,
        "INSERT INTO purchase (id, customer, amount) VALUES (90001, 1, 1)",
        "UPDATE customer SET name = 'behind' WHERE id = 5",
        "DELETE FROM purchase WHERE id = 3",
    )
    project.wait_until(lambda: sum(standing(project)["fence_violations"].values()) == 3)
    told = project.ask("SELECT count(*) FROM dbbridge.events WHERE kind = 'fence-violation'")
    assert told == [(2,)]
    found = plan_of(project, "--reverse")
    assert found["refused_by"] == ["stream-errors"], found
    assert "refused by stream-errors" in move(project, "reverse", code=1).err
    found = standing(project)
    assert found["rollback_available"] is False and found["state"] == "target-primary"
    assert project.status()["groups"][0]["fence_violations"] == 3
    assert "3 changes went around the fence" in project.run("status").out
    result = project.run("repair", "apply", "--plan", "000000000000", code=None)
    assert result.code != 0 and "the target has authority over it" in result.out + result.err


def mended(project: Project) -> None:
    """What the target has goes to the source again when it is written again."""
    on_target(
        project,
        "UPDATE customer SET name = name WHERE id = 5",
        "UPDATE purchase SET note = note WHERE id = 3",
    )
    on_source(project, "DELETE FROM purchase WHERE id = 90001")
    project.wait_until(lambda: plan_of(project, "--reverse")["refused_by"] == [], 60)
    move(project, "reverse")
    assert_same(project.source, project.target, tables=TABLES)


def mapped_later(project: Project, daemon: Daemon) -> Daemon:
    """A table of the source that is mapped into the group is not copied, and that is said."""
    on_source(
        project,
        "CREATE TABLE late (id int PRIMARY KEY, text varchar(40))",
        "INSERT INTO late VALUES (1, 'a')",
    )
    project.init()
    path = project.mapping("late")
    alone = path.read_text()
    path.write_text(re.sub("^group: .*$", "group: customer", alone, flags=re.MULTILINE))
    project.apply_schema()
    daemon.stop()
    daemon = project.sync()
    asked = "SELECT message FROM dbbridge.events WHERE kind = 'not-copied'"
    project.wait_until(lambda: bool(project.ask(asked)), daemon=daemon)
    assert "no authority over group customer" in project.ask(asked)[0][0]
    near(project)
    assert set(project.stages()) == set(TABLES)
    path.write_text(alone)
    daemon.stop()
    daemon = project.sync()
    project.wait_until(lambda: project.stages().get("late") == "streaming", daemon=daemon)
    return daemon


def completed(project: Project, daemon: Daemon) -> Daemon:
    """Whoever else renames a table goes around the fence; the end itself does not."""
    on_source(project, "RENAME TABLE customer TO away", "RENAME TABLE away TO customer")
    around = {f"{project.source.name}.customer": 2}
    project.wait_until(lambda: violations(project) == around)
    of_group = ("--group", "customer")
    refused = project.run("cutover", "complete", *of_group, code=2)
    project.run("cutover", "complete", *of_group, "--plan", _hash(refused))
    (found,) = [g for g in groups(project) if g["group"] == "customer"]
    assert found["state"] == "completed"
    assert found["rollback_available"] is False and found["way_back"] is None
    query = "SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'"
    assert project.ask(query) == [(True,)]
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    assert project.ask(slots) == [(0,)]
    assert project.ask("SELECT count(*) FROM pg_publication") == [(0,)]
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE '%purchase'")
        assert cursor.fetchall() == (("_bridge_old_purchase",),)
    on_target(project, "INSERT INTO purchase (customer, amount) VALUES (1, 1)")
    result = project.run("cutover", "reverse", *of_group, "--plan", "0" * 12, code=1)
    assert "completed" in result.err, result
    daemon.stop()
    daemon = project.sync()
    on_source(project, "INSERT INTO late VALUES (2, 'b')")
    late = f'SELECT count(*) FROM "{project.source.name}".late'
    project.wait_until(lambda: project.ask(late) == [(2,)], daemon=daemon)
    assert violations(project) == around
    project.run("status")
    project.run("cutover", "status")
    return daemon


def violations(project: Project) -> Any:
    """What went around the group's fence, as far as the stream has read."""
    (found,) = [g for g in groups(project) if g["group"] == "customer"]
    return found["fence_violations"]


def groups(project: Project) -> Any:
    """All of `cutover status`."""
    return project.run("cutover", "status", "--format", "json").json["groups"]


def _hash(refused: Result) -> str:
    found = re.search(r"--plan ([0-9a-f]{12})", refused.err)
    assert found, refused
    return found[1]
