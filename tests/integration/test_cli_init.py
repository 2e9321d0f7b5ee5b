"""`dbbridge init` between real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bridge.cli import main as cli
from bridge.cli.context import Context
from tests.fix_servers import SourceDatabase, TargetDatabase

TABLES = """
CREATE TABLE customers (
  id bigint unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(50) NOT NULL, vip tinyint(1));
CREATE TABLE orders (
  id int PRIMARY KEY, customer bigint unsigned NOT NULL, state enum('new','paid') NOT NULL,
  shipped datetime NOT NULL, note text, KEY by_state (state),
  FOREIGN KEY (customer) REFERENCES customers (id));
CREATE TABLE log (what int);
INSERT INTO customers (name, vip) VALUES ('Ann', 1), ('Bob', 0);
INSERT INTO orders VALUES (1, 1, 'new', '0000-00-00', 'a'), (2, 2, 'paid', '2024-02-29', 'b')"""

ODD = ["it's", 'a"b', "a b", "a`b", "a%b", "a%sb", "x" * 64, "таблица", "表" * 30, "a.b", "null"]

Run = Callable[..., Any]


def execute(database: SourceDatabase, text: str) -> None:
    with closing(database.connect(init_command="SET sql_mode=''")) as conn:
        for statement in text.split(";"):
            conn.cursor().execute(statement)


@pytest.fixture
def urls(source_db: SourceDatabase, target_db: TargetDatabase) -> list[str]:
    """What init is told, passwords by variables."""
    source = source_db.url.replace(f":{source_db.server.password}@", ":env:SOURCE_PW@")
    target = target_db.url.replace(f":{target_db.server.password}@", ":env:TARGET_PW@")
    return ["--source", source, "--target", target]


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source_db: SourceDatabase,
    target_db: TargetDatabase,
) -> Run:
    """Runs a verb in a folder of its own; gives code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    monkeypatch.setenv("SOURCE_PW", source_db.server.password)
    monkeypatch.setenv("TARGET_PW", target_db.server.password)

    def verb(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return verb


def test_a_new_project(run: Run, urls: list[str], source_db: SourceDatabase) -> None:
    execute(source_db, TABLES)
    code, out, err = run("init", *urls)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "next: dbbridge check"
    settings = Path("bridge.yaml").read_text()
    assert "${SOURCE_PW}" in settings
    assert "${TARGET_PW}" in settings
    folder = Path("mappings") / source_db.name
    assert sorted(path.name for path in folder.iterdir()) == [
        "_defaults.yaml", "customers.yaml", "log.yaml", "orders.yaml",
    ]  # fmt: skip
    orders = (folder / "orders.yaml").read_text()
    assert "customer: bigint unsigned -> bigint" in orders
    assert "datetime not null -> timestamp(0) null, zero_date: as-null}  # D017 1 row" in orders
    assert "group: customers\n" in orders
    assert "on_ddl: stop\n" in orders
    assert "tinyint(1) -> boolean" in (folder / "customers.yaml").read_text()
    assert "key: []\n" in (folder / "log.yaml").read_text()


def test_the_same_source_gives_the_same_files(
    run: Run, urls: list[str], source_db: SourceDatabase
) -> None:
    execute(source_db, TABLES)
    files = []
    for folder in ("one", "two"):
        assert run("init", *urls, "--dir", folder)[0] == 0
        files.append({p.name: p.read_bytes() for p in Path(folder).glob("**/*.yaml")})
    assert files[0] == files[1]
    assert len(files[0]) == 5


def test_run_again_it_merges(run: Run, urls: list[str], source_db: SourceDatabase) -> None:
    execute(source_db, TABLES)
    run("init", *urls)
    path = Path("mappings") / source_db.name / "orders.yaml"
    edited = path.read_text().replace("group: customers", "group: mine # ask Ann")
    path.write_text(edited)
    before = {p: p.read_bytes() for p in Path().glob("**/*.yaml")}
    assert run("init")[0] == 0
    assert {p: p.read_bytes() for p in Path().glob("**/*.yaml")} == before
    execute(
        source_db,
        "ALTER TABLE orders ADD COLUMN gift tinyint(1), DROP INDEX by_state;"
        "CREATE TABLE later (id int PRIMARY KEY); DROP TABLE log",
    )
    code, out, _ = run("init", *urls, "--format", "json")
    assert code == 0
    said = {each["table"].split(".")[1]: each for each in json.loads(out)["tables"]}
    assert {name: each["outcome"] for name, each in said.items()} == {
        "customers": "kept", "orders": "updated", "later": "new", "log": "gone",
    }  # fmt: skip
    assert said["orders"]["added"] == ["column gift"]
    assert said["orders"]["open"] == ["index by_state is gone from the source: remove its name"]
    text = path.read_text()
    assert "group: mine # ask Ann\n" in text
    assert "  gift: tinyint(1) -> boolean" in text


def test_odd_names(run: Run, urls: list[str], source_db: SourceDatabase) -> None:
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        for name in ODD:
            quoted = "`" + name.replace("`", "``") + "`"
            cursor.execute(f"CREATE TABLE {quoted} (id int PRIMARY KEY, {quoted} int)")
    code, out, err = run("init", *urls, "--format", "json")
    assert (code, err) == (0, "")
    assert len(json.loads(out)["tables"]) == len(ODD)
    assert "kept" in run("init")[1]
    context = Context()
    with context.closing:
        plans = context.plans()
    assert sorted(name.table for name in plans) == sorted(ODD)
    for table, plan in plans.items():
        assert [c.source.name for c in plan.columns] == ["id", table.table]
        assert len(plan.target.table.encode()) <= 63
    assert len({plan.target for plan in plans.values()}) == len(ODD)


def test_a_plain_password_is_not_written(
    run: Run, source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    execute(source_db, TABLES)
    code, out, _ = run("init", "--source", source_db.url, "--target", target_db.url)
    assert code == 0
    assert "export LEGACY_PASSWORD=" in out
    assert "export MAIN_PASSWORD=" in out
    settings = Path("bridge.yaml").read_text()
    assert ":${LEGACY_PASSWORD}@" in settings
    assert f":{source_db.server.password}@" not in settings
    assert f":{target_db.server.password}@" not in settings
    code, _, err = run("init")
    assert (code, "LEGACY_PASSWORD is not set" in err) == (2, True)


def test_a_password_from_a_file(
    run: Run, urls: list[str], source_db: SourceDatabase, tmp_path: Path
) -> None:
    execute(source_db, TABLES)
    (tmp_path / "secret").write_text(source_db.server.password + "\n")
    urls[1] = urls[1].replace("env:SOURCE_PW", "file:secret")
    assert run("init", *urls)[0] == 0
    assert "${file:secret}" in Path("bridge.yaml").read_text()
    assert run("init", *urls, "--dir", "elsewhere")[0] == 0
    assert f"${{file:{tmp_path}/secret}}" in Path("elsewhere/bridge.yaml").read_text()


def test_what_init_refuses(
    run: Run,
    urls: list[str],
    source_db: SourceDatabase,
    target_db: TargetDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = urls[1], urls[3]

    def refused(code: int, said: str, *words: str) -> None:
        got, out, err = run("init", *words)
        assert (got, out) == (code, ""), err
        error, hint = err.splitlines()
        assert error.startswith("error: ")
        assert said in error
        assert hint.startswith("hint: ")
        assert not list(Path().glob("**/*.yaml"))

    refused(2, "--source is missing")
    refused(2, "--target is missing", "--source", source)
    refused(2, "is a postgresql URL", "--source", target, "--target", source)
    refused(2, "begins with mysql://", "--source", "db1/shop", "--target", target)
    refused(2, "names no database", "--source", source.rpartition("/")[0], "--target", target)
    refused(4, "Unknown database", "--source", source + "x", "--target", target)
    refused(4, "does not exist", "--source", source, "--target", target + "x")
    refused(2, "variable NOPE", "--source", source.replace("SOURCE_PW", "NOPE"), "--target", target)
    monkeypatch.setenv("SOURCE_PW", "wrong")
    refused(4, "refused user and password", *urls)
    monkeypatch.setenv("SOURCE_PW", source_db.server.password)
    code, _, err = run("init", *urls)
    assert code == 2
    assert "there are no tables" in err


def test_another_database_than_the_settings_name(
    run: Run, urls: list[str], source_db: SourceDatabase
) -> None:
    execute(source_db, TABLES)
    run("init", *urls)
    code, _, err = run("init", "--source", urls[1] + "2")
    assert code == 2
    assert "bridge.yaml has another source" in err


def test_wrong_edits_stop_init(run: Run, urls: list[str], source_db: SourceDatabase) -> None:
    execute(source_db, TABLES)
    run("init", *urls)
    path = Path("mappings") / source_db.name / "orders.yaml"
    path.write_text(path.read_text().replace("group:", "gruop:"))
    code, _, err = run("init")
    assert code == 2
    assert err.startswith(f"error: {path}:4: unknown key “gruop”\nhint: did you mean “group”?")


def test_plans_need_the_definition_that_the_file_is_about(
    run: Run, urls: list[str], source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    execute(source_db, TABLES)
    run("init", *urls)
    context = Context()
    with context.closing:
        assert len(context.plans()) == 3
        assert [str(name) for name in context.plans(["orders"])] == [f"{source_db.name}.orders"]
        target = context.target()
        assert isinstance(target, psycopg.Connection)
        assert context.pipeline == source_db.name
    execute(source_db, "ALTER TABLE orders ADD COLUMN x int")
    with context.closing, pytest.raises(Exception, match="changed since"):
        Context().plans()
