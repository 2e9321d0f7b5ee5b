"""A wrong edit of a mapping file is refused with file, line and the nearest valid word."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError, MappingError
from bridge.mapping.model import POLICIES, Defaults, TableMapping, from_document, to_document
from bridge.mapping.read import read_defaults, read_mapping
from bridge.yamlfile import parse

FILE = """\
table: shop.orders -> sales.orders   # about 12 rows
fingerprint: "9c41f0e2"
group: checkout
key: [id]
where: tenant_id <> 0
copy: {lock: brief}
columns:
  id:      bigint unsigned -> bigint    # D011 fits
  shipped: {type: datetime not null -> timestamp null, zero_date: as-null}  # D017 3 rows
  card:    {type: varchar(32) -> text, mask: true, name: card_number}
  old:     {type: dropped, reason: nothing reads it}
  placed:
    type: datetime -> timestamptz
    zone: Europe/Berlin
    ambiguous: earlier
indexes: [by_state]
not_carried: {words: FULLTEXT}
"""


def read(text: str, defaults: Defaults | None = None) -> TableMapping:
    document = parse(text, Path("mappings/shop/orders.yaml"), texts_only=True)
    return read_mapping(document, defaults or Defaults())


def test_a_whole_file() -> None:
    mapping = read(FILE)
    assert str(mapping.target) == "sales.orders"
    assert (mapping.key, mapping.where, mapping.lock) == (("id",), "tenant_id <> 0", "brief")
    ident, shipped, card, old, placed = mapping.columns
    assert (ident.source_type, ident.target_type, ident.reason) == (
        "bigint unsigned", "bigint", "D011 fits",
    )  # fmt: skip
    assert (shipped.source_nullable, shipped.target_nullable) == (False, True)
    assert (shipped.policies, shipped.reason) == ({"zero_date": "as-null"}, "D017 3 rows")
    assert (card.mask, card.name) == (True, "card_number")
    assert (old.dropped, old.reason) == (True, "nothing reads it")
    assert (placed.zone, placed.policies) == ("Europe/Berlin", {"ambiguous": "earlier"})
    assert (mapping.indexes, mapping.not_carried) == (("by_state",), {"words": "FULLTEXT"})


def test_the_applied_version_is_the_same() -> None:
    mapping = read(FILE, Defaults(policies={"nul": "strip"}))
    assert from_document(to_document(mapping)) == mapping


def test_a_table_that_is_left_out() -> None:
    mapping = read("table: shop.log -> nothing\nreason: nobody needs it\n")
    assert (mapping.target, mapping.reason) == (None, "nobody needs it")


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "hint"),
    [
        ("group:", "gruop:", 3, "unknown key “gruop”", "did you mean “group”"),
        ("zero_date: as", "zero_dates: as", 9, "“zero_dates”", "did you mean “zero_date”"),
        ("as-null", "as-nul", 9, "“as-nul”", "did you mean “as-null”"),
        ("ambiguous: earlier", "ambiguous: maybe", 15, "“maybe”", "possible: quarantine"),
        ("lock: brief", "lock: long", 6, "“long”", "possible: brief"),
        ("lock: brief", "look: brief", 6, "“look”", "did you mean “lock”"),
        ("bigint unsigned -> bigint ", "bigint ", 8, "“bigint”", "int -> bigint"),
        ("shop.orders -> sales.orders", "shop.orders", 1, "does not name two", "quoted"),
        ("group: checkout", "group: null", 3, "YAML reads “null” as nothing", '"null"'),
        ("group: checkout", "group: 12", 3, "YAML reads “12” as a number", '"12"'),
        ("  old: ", "  null: ", 11, "YAML reads “null”", '"null"'),
        ("key: [id]", "key: id", 4, "key must be a list", "[a, b]"),
        ("mask: true", "mask: maybe", 10, "true or false", "mask: true"),
        ("group: checkout", "group: [a]", 3, "group must be a text", "quote"),
        ("  old: ", "  id: ", 11, "“id” stands here twice", "remove"),
        ("reason: nothing", "mask: true, reason: x", 11, "unknown key “mask”", "type, reason"),
        ("group: checkout", "on_ddl: follow", 3, "“follow”", "possible: stop"),
        ("indexes: [by_state]", "indexes: {a: b}", 16, "must be a list", "[a, b]"),
        ("type: datetime -> timestamptz", "name: x", 12, "has no type", "type"),
    ],
)
def test_wrong_edits(old: str, new: str, line: int, said: str, hint: str) -> None:
    assert old in FILE
    with pytest.raises(ConfigError) as caught:
        read(FILE.replace(old, new))
    error = caught.value
    assert error.message.startswith(f"mappings/shop/orders.yaml:{line}: "), error.message
    assert said in error.message
    assert hint in error.hint


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n", "columns: {}\n"])
def test_what_is_no_mapping(text: str) -> None:
    with pytest.raises(MappingError):
        read(text)


def test_the_manual_is_a_mapping_file() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text()
    mapping = read(manual.split("```yaml\n")[1].split("```")[0])
    assert [column.source for column in mapping.columns][-2:] == ["total", "blob_old"]
    assert all(f"`{name}`" in manual for name in (*POLICIES, "zone", "mask", "computed"))


def test_defaults() -> None:
    document = parse("on_ddl: stop\nnul: strip\n", Path("_defaults.yaml"), texts_only=True)
    assert read_defaults(document) == Defaults("stop", {"nul": "strip"})
    with pytest.raises(MappingError, match="null"):
        read_defaults(parse("null: strip\n", Path("_defaults.yaml")))
