"""`dbbridge schema plan|apply` from the command line to the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import Cursor

from bridge.cli.main import main


@pytest.fixture
def settings(source_db: Any, target_db: Any, tmp_path: Path) -> Path:
    statement = (
        "CREATE TABLE orders (id int PRIMARY KEY AUTO_INCREMENT, state enum('new','paid') NOT NULL,"
        " due datetime DEFAULT '0000-00-00', n int, KEY state (state), CONSTRAINT c CHECK (n > 0))"
    )
    with source_db.connect() as conn, conn.cursor(Cursor) as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(statement)
    words = ["init", "--source", source_db.url, "--target", target_db.url, "--dir", str(tmp_path)]
    assert main(words) == 0
    return tmp_path / "bridge.yaml"


@pytest.fixture
def run(
    settings: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    source_db: Any,
    target_db: Any,
) -> Any:
    monkeypatch.setenv("LEGACY_PASSWORD", source_db.server.password)
    monkeypatch.setenv("MAIN_PASSWORD", target_db.server.password)
    capsys.readouterr()

    def call(*words: str, code: int = 0) -> str:
        found = main(["schema", *words, "-c", str(settings)])
        said = capsys.readouterr()
        assert found == code, said
        call.err = said.err  # type: ignore[attr-defined]
        return said.out

    return call


def test_plan_then_apply_then_nothing(run: Any, source_db: Any, target_db: Any) -> None:
    document = json.loads(run("plan", "--format", "json"))
    names = [step["name"] for step in document["steps"]]
    assert names == [f"schema {source_db.name}", f"table {source_db.name}.orders"]
    assert [row["code"] for row in document["not_carried"]] == ["T019"]
    text = run("plan")
    assert f'CREATE TABLE "{source_db.name}"."orders"' in text
    assert text.endswith(f"next: dbbridge schema apply --plan {document['plan']}\n")
    with target_db.connect() as conn:
        assert conn.execute("SELECT to_regnamespace(%s)", (source_db.name,)).fetchone() == (None,)
    assert run("apply", "--plan", document["plan"]).endswith("2 steps done\nnext: dbbridge sync\n")
    assert run("apply", "--plan", document["plan"]).startswith("nothing to do")
    assert run("apply").startswith("nothing to do")
    assert json.loads(run("plan", "--format", "json"))["steps"] == []


def test_a_plan_that_nobody_agreed_to_is_not_applied(run: Any) -> None:
    run("apply", code=2)
    assert "--plan" in run.err
    run("apply", "--plan", "000000000000", code=1)
    assert "schema plan" in run.err


def test_another_table_in_the_target_is_a_finding(run: Any, source_db: Any, target_db: Any) -> None:
    with target_db.connect() as conn:
        conn.execute(f"CREATE SCHEMA {source_db.name}")
        conn.execute(f"CREATE TABLE {source_db.name}.orders (id text PRIMARY KEY)")
    assert "T030" in run("plan", code=1)
    assert "error: " in run.err
    findings = json.loads(run("plan", "--format", "json", code=1))["findings"]
    assert {one["column"] for one in findings} == {"id", "state", "due", "n"}


def test_indexes_wait_for_the_copy(run: Any) -> None:
    run("apply", "--plan", json.loads(run("plan", "--format", "json"))["plan"])
    document = json.loads(run("plan", "--phase", "indexes", "--format", "json"))
    assert [step["name"] for step in document["steps"]] == ["index orders_state"]
    run("apply", "--phase", "indexes", "--plan", document["plan"], code=1)
    assert "not copied yet" in run.err


def test_constraints(run: Any) -> None:
    run("apply", "--plan", json.loads(run("plan", "--format", "json"))["plan"])
    plan = json.loads(run("plan", "--phase", "constraints", "--format", "json"))["plan"]
    assert "2 steps done" in run("apply", "--phase", "constraints", "--plan", plan)
