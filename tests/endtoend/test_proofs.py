"""Proofs that the log keeps up, certificates and why they are refused, runs that are resumed."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Daemon, Project
from tests.fix_servers import SourceDatabase, TargetDatabase

ROWS = 3000


@pytest.fixture
def following(
    source_db: SourceDatabase, target_db: TargetDatabase, new_project: NewProject
) -> Iterator[tuple[Project, Daemon]]:
    """Some tables that a running daemon follows."""
    project = new_project(source_db, target_db)
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE owner (id int PRIMARY KEY, v varchar(20))")
        cursor.execute(
            "CREATE TABLE pet (id int PRIMARY KEY, owner int, d date,"
            " FOREIGN KEY (owner) REFERENCES owner (id) ON DELETE CASCADE)"
        )
        cursor.execute("CREATE TABLE log (at int, text varchar(20))")
        numbers = ",".join(f"({n}, 'v{n % 17}')" for n in range(1, ROWS + 1))
        cursor.execute(f"INSERT INTO owner VALUES {numbers}")
        cursor.execute("INSERT INTO pet SELECT id, id, '2024-01-01' FROM owner")
        cursor.execute("INSERT INTO log SELECT id DIV 2, v FROM owner WHERE id < 200")
        conn.commit()
    project.init()
    project.consent_to_lock("log")
    project.apply_schema()
    daemon = project.sync()
    project.wait_streaming(daemon)
    yield project, daemon
    daemon.stop()


def verify(project: Project, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = project.run("verify", *words, "--format", "json", code=code).json
    return found


def run(project: Project, *statements: str) -> None:
    """On the source."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        conn.commit()


def codes(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["table"].partition(".")[2], each["code"]) for each in found["refusals"]}


def test_certificates(following: tuple[Project, Daemon]) -> None:
    project, _ = following
    found = verify(project, "--certify")
    assert found["refusals"] == []
    first = {one["group"]: one for one in found["certificates"]}
    tables = [table for one in first.values() for table in one["tables"]]
    rows = {table["table"].partition(".")[2]: table["rows"] for table in tables}
    assert rows == {"owner": ROWS, "pet": ROWS, "log": 199}
    assert all(len(table["digests"]) == 2 for table in tables)

    again = verify(project, "--certify")
    digests = [t["digests"] for one in again["certificates"] for t in one["tables"]]
    assert digests == [t["digests"] for one in found["certificates"] for t in one["tables"]]

    # What is asked about fewer tables than the group has is told by the others' older proofs;
    # one digest is none; rows that differ, a pause and another mapping refuse it.
    found = verify(project, "owner", "--level", "counts", "--certify", code=1)
    assert ("owner", "counts") in codes(found)
    with closing(project.target.connect()) as conn:
        schema = project.source.name
        conn.execute(f"UPDATE \"{schema}\".owner SET v = 'x' WHERE id = 7".encode())
    found = verify(project, "--certify", code=1)
    assert codes(found) == {("owner", "differences")}
    run(project, "UPDATE owner SET v = 'healed' WHERE id = 7")
    project.run("tables", "pause", "owner")
    path = project.mapping("pet")
    path.write_text(re.sub(r"(?m)^(  d: +)date -> date", r"\1date -> text", path.read_text()))
    found = verify(project, "--certify", code=3)
    assert {("owner", "paused"), ("pet", "paused")} & codes(found)
    assert ("pet", "mapping") in codes(found)


def test_what_changes_meanwhile_is_looked_at_again(
    following: tuple[Project, Daemon],
) -> None:
    project, daemon = following
    verify(project)
    run(
        project,
        "UPDATE owner SET v = CONCAT(v, '!') WHERE id <= 50",
        "DELETE FROM owner WHERE id BETWEEN 100 AND 120",
        "INSERT INTO owner VALUES (900001, 'new')",
        "DELETE FROM log WHERE at = 3 LIMIT 1",
        "INSERT INTO log VALUES (3, 'again')",
    )
    project.wait_until(
        lambda: not project.ask(f'SELECT FROM "{project.source.name}".pet WHERE id = 110'),
        daemon=daemon,
    )
    before = project.ask("SELECT position FROM dbbridge.proofs ORDER BY source_table")
    # One table alone is swept; the others' proofs stand where they were.
    verify(project, "log")
    after = project.ask("SELECT position FROM dbbridge.proofs ORDER BY source_table")
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True]


