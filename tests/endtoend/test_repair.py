"""Differences that verify found are mended while the application writes the same tables."""

from __future__ import annotations

import random
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.endtoend import project as command
from tests.endtoend.compare import assert_same
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Daemon, Project
from tests.fix_servers import SourceDatabase, TargetDatabase

ROWS = 1400
CALM = 1000
"""The application leaves the rows behind it alone: they differ however late they are repaired."""
SMALL_PAGES = """
import bridge.verify.repair
import bridge.verify.recheck
from bridge.cli.main import main
bridge.verify.repair.ROWS_A_PAGE = 400
bridge.verify.recheck.PAUSE_SECONDS = (0.02, 0.05)
raise SystemExit(main())
"""
"""The command line, with batches so small that rows of one stand in the way of another's, and with
shorter pauses between the rounds of a recheck."""
TOKEN = "UNHEX(LEFT(SHA2(%s, 256), 32))"
TABLES = (
    "CREATE TABLE item (id int PRIMARY KEY, v varchar(40), secret varchar(40), at datetime(3))",
    """CREATE TABLE word (lang char(2), text varchar(30) COLLATE utf8mb4_bin, n int, doc json,
       PRIMARY KEY (lang, text))""",
    "CREATE TABLE token (id binary(16) PRIMARY KEY, v int)",
    "CREATE TABLE slot (id int PRIMARY KEY, place int, v int, UNIQUE (place))",
    "CREATE TABLE branch (id int PRIMARY KEY, v int)",
    """CREATE TABLE leaf (id int PRIMARY KEY, branch int, v int,
       FOREIGN KEY (branch) REFERENCES branch (id) ON DELETE CASCADE ON UPDATE CASCADE)""",
    "CREATE TABLE note (at int, text varchar(20))",
)


@pytest.fixture
def following(
    source_db: SourceDatabase, target_db: TargetDatabase, new_project: NewProject
) -> Iterator[tuple[Project, Daemon]]:
    """Tables with keys of several types that a running daemon follows."""
    project = new_project(source_db, target_db)
    numbers = range(1, ROWS + 1)
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES:
            cursor.execute(statement)
        values = [(n, f"v{n}\t'\\", f"hush{n}", "2024-02-29 12:00:00.125") for n in numbers]
        cursor.executemany("INSERT INTO item VALUES (%s, %s, %s, %s)", values)
        words = [("de", f"wört\t{n}", n, f'{{"n": {n}}}') for n in numbers]
        cursor.executemany("INSERT INTO word VALUES (%s, %s, %s, %s)", words)
        tokens = [(str(n), n) for n in numbers]
        cursor.executemany(f"INSERT INTO token VALUES ({TOKEN}, %s)", tokens)
        cursor.executemany("INSERT INTO slot VALUES (%s, %s, 0)", [(n, n) for n in numbers])
        cursor.executemany("INSERT INTO branch VALUES (%s, 0)", [(n,) for n in range(1, 51)])
        leaves = [(n, n % 50 + 1) for n in numbers]
        cursor.executemany("INSERT INTO leaf VALUES (%s, %s, 0)", leaves)
        cursor.execute("INSERT INTO note VALUES (1, 'a'), (1, 'a'), (2, 'b')")
        conn.commit()
    project.init()
    project.consent_to_lock("note")
    path = project.mapping("item")
    masked = r"\1{type: \2, mask: true}"
    path.write_text(re.sub(r"(?m)^(  secret: +)([^#\n]+?)\s*(#.*)?$", masked, path.read_text()))
    project.apply_schema()
    daemon = project.sync()
    project.wait_streaming(daemon)
    yield project, daemon
    if daemon.running:
        daemon.stop()


def damage(project: Project, *statements: str) -> int:
    """Changes the target behind the stream's back; how many rows."""
    rows = 0
    with closing(project.target.connect()) as conn:
        conn.execute(f'SET search_path TO "{project.source.name}"'.encode())
        for statement in statements:
            rows += conn.execute(statement.encode()).rowcount
    return rows


def verify(project: Project, *words: str, code: int = 0) -> Any:
    return project.run("verify", *words, "--format", "json", code=code).json


