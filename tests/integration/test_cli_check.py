"""`dbbridge check` and `dbbridge explain` between real servers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing

import pytest
from psycopg import sql

from tests.integration.cli_runner import Folder, Result, folder

__all__ = ["folder"]

PASSWORD = "Few-rights-1"
TABLES = """
CREATE TABLE customers (
  id bigint unsigned AUTO_INCREMENT PRIMARY KEY, code varchar(20) NOT NULL UNIQUE,
  vip tinyint(1));
CREATE TABLE orders (
  id int PRIMARY KEY, customer bigint unsigned NOT NULL, shipped datetime NOT NULL,
  note text, KEY by_date (shipped), FOREIGN KEY (customer) REFERENCES customers (id));
INSERT INTO customers (code, vip) VALUES ('a', 1), ('b', 0);
INSERT INTO orders VALUES (1, 1, '0000-00-00', 'a'), (2, 2, '2024-02-29', 'b')"""


def codes(result: Result, *severities: str) -> set[tuple[str, str, str]]:
    """(code, table, column) of the findings of these severities; of all, if none is named."""
    return {
        (f["code"], f["table"].rpartition(".")[2], f["column"])
        for f in result.json["findings"]
        if not severities or f["severity"] in severities
    }


def test_what_init_proposes_passes(folder: Folder) -> None:
    folder.init(TABLES)
    result = folder.run("check")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[-1] == "next: dbbridge schema plan"
    assert "0 errors" in result.out
    as_json = folder.run("check", "--format", "json")
    assert (as_json.code, as_json.json["ok"]) == (0, True)
    assert codes(as_json, "error") == set()
    assert ("D017", "orders", "shipped") in codes(as_json, "info")
    assert ("D012", "customers", "vip") in codes(as_json, "info")
    assert not {code for code, _, _ in codes(as_json)} & {"T015", "T016"}
    assert (as_json.json["source"], as_json.json["target"]) == ([], [])


def test_rows_that_would_be_quarantined_are_a_warning(folder: Folder) -> None:
    folder.init(TABLES)
    folder.edit(
        "orders",
        "{type: datetime not null -> timestamp(0) null, zero_date: as-null}",
        "datetime -> timestamp(0)",
    )
    folder.execute("INSERT INTO customers (code, vip) VALUES ('c', 2)")
    result = folder.run("check", "--format", "json")
    assert result.code == 0
    assert {("D017", "orders", "shipped"), ("D012", "customers", "vip")} <= codes(result, "warning")


def test_mapping_and_source_must_fit(folder: Folder) -> None:
    folder.init(TABLES)
    folder.execute(
        "CREATE TABLE later (id int PRIMARY KEY); CREATE TABLE gone (id int PRIMARY KEY)"
    )
    folder.run("init")
    folder.file("later").unlink()
    folder.edit("customers", "bigint unsigned -> bigint", "bigint unsigned -> bigintt")
    folder.execute("DROP TABLE gone; ALTER TABLE orders ADD COLUMN x int")
    result = folder.run("check", "--format", "json")
    assert result.code == 1
    assert codes(result, "error") == {
        ("M002", "later", ""),
        ("M003", "gone", ""),
        ("M001", "customers", ""),
        ("M001", "orders", ""),
    }
    wrong = [f for f in result.json["findings"] if f["code"] == "M001"]
    assert "customers.yaml:8: column id" in wrong[0]["message"]
    assert "did you mean “bigint”" in wrong[0]["hint"]
    assert "changed since" in wrong[1]["message"]
    text = folder.run("check")
    assert text.code == 1
    assert text.out.splitlines()[-1] == "next: dbbridge check"


def test_a_file_that_cannot_be_read_is_an_error_of_its_own(folder: Folder) -> None:
    folder.init(TABLES)
    folder.edit("orders", "on_ddl:", "on_dll:")
    result = folder.run("check")
    assert result.code == 2
    error, hint = result.error
    assert "orders.yaml:6: unknown key “on_dll”" in error
    assert hint.startswith("did you mean “on_ddl”")


def test_decisions_settle_findings(folder: Folder) -> None:
    folder.execute("CREATE TABLE places (id int PRIMARY KEY, at geometry, num int, KEY (num))")
    folder.init()
    before = folder.run("check", "--format", "json")
    assert {("T003", "places", "at"), ("M001", "places", "")} <= codes(before, "error")
    folder.edit("places", "geometry -> undecided", "{type: dropped, reason: nobody reads it}")
    folder.edit("places", "indexes: [num]", "indexes: []")
    after = folder.run("check", "--format", "json")
    assert after.code == 0
    assert codes(after, "warning", "error") == {("M005", "places", "")}


def test_policies_that_make_values_equal(folder: Folder) -> None:
    folder.init(TABLES)
    old = "varchar(20) -> varchar(20)"
    folder.edit("customers", old, "{type: varchar(20) -> varchar(20), nul: strip}")
    result = folder.run("check", "--format", "json")
    assert codes(result, "error") == {("M004", "customers", "code")}


def test_a_table_without_a_key(folder: Folder) -> None:
    folder.init("CREATE TABLE log (what int)")
    result = folder.run("check", "--format", "json")
    expected = "error" if folder.source.server.kind == "mysql" else "warning"
    assert ("T001", "log", "") in codes(result, expected)
    folder.edit("log", "on_ddl: stop", "on_ddl: stop\ncopy: {lock: brief}")
    assert folder.run("check").code == 0


def test_a_table_in_the_way(folder: Folder) -> None:
    folder.init(TABLES)
    schema = sql.Identifier(folder.source.name)
    with folder.target.connect() as conn:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        conn.execute(sql.SQL("CREATE TABLE {}.orders (id uuid PRIMARY KEY)").format(schema))
    result = folder.run("check", "--format", "json")
    assert result.code == 1
    assert "T030" in {code for code, _, _ in codes(result, "error")}


@pytest.fixture
def few(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An account of one name on both sides that may only log in; settings name it."""
    folder.init(TABLES)
    name = f"few_{secrets.token_hex(5)}"
    role = sql.Identifier(name)
    with closing(folder.source.connect()) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{PASSWORD}'")
        with folder.target.connect() as there:
            there.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD))
            )
            path = folder.path / "bridge.yaml"
            text = path.read_text()
            for side in (folder.source, folder.target):
                text = text.replace(f"//{side.server.user}:", f"//{name}:")
            path.write_text(text)
            monkeypatch.setenv("SOURCE_PW", PASSWORD)
            monkeypatch.setenv("TARGET_PW", PASSWORD)
            yield name
            there.execute(sql.SQL("DROP OWNED BY {}").format(role))
            there.execute(sql.SQL("DROP ROLE {}").format(role))
        cursor.execute(f"DROP USER '{name}'@'%'")


