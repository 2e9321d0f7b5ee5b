"""init run again adds what is new and keeps every byte that a person wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.errors import MappingError
from bridge.mapping.merge import Merged, merge
from bridge.mapping.model import Defaults
from bridge.mapping.propose import propose_table
from bridge.mapping.read import read_mapping
from bridge.mapping.write import write_mapping
from bridge.types.table import SourceTable
from bridge.yamlfile import parse
from tests.unit.mapping.samples import column, index, orders

BEFORE = orders()
AFTER = replace(
    orders(),
    fingerprint="11111111",
    columns=(*orders().columns, column("new col", "int")),
    indexes=(
        *orders().indexes,
        index("by_new", "new col"),
        index("geo", "new col", kind="SPATIAL"),
    ),
)
FILE = write_mapping(propose_table(BEFORE, ()))


def merged(text: str, now: SourceTable = AFTER) -> Merged:
    mapping = read_mapping(parse(text, Path("orders.yaml"), texts_only=True), Defaults())
    return merge(text, mapping, propose_table(now, ()), now)


def test_nothing_new_changes_nothing() -> None:
    assert merged(FILE, BEFORE) == Merged(FILE)


def test_new_columns_and_indexes_are_added() -> None:
    result = merged(FILE)
    assert result.added == ("column new col", "index by_new", "index geo")
    assert result.open == ()
    assert "  new col: int -> integer\n" in result.text
    assert "indexes: [by_state, code, words, by_new]\n" in result.text
    assert "not_carried:\n  geo: SPATIAL\n" in result.text
    assert 'fingerprint: "11111111"' in result.text
    assert merged(result.text) == Merged(result.text)


def test_edits_and_comments_are_kept() -> None:
    edited = FILE.replace(
        "  gift:     tinyint(1) -> smallint",
        "  # ask Ann\n  gift: tinyint(1)   ->   integer # mine",
    ).replace("group:", "# a note\ngroup:")
    edited += "# the end\n"
    result = merged(edited)
    for line in edited.splitlines():
        if not line.startswith(("fingerprint:", "indexes:")):
            assert line in result.text.splitlines()
    assert result.text.endswith("# the end\nnot_carried:\n  geo: SPATIAL\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("indexes: [by_state, code, words]",
         "indexes:\n  - by_state\n\n  # last\n  - code\n  - words"),
        ("indexes: [by_state, code, words]", "indexes:\n- by_state # a\n- code\n- words # b"),
        ("indexes: [by_state, code, words]", "indexes: [by_state, code, words,]"),
        ("indexes: [by_state, code, words]", "indexes: [\n  by_state, code,\n  words\n]"),
        ("indexes: [by_state, code, words]", "not_carried: {by_state: a, code: b, words: c}"),
        ("indexes: [by_state, code, words]",
         "not_carried:\n    by_state: a\n    code: >\n      long\n      text\n    words: c"),
        ("\n", "\r\n"),
    ],
)  # fmt: skip
def test_however_the_file_is_written(old: str, new: str) -> None:
    text = FILE.replace(old, new)
    result = merged(text)
    assert result.added == ("column new col", "index by_new", "index geo")
    assert merged(result.text) == Merged(result.text)
    assert ("\r\n" in result.text) == ("\r\n" in text)
    if "\r\n" in text:
        assert "\n" not in result.text.replace("\r\n", "")


def test_columns_in_braces_are_added_to() -> None:
    head, _, rest = FILE.partition("columns:\n")
    items = [line.split("  #")[0].strip() for line in rest.splitlines() if line.startswith("  ")]
    quoted = [f'{i.split(": ")[0]}: "{i.split(": ")[1].strip()}"' for i in items]
    text = f"{head}columns: {{{', '.join(quoted)}}}\n"
    result = merged(text)
    assert '"int -> integer"' in result.text or "int -> integer" in result.text
    assert merged(result.text).text == result.text


def test_a_long_list_is_written_as_a_block_and_added_to() -> None:
    many = replace(BEFORE, indexes=tuple(index(f"index_number_{i}", "id") for i in range(20)))
    text = write_mapping(propose_table(many, ()))
    assert "  - index_number_3\n" in text
    more = replace(many, indexes=(*many.indexes, index("one_more", "id")))
    assert "  - one_more\n" in merged(text, more).text


def test_what_a_person_must_settle_is_said() -> None:
    changed = [
        replace(c, column_type="int", data_type="int") if c.name == "gift" else c
        for c in AFTER.columns
        if c.name != "code"
    ]
    now = replace(AFTER, columns=tuple(changed), indexes=AFTER.indexes[:1], primary_key=("state",))
    result = merged(FILE, now)
    said = "; ".join(result.open)
    assert "column code is gone" in said
    assert "column gift was tinyint(1), now it is int" in said
    assert "index code is gone" in said
    assert "no key any more: write key: [state]" in said
    assert 'fingerprint: "9c41f0e2"' in result.text
    assert "  new col: int" in result.text


def test_a_table_that_is_left_out_stays_so() -> None:
    text = "table: shop.orders -> nothing\n"
    assert merged(text) == Merged(text)


def test_only_the_fingerprint() -> None:
    result = merged(FILE, replace(BEFORE, fingerprint="22222222"))
    assert result.text == FILE.replace("9c41f0e2", "22222222")
    assert result.added == ("the definition's fingerprint",)


def test_a_file_that_cannot_be_added_to_is_refused() -> None:
    text = FILE.replace("columns:", "columns: &all").replace("indexes:", "x: *all\nindexes:")
    with pytest.raises(MappingError):
        merged(text)
