"""`dbbridge generate`: which files it writes, which it leaves alone, and what --check sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.generate.package import FILES, MARKER
from tests.integration.cli_runner import Folder, folder

__all__ = ["folder"]

TABLES = """
CREATE TABLE customers (id int AUTO_INCREMENT PRIMARY KEY, name varchar(50) NOT NULL);
CREATE TABLE orders (
  id int PRIMARY KEY, customer_id int NOT NULL, gone int NOT NULL, note text,
  CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id));
CREATE TABLE log (what int)"""

MODELS = Path("models")

pytestmark = pytest.mark.parametrize("source", ["mariadb"], indirect=True)


def texts() -> dict[str, bytes]:
    return {name: (MODELS / name).read_bytes() for name in FILES}


@pytest.fixture(autouse=True)
def written(folder: Folder) -> None:
    folder.init(TABLES)
    result = folder.run("generate")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("  written\n") == len(FILES)
    assert "log has no key: Log is a Table, not a class" in result.out
    assert result.out.endswith("next: dbbridge generate --check\n")


def test_the_same_mapping_gives_the_same_bytes(folder: Folder) -> None:
    before = texts()
    assert all(text.decode().splitlines()[0] == MARKER for text in before.values())
    found = folder.run("generate", "--format", "json").json
    assert {each["outcome"] for each in found["files"]} == {"unchanged"}
    assert texts() == before
    for name, text in before.items():  # as a checkout on Windows has them
        (MODELS / name).write_bytes(text.replace(b"\n", b"\r\n"))
    assert folder.run("generate", "--check").code == 0
    assert folder.run("generate", "--dir", "elsewhere").code == 0
    assert {n: (Path("elsewhere") / n).read_bytes() for n in FILES} == before


def test_check_needs_no_database(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_PW")
    monkeypatch.delenv("TARGET_PW")
    result = folder.run("generate", "--check")
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("next: dbbridge status\n")
    folder.edit("orders", "group: ", "group: other # ")
    folder.edit("orders", "  note: ", "  # why\n  note: ")
    assert folder.run("generate", "--check").code == 0, "neither says anything of the models"
    folder.edit("orders", "gone: ", "gone: {type: dropped, reason: unread} # ")
    before = texts()
    result = folder.run("generate", "--check")
    assert result.code == 1
    assert result.out.count("differs: was written for another mapping") == len(FILES)
    assert result.out.endswith("next: dbbridge generate\n")
    assert texts() == before


def test_what_is_left_out_is_told(folder: Folder) -> None:
    folder.edit("orders", "gone: ", "gone: {type: dropped, reason: unread} # ")
    notes = folder.run("generate", "--format", "json").json["notes"]
    assert any("orders.gone is left out, but the source wants a value" in note for note in notes)
    assert folder.run("generate", "--check").code == 0
    assert b"gone" not in b"".join(texts().values())


def test_edited_and_missing_files_differ(folder: Folder) -> None:
    path = MODELS / "target" / "tables.py"
    path.write_text(path.read_text().replace("TEXT", "CITEXT"))
    (MODELS / "legacy" / "__init__.py").unlink()
    found = folder.run("generate", "--check", "--format", "json")
    assert found.code == 1
    differing = {e["file"]: e["why"] for e in found.json["files"] if e["outcome"] == "differs"}
    assert differing == {str(path): "was edited", "models/legacy/__init__.py": "is missing"}
    assert folder.run("generate").code == 0
    assert folder.run("generate", "--check").code == 0


def test_files_of_others_are_left_alone(folder: Folder) -> None:
    own = MODELS / "__init__.py"
    own.write_text("")
    assert folder.run("generate").code == 0
    assert folder.run("generate", "--check").code == 0
    assert own.read_text() == ""
    other = MODELS / "target" / "schemas.py"
    other.write_text("x = 1\n")
    (MODELS / "legacy" / "tables.py").unlink()
    result = folder.run("generate")
    assert result.code == 2
    assert result.error[0].startswith(f"{other} was not written by dbbridge generate")
    assert "--dir" in result.error[1]
    assert other.read_text() == "x = 1\n"
    assert not (MODELS / "legacy" / "tables.py").exists()
    assert "was not written by dbbridge generate" in folder.run("generate", "--check").out
