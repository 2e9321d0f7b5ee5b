"""`dbbridge init` between real servers."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from bridge.cli.context import Context
from bridge.errors import MappingError
from tests.integration.cli_runner import Folder, folder

__all__ = ["folder"]

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


def test_a_new_project(folder: Folder) -> None:
    folder.execute(TABLES)
    result = folder.run("init", *folder.urls)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[-1] == "next: dbbridge check"
    settings = Path("bridge.yaml").read_text()
    assert "${SOURCE_PW}" in settings
    assert "${TARGET_PW}" in settings
    files = Path("mappings") / folder.source.name
    assert sorted(path.name for path in files.iterdir()) == [
        "_defaults.yaml", "customers.yaml", "log.yaml", "orders.yaml",
    ]  # fmt: skip
    orders = folder.file("orders").read_text()
    assert "customer: bigint unsigned -> bigint" in orders
    assert "datetime not null -> timestamp(0) null, zero_date: as-null}  # D017 1 row" in orders
    assert "group: customers\n" in orders
    assert "on_ddl: stop\n" in orders
    assert "tinyint(1) -> boolean" in folder.file("customers").read_text()
    assert "key: []\n" in folder.file("log").read_text()


def test_the_same_source_gives_the_same_files(folder: Folder) -> None:
    folder.execute(TABLES)
    files = []
    for name in ("one", "two"):
        assert folder.run("init", *folder.urls, "--dir", name).code == 0
        files.append({p.name: p.read_bytes() for p in Path(name).glob("**/*.yaml")})
    assert files[0] == files[1]
    assert len(files[0]) == 5


def test_run_again_it_merges(folder: Folder) -> None:
    folder.execute(TABLES)
    folder.run("init", *folder.urls)
    folder.edit("orders", "group: customers", "group: mine # ask Ann")
    before = {p: p.read_bytes() for p in Path().glob("**/*.yaml")}
    assert folder.run("init").code == 0
    assert {p: p.read_bytes() for p in Path().glob("**/*.yaml")} == before
    folder.execute(
        "ALTER TABLE orders ADD COLUMN gift tinyint(1), DROP INDEX by_state;"
        "CREATE TABLE later (id int PRIMARY KEY); DROP TABLE log",
    )
    result = folder.run("init", *folder.urls, "--format", "json")
    assert result.code == 0
    said = {each["table"].split(".")[1]: each for each in result.json["tables"]}
    assert {name: each["outcome"] for name, each in said.items()} == {
        "customers": "kept", "orders": "updated", "later": "new", "log": "gone",
    }  # fmt: skip
    assert said["orders"]["added"] == ["column gift"]
    assert said["orders"]["open"] == ["index by_state is gone from the source: remove its name"]
    text = folder.file("orders").read_text()
    assert "group: mine # ask Ann\n" in text
    assert "  gift: tinyint(1) -> boolean" in text


def test_odd_names(folder: Folder) -> None:
    with closing(folder.source.connect()) as conn, conn.cursor() as cursor:
        for name in ODD:
            quoted = "`" + name.replace("`", "``") + "`"
            cursor.execute(f"CREATE TABLE {quoted} (id int PRIMARY KEY, {quoted} int)")
    result = folder.run("init", *folder.urls, "--format", "json")
    assert (result.code, result.err) == (0, "")
    assert len(result.json["tables"]) == len(ODD)
    assert "kept" in folder.run("init").out
    context = Context()
    with context.closing:
        plans = context.plans()
    assert sorted(name.table for name in plans) == sorted(ODD)
    for table, plan in plans.items():
        assert [c.source.name for c in plan.columns] == ["id", table.table]
        assert len(plan.target.table.encode()) <= 63
    assert len({plan.target for plan in plans.values()}) == len(ODD)


def test_a_plain_password_is_not_written(folder: Folder) -> None:
    folder.execute(TABLES)
    result = folder.run("init", "--source", folder.source.url, "--target", folder.target.url)
    assert result.code == 0
    assert "export LEGACY_PASSWORD=" in result.out
    assert "export MAIN_PASSWORD=" in result.out
    settings = Path("bridge.yaml").read_text()
    assert ":${LEGACY_PASSWORD}@" in settings
    assert f":{folder.source.server.password}@" not in settings
    assert f":{folder.target.server.password}@" not in settings
    again = folder.run("init")
    assert again.code == 2
    assert "_PASSWORD is not set" in again.error[0]


def test_a_password_from_a_file(folder: Folder) -> None:
    folder.execute(TABLES)
    (folder.path / "secret").write_text(folder.source.server.password + "\n")
    source = folder.source_url.replace("env:SOURCE_PW", "file:secret")
    urls = ["--source", source, "--target", folder.target_url]
    assert folder.run("init", *urls).code == 0
    assert "${file:secret}" in Path("bridge.yaml").read_text()
    assert folder.run("init", *urls, "--dir", "elsewhere").code == 0
    assert f"${{file:{folder.path}/secret}}" in Path("elsewhere/bridge.yaml").read_text()


def test_what_init_refuses(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = folder.source_url, folder.target_url

    def refused(code: int, said: str, *words: str) -> None:
        result = folder.run("init", *words)
        assert said in result.error[0]
        assert result.code == code
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
    refused(4, "refused user and password", *folder.urls)
    monkeypatch.setenv("SOURCE_PW", folder.source.server.password)
    refused(2, "there are no tables", *folder.urls)


def test_another_database_than_the_settings_name(folder: Folder) -> None:
    folder.execute(TABLES)
    folder.run("init", *folder.urls)
    result = folder.run("init", "--source", folder.source_url + "2")
    assert result.code == 2
    assert "bridge.yaml has another source" in result.error[0]


def test_wrong_edits_stop_init(folder: Folder) -> None:
    folder.execute(TABLES)
    folder.run("init", *folder.urls)
    folder.edit("orders", "group:", "gruop:")
    result = folder.run("init")
    assert result.code == 2
    error, hint = result.error
    assert error == f"{folder.file('orders')}:4: unknown key “gruop”"
    assert hint.startswith("did you mean “group”?")


def test_plans_need_the_definition_that_the_file_is_about(folder: Folder) -> None:
    folder.execute(TABLES)
    folder.run("init", *folder.urls)
    context = Context()
    with context.closing:
        assert len(context.plans()) == 3
        assert [str(name) for name in context.plans(["orders"])] == [f"{folder.source.name}.orders"]
        target = context.target()
        assert isinstance(target, psycopg.Connection)
        assert context.pipeline == folder.source.name
    folder.execute("ALTER TABLE orders ADD COLUMN x int")
    context = Context()
    with context.closing, pytest.raises(MappingError, match="changed since"):
        context.plans()
