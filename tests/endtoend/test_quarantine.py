"""Rows that the target cannot hold: set aside, healed, tried again, given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pymysql.cursors import Cursor

from tests.endtoend.compare import assert_same, compare
from tests.endtoend.project import Project
from tests.endtoend.said import refusal

ROWS = "(1,'a','2024-01-01'), (2,'b','2024-01-02'), (3,'c',NULL), (4,'d',NULL), (5,'e',NULL)"


@pytest.fixture
def cursor(project: Project) -> Iterator[Cursor]:
    """A session in the source that may write impossible dates, and a table with rows."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("CREATE TABLE parcel (id int PRIMARY KEY, note text, shipped datetime)")
        cursor.execute(f"INSERT INTO parcel VALUES {ROWS}")
        yield cursor


def verified(project: Project, verdict: str) -> Any:
    """What verify says of the table, which is this."""
    code = {"match": 0, "mismatch": 1, "inconclusive": 3}[verdict]
    found = project.run("verify", "--format", "json", code=code).json
    assert found["verdict"] == verdict
    (table,) = found["tables"]
    return table


def entries(project: Project) -> dict[str, Any]:
    """Each entry by its key."""
    listed = project.run("quarantine", "list", "--format", "json").json["entries"]
    return {entry["key"]: entry for entry in listed}


def keys(project: Project) -> list[int]:
    return [
        key for (key,) in project.ask(f"SELECT id FROM {project.source.name}.parcel ORDER BY 1")
    ]


def waiting(project: Project) -> int:
    return int(project.ask("SELECT count(*) FROM dbbridge.quarantine")[0][0])


def test_the_life_of_bad_rows(project: Project, cursor: Cursor) -> None:
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    cursor.execute("UPDATE parcel SET note = 'x\0y' WHERE id <= 3")
    cursor.execute("UPDATE parcel SET shipped = '0000-00-00' WHERE id = 4")
    cursor.execute("INSERT INTO parcel VALUES (6, '\0', NULL)")
    project.wait_until(lambda: waiting(project) == 5, daemon=daemon)
    assert keys(project) == [5], "a stale row stays in the target"
    assert project.table("parcel")["quarantined"] == 5
    found = entries(project)
    reasons = {key: (entry["code"], entry["column"]) for key, entry in found.items()}
    nul = ("nul-character", "note")
    assert reasons == {
        "1": nul, "2": nul, "3": nul, "4": ("zero-date", "shipped"), "6": nul,
    }  # fmt: skip
    number = {key: str(entry["id"]) for key, entry in found.items()}
    text = project.run("quarantine", "list").out.splitlines()
    assert [line.split()[0] for line in text[1:-1]] == sorted(number.values(), key=int)
    shown = project.run("quarantine", "show", number["4"]).out
    assert "zero-date" in shown
    assert "0000-00-00" in shown
    assert project.run("quarantine", "show", number["1"], "--format", "json").json == found["1"]
    kept_out = verified(project, "inconclusive")
    assert (kept_out["quarantined"], kept_out["differing"]) == (5, 0)

    # Later changes heal: a good image, and a delete. One that is bad again keeps its number.
    cursor.execute("UPDATE parcel SET note = 'fine' WHERE id = 1")
    cursor.execute("UPDATE parcel SET note = 'z\0' WHERE id = 2")
    cursor.execute("DELETE FROM parcel WHERE id = 6")
    project.wait_until(lambda: waiting(project) == 3, daemon=daemon)
    assert keys(project) == [1, 5]
    stays = project.run("quarantine", "retry", number["2"], code=1)
    assert f"entry {number['2']} stays: nul-character in note" in stays.out
    assert {key: str(entry["id"]) for key, entry in entries(project).items()} == {
        key: number[key] for key in ("2", "3", "4")
    }
    gone = refusal(project.run("quarantine", "retry", number["1"], code=2))
    assert gone.hint == "dbbridge quarantine list"

    # What an operator gives up is named by each later certificate.
    blank = refusal(project.run("quarantine", "discard", number["3"], "--reason", " ", code=2))
    assert "--reason" in blank.hint
    given_up = [number["2"], number["3"], number["4"]]
    project.run("quarantine", "discard", *given_up, "--reason", "test orders")
    judged = verified(project, "match")
    assert (judged["source_rows"], judged["target_rows"], judged["discarded"]) == (5, 2, 3)
    assert "test orders" in str(judged["equivalences"])
    # It is given up as it was; what it becomes is carried again.
    cursor.execute("UPDATE parcel SET note = 'mended' WHERE id = 3")
    project.wait_until(lambda: keys(project) == [1, 3, 5], daemon=daemon)
    _, differing = compare(project.source, project.target)
    assert [row[0] for row in differing[0].missing] == [2, 4]
    assert not differing[0].extra


def test_a_policy_takes_them_in(project: Project, cursor: Cursor) -> None:
    project.begin()
    cursor.execute("UPDATE parcel SET note = '\0n' WHERE id = 1")
    cursor.execute("UPDATE parcel SET shipped = '0000-00-00' WHERE id = 4")
    daemon = project.sync()
    project.wait_streaming(daemon)
    number = {key: str(entry["id"]) for key, entry in entries(project).items()}
    assert sorted(number) == ["1", "4"]
    path = project.mapping("parcel")
    text = path.read_text()
    strip = text.replace("text -> text", "{type: text -> text, nul: strip}")
    shipped = "{type: datetime -> timestamp(0), zero_date: as-null}"
    path.write_text(strip.replace("datetime -> timestamp(0)", shipped))
    assert path.read_text().count("{type") == 2
    said = project.run("quarantine", "retry", number["1"], code=1).out
    assert f"dbbridge tables resync {project.source.name}.parcel takes the edited mapping" in said
    project.run("tables", "resync", "parcel")
    project.wait_until(lambda: keys(project) == [1, 2, 3, 4, 5], daemon=daemon)
    project.wait_until(lambda: waiting(project) == 0, daemon=daemon)
    assert verified(project, "match")["quarantined"] == 0
    daemon.stop()
    cursor.execute("UPDATE parcel SET note = 'n' WHERE id = 1")  # as the policy made it
    project.catch_up()
    assert assert_same(project.source, project.target, zero_dates_as_null=True) == 5