def test_an_interrupted_run_goes_on(following: tuple[Project, Daemon]) -> None:
    project, _ = following
    assert project.run("verify", "--resume", code=2).err.startswith("error: no verification was")
    with closing(project.target.connect()) as blocker:
        blocker.autocommit = False
        blocker.execute(f'LOCK TABLE "{project.source.name}".pet'.encode())
        process = project.start("verify")
        project.wait_until(lambda: _done(project) == {"log": True, "owner": True, "pet": False})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        # The same with no time to say goodbye: what was done is known all the same.
        process = project.start("verify", "--resume")
        project.wait_until(lambda: _workers(project) == 1)
        process.kill()
        process.wait()
        project.ask(
            "UPDATE dbbridge.verification_parts SET beat_at = beat_at - interval '1 minute'"
            " WHERE worker <> '' RETURNING 1"
        )
    found = verify(project, "--resume")
    assert {table["table"].partition(".")[2] for table in found["tables"]} == {
        "owner", "pet", "log",
    }  # fmt: skip
    assert project.ask("SELECT count(*) FROM dbbridge.verifications") == [(1,)]


def test_a_run_that_goes_on_is_about_the_tables_that_it_began_with(
    following: tuple[Project, Daemon],
) -> None:
    project, _ = following
    run(project, "CREATE TABLE later LIKE log")
    text = project.mapping("log").read_text()
    project.mapping("later").write_text(text.replace(".log", ".later"))

    def interrupted(*words: str) -> None:
        """With `pet` left to do."""
        with closing(project.target.connect()) as blocker:
            blocker.autocommit = False
            blocker.execute(f'LOCK TABLE "{project.source.name}".pet'.encode())
            process = project.start("verify", *words)
            project.wait_until(lambda: _taken(project, "pet"))
            others = {name for name in ("log", "owner") if name in words or not words}
            project.wait_until(lambda: all(_done(project).get(name) for name in others))
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 130

    interrupted()
    # A part of it may be had before the rest, which goes on.
    found = verify(project, "--resume", "owner")
    assert [table["table"].partition(".")[2] for table in found["tables"]] == ["owner"]
    found = verify(project, "--resume", code=3)
    verdicts = {t["table"].partition(".")[2]: t["verdict"] for t in found["tables"]}
    assert verdicts == {
        "owner": "match", "pet": "match", "log": "match", "later": "inconclusive",
    }  # fmt: skip
    assert project.run("verify", "--resume", code=2).err.startswith("error: no verification was")

    interrupted("pet")
    error, hint = project.run("verify", "--resume", "owner", code=2).err.splitlines()
    assert "of the verification that was interrupted" in error
    assert hint == f"hint: it is about {project.source.name}.pet"
    assert verify(project, "--resume")["verdict"] == "match"


def _workers(project: Project) -> int:
    (found,) = project.ask("SELECT count(*) FROM dbbridge.verification_parts WHERE worker <> ''")
    return int(found[0])


def _taken(project: Project, table: str) -> bool:
    """Whether the newest run is at this table; before it begins, a signal is no interruption."""
    return bool(
        project.ask(
            "SELECT FROM dbbridge.verification_parts WHERE source_table = %s AND worker <> ''"
            " AND verification = (SELECT max(id) FROM dbbridge.verifications)",
            table,
        )
    )


def _done(project: Project) -> dict[str, bool]:
    rows = project.ask(
        "SELECT source_table, done FROM dbbridge.verification_parts"
        " WHERE verification = (SELECT max(id) FROM dbbridge.verifications)"
    )
    return dict(rows)