def apply(project: Project, *words: str, code: int = 0) -> dict[str, Any]:
    """What became of each table."""
    found = project.run("repair", "apply", *words, "--format", "json", code=code).json
    return {one["table"].partition(".")[2]: one for one in found["repaired"]}


def run(project: Project, *statements: str) -> None:
    """On the source."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        conn.commit()


@contextmanager
def written(project: Project) -> Iterator[None]:
    """The tables change all the time meanwhile, most of all in the rows that differ."""
    ending = threading.Event()
    failures: list[Exception] = []

    def write() -> None:
        chance = random.Random(7)
        try:
            with closing(project.source.connect(autocommit=True)) as conn:
                while not ending.wait(0.005):
                    _write(conn, chance)
        except Exception as error:  # noqa: BLE001 (raised below)
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    if failures:
        raise failures[0]


def _write(conn: Any, chance: random.Random) -> None:
    one = chance.randint(1, 150) if chance.random() < 0.5 else chance.randint(1, CALM)
    statements = (
        f"REPLACE INTO item VALUES ({one}, 'w{chance.random()}', 's', '2025-01-01')",
        f"DELETE FROM item WHERE id = {one}",
        f"UPDATE word SET n = n + 1, doc = '[{one}]' WHERE n % {ROWS} = {one}",
        f"UPDATE token SET v = -v WHERE id = {TOKEN % one}",
        f"UPDATE branch SET v = v + 1 WHERE id = {one % 50 + 1}",
        f"UPDATE slot SET v = v + 1 WHERE id = {one + 20}",
        f"UPDATE leaf SET v = v + 1 WHERE id = {one}",
    )
    with conn.cursor() as cursor:
        # The others seldom: a batch of theirs is only written between two changes.
        cursor.execute(chance.choice(statements[:5] * 16 + statements[5:]))


DAMAGE = (
    "DELETE FROM item WHERE id <= 40 OR id > 800",
    "UPDATE item SET v = 'spoilt' WHERE id BETWEEN 41 AND 70",
    "UPDATE item SET secret = 'known' WHERE id BETWEEN 71 AND 80",
    "INSERT INTO item SELECT 100000 + id, v, secret, at FROM item WHERE id BETWEEN 90 AND 120",
    "DELETE FROM word WHERE n BETWEEN 500 AND 509",
    "UPDATE word SET doc = '{\"n\": 0}' WHERE n BETWEEN 600 AND 604",
    "INSERT INTO word SELECT 'xx', text, n, doc FROM word WHERE n BETWEEN 700 AND 706",
    "DELETE FROM token WHERE v BETWEEN 1 AND 7 OR v = 1399",
    "UPDATE token SET v = 0 WHERE v BETWEEN 8 AND 20 OR v = 1400",
    "DELETE FROM slot WHERE id BETWEEN 1 AND 5",
    "UPDATE slot SET place = NULL WHERE id = 10",
    "UPDATE slot SET place = -place WHERE id BETWEEN 11 AND 700",
    "UPDATE slot SET place = -place - 1 WHERE id BETWEEN 11 AND 700",
    "INSERT INTO slot VALUES (900001, 1, 1), (900002, 2, 1)",
    "DELETE FROM leaf WHERE id BETWEEN 1 AND 5",
    "UPDATE leaf SET branch = NULL WHERE id BETWEEN 6 AND 9",
)


def test_repair_beside_the_application(
    following: tuple[Project, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = following
    monkeypatch.setattr(command, "COMMAND", (sys.executable, "-c", SMALL_PAGES))
    damaged = damage(project, *DAMAGE)
    found = verify(project, code=1)
    assert damaged // 2 < sum(table["differing"] for table in found["tables"]) <= damaged
    with written(project):
        planned = project.run("repair", "plan").out
        assert "hush" not in planned and "known" not in planned
        assert re.search(r"next: dbbridge repair apply --plan \w{12}$", planned.rstrip())
        (plan,) = re.findall(r"^plan (\w{12}):", planned, re.MULTILINE)
        done = apply(project, "--plan", plan)
        assert sum(one["differing"] + one["open"] for one in done.values()) == 0
        assert done["item"]["inserted"] >= ROWS - CALM
        assert done["item"]["deleted"] >= 31  # and what the writers deleted meanwhile
        assert done["token"]["inserted"] and done["token"]["replaced"]
        assert done["slot"]["inserted"] >= 5
        assert done["slot"]["replaced"] > 400  # more than a page; the writers heal some
        assert done["slot"]["deleted"] >= 2
    assert project.ask("SELECT count(*) FROM dbbridge.differences") == [(0,)]
    assert project.ask("SELECT count(*) FROM dbbridge.quarantine") == [(0,)]
    assert verify(project)["verdict"] == "match"
    assert_same(project.source, project.target)
    said = project.ask("SELECT subject FROM dbbridge.events WHERE kind = 'repaired'")
    assert {subject.partition(".")[2] for (subject,) in said} == done.keys()


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_what_cannot_be_repaired(following: tuple[Project, Daemon]) -> None:
    project, daemon = following
    name = project.source.name
    assert project.run("repair", "plan").out.startswith("nothing to do")
    damage(
        project,
        "DELETE FROM note WHERE at = 2",
        "DELETE FROM token WHERE v BETWEEN 1 AND 3",
        "UPDATE item SET v = 'x' WHERE id = 5",
        "ALTER TABLE token ADD CHECK (v <> 2) NOT VALID",
    )
    verify(project, code=1)
    plan = project.run("repair", "plan", code=1).out
    assert f"{name}.note is left alone" in plan
    assert f"dbbridge tables resync {name}.note" in plan
    # Rows that healed by themselves are only forgotten, those that the target refuses kept out.
    run(project, "UPDATE item SET v = 'healed' WHERE id = 5")
    healed = f'SELECT v FROM "{name}".item WHERE id = 5'
    project.wait_until(lambda: project.ask(healed) == [("healed",)], daemon=daemon)
    assert "nobody to ask" in project.run("repair", "apply", code=2).err
    assert project.run("repair", "apply", "--plan", "0" * 12, code=1).err.count("hint: ") == 1
    (hash_,) = re.findall(r"^plan (\w{12}):", plan, re.MULTILINE)
    done = apply(project, "--plan", hash_, code=1)
    assert done.keys() == {"item", "token"}
    assert (done["item"]["healed"], done["item"]["replaced"]) == (1, 0)
    assert (done["token"]["inserted"], done["token"]["quarantined"]) == (2, 1)
    known = "SELECT DISTINCT source_table FROM dbbridge.differences"
    assert project.ask(known) == [("note",)]
    # The daemon knows of the entry: the next good image of the row supersedes it.
    unanswered = "SELECT count(*) FROM dbbridge.requests WHERE done_at IS NULL"
    project.wait_until(lambda: project.ask(unanswered) == [(0,)], daemon=daemon)
    kept_out = "SELECT count(*) FROM dbbridge.quarantine"
    assert project.ask(kept_out) == [(1,)]
    run(project, "UPDATE token SET v = 22222 WHERE v = 2")
    project.wait_until(lambda: project.ask(kept_out) == [(0,)], daemon=daemon)

    # Another copy is another table: what is known of the old one says nothing.
    project.run("tables", "resync", "note")
    copied = "SELECT generation, stage FROM dbbridge.tables WHERE source_table = 'note'"
    project.wait_until(lambda: project.ask(copied) == [(2, "streaming")], daemon=daemon)
    plan = project.run("repair", "plan", "note", code=1).out
    assert plan.rstrip().endswith(f"next: dbbridge verify {name}.note")

    # Nobody applies what the source has now, so that nothing is known for sure.
    damage(project, "UPDATE word SET n = 0 WHERE n = 7")
    verify(project, "word", code=1)
    daemon.stop()
    run(project, "UPDATE item SET v = 'later' WHERE id = 6")
    plan = project.run("repair", "plan", "word", "--format", "json").json["plan"]
    done = apply(project, "word", "--plan", plan, code=3)
    assert (done["word"]["open"], done["word"]["hint"]) == (1, "dbbridge sync")