def test_the_printed_grants_are_what_is_missing(few: str, folder: Folder) -> None:
    result = folder.run("check", "--format", "json")
    assert result.code == 1
    assert {code for code, _, _ in codes(result, "error")} == {"G001", "G002", "G003", "G010"}
    said = result.json
    assert len(said["source"]) == 3
    with closing(folder.source.connect()) as admin, admin.cursor() as cursor:
        for line in said["source"]:
            assert line in folder.run("check").out
            cursor.execute(line)
    with folder.target.connect() as there:
        for line in said["target"]:
            there.execute(line.encode())
    after = folder.run("check", "--format", "json")
    assert (after.code, after.json["source"], after.json["target"]) == (0, [], [])


def test_the_copy_needs_less(few: str, folder: Folder) -> None:
    result = folder.run("check", "--for", "copy", "--format", "json")
    assert {code for code, _, _ in codes(result, "error")} == {"G001", "G003", "G010"}
    usage = folder.run("check", "--for", "tea")
    assert usage.code == 2
    assert "copy" in usage.error[0]


def test_servers_that_are_not_there(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.init(TABLES)
    monkeypatch.setenv("SOURCE_PW", "wrong")
    refused = folder.run("check")
    assert refused.code == 4
    assert "refused user and password" in refused.error[0]
    monkeypatch.delenv("SOURCE_PW")
    missing = folder.run("check")
    assert missing.code == 2
    assert "SOURCE_PW is not set" in missing.error[0]


def test_explain_a_table(folder: Folder) -> None:
    folder.init(TABLES)
    result = folder.run("explain", "orders")
    assert (result.code, result.err) == (0, "")
    name = folder.source.name
    for said in (
        f"{name}.orders -> {name}.orders",
        "key: id",
        "group: customers",
        f"customer -> {name}.customers (id)",
        "zero_date: as-null",
        "D017 1 row",
        "indexes: by_date",
    ):
        assert said in result.out
    as_json = folder.run("explain", f"{name}.orders", "--format", "json").json
    assert as_json["mapping"]["key"] == ["id"]
    assert as_json["state"] == {}


def test_explain_a_table_that_does_not_compile(folder: Folder) -> None:
    folder.init("CREATE TABLE places (id int PRIMARY KEY, at geometry)")
    result = folder.run("explain", "places")
    assert result.code == 0
    assert "undecided" in result.out
    assert "M001" in result.out
    folder.file("places").write_text(f"table: {folder.source.name}.places -> nothing\n")
    assert "left out" in folder.run("explain", "places").out


def test_explain_codes(folder: Folder) -> None:
    for word in ("D017", "d017", "zero-date"):
        result = folder.run("explain", word)
        assert result.code == 0
        assert result.out.startswith("D017 zero-date (warning)\n")
    assert folder.run("explain", "M002", "--format", "json").json["slug"] == "not-mapped"
    unknown = folder.run("explain", "zero-dates")
    assert unknown.code == 2
    assert unknown.error[1] == "did you mean “zero-date”?"
