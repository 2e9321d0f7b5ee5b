"""Sakila and Chinook: whole schema and data, copied and streamed while random changes run on them.

The comparison is tests/endtoend/compare.py: plain SELECTs on both sides. The scripts lie beside the
checkout, in ../shared/data; where they are not, these tests are skipped, and say so.
"""

from __future__ import annotations

import re
from contextlib import closing

import pytest

from tests.acceptance.samples import Changes, load
from tests.endtoend.compare import assert_same
from tests.endtoend.project import CHECKOUT, Project

DATA = CHECKOUT.parent / "shared" / "data"
SAMPLES = {
    "chinook": ("chinook.sql",),
    "sakila": ("sakila-schema.sql", "sakila-data.sql"),
}
NOT_CARRIED = {"address": {"location"}}
"""Sakila's geometry (MySQL alone has it) has no equal; `init` asks for a decision about it."""
CHANGES = 400

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the sample databases are not there ({DATA}): nothing was accepted"
)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_arrives_whole_while_it_changes(project: Project, sample: str, seed: int) -> None:
    load(project.source, *(DATA / name for name in SAMPLES[sample]))
    project.init()
    _decide(project)
    project.apply_schema()
    with Changes(project.source, seed) as changes:
        daemon = project.sync()
        project.wait_streaming(daemon)
        enough = changes.done + CHANGES
        project.wait_until(lambda: changes.done >= enough, 150, daemon=daemon)
    daemon.stop()
    project.catch_up()
    left_out = NOT_CARRIED if sample == "sakila" else {}
    assert assert_same(project.source, project.target, left_out=left_out) > 10_000
    daemon = project.sync()
    project.wait_streaming(daemon)
    assert project.run("verify", "--format", "json").json["verdict"] == "match"
    _spoil(project, sample)
    found = project.run("verify", "--format", "json", code=1).json
    (table,) = [t for t in found["tables"] if t["verdict"] != "match"]
    (difference,) = table["differences"]
    assert difference["kind"] == "differs"
    assert [column["name"].lower() for column in difference["columns"]] == ["name"]
    daemon.stop()


def _decide(project: Project) -> None:
    """Drops the columns about which `init` could not decide."""
    for path in (project.folder / "mappings" / project.source.name).glob("*.yaml"):
        text = path.read_text()
        dropped = "{type: dropped, reason: no such type}"
        path.write_text(re.sub(r"(?m)^(  \w+: +)\S.*-> undecided.*$", rf"\1{dropped}", text))


def _spoil(project: Project, sample: str) -> None:
    """One value in the target that is not the source's."""
    table, column = ("Genre", "Name") if sample == "chinook" else ("category", "name")
    with closing(project.target.connect()) as conn:
        relation = f'"{project.source.name}"."{table}"'
        conn.execute(
            f"UPDATE {relation} SET \"{column}\" = 'spoilt' WHERE ctid ="
            f" (SELECT ctid FROM {relation} LIMIT 1)".encode()
        )
