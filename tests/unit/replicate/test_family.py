"""Which tables move together, and what a parent's change can reach."""

from __future__ import annotations

from dataclasses import replace

from bridge.names import TableName
from bridge.replicate.family import families, parent_roles
from bridge.types.table import Action, ForeignKey, SourceTable
from tests.plans import plan


def table(
    name: str,
    *parents: str,
    on_delete: Action = "CASCADE",
    on_update: Action = "NO ACTION",
) -> SourceTable:
    keys = [
        ForeignKey(f"to_{p}", ("ref",), TableName("s", p), ("id",), on_delete, on_update)
        for p in parents
    ]
    return plan(name, [("id", "integer"), ("ref", "integer")], foreign_keys=keys).table


def test_cascades_make_families_and_plain_references_do_not() -> None:
    tables = [
        table("a"),
        table("b", "a"),
        table("c", "b", on_delete="SET NULL"),
        table("d", "a", on_delete="RESTRICT"),
        table("e", "d", on_delete="NO ACTION", on_update="CASCADE"),
        table("f", "elsewhere"),
    ]
    found = families(tables)
    names = {name.table: {member.table for member in members} for name, members in found.items()}
    assert names == {
        "a": {"a", "b", "c"},
        "b": {"a", "b", "c"},
        "c": {"a", "b", "c"},
        "d": {"d", "e"},
        "e": {"d", "e"},
        "f": {"f"},
    }


def test_one_level_of_deletes_may_pass_over_a_copy_and_deeper_ones_may_not() -> None:
    flat = parent_roles([table("a"), table("b", "a")])[TableName("s", "a")]
    assert not flat.harms_copy(deleted=True)
    assert flat.descendants == {TableName("s", "b")}
    deep = parent_roles([table("a"), table("b", "a"), table("c", "b")])[TableName("s", "a")]
    assert deep.harms_copy(deleted=True)
    assert {name.table for name in deep.descendants} == {"b", "c"}
    itself = parent_roles([table("a", "a")])[TableName("s", "a")]
    assert itself.harms_copy(deleted=True)


def test_moved_keys_harm_a_copy_and_nulled_ones_do_not() -> None:
    moved = parent_roles([table("a"), table("b", "a", on_update="CASCADE")])[TableName("s", "a")]
    assert moved.on_update
    assert moved.harms_copy(deleted=False)
    nulled = parent_roles([table("a"), table("b", "a", on_update="SET NULL")])[TableName("s", "a")]
    assert nulled.on_update
    assert not nulled.harms_copy(deleted=False)


def test_what_a_restricting_key_forbids_goes_nowhere() -> None:
    """Sakila's keys: a parent may be deleted only if nobody refers to it."""
    tables = [
        table("a"),
        table("b", "a", on_delete="RESTRICT", on_update="CASCADE"),
        table("c", "b", on_delete="RESTRICT", on_update="CASCADE"),
    ]
    role = parent_roles(tables)[TableName("s", "a")]
    assert (role.on_delete, role.on_update, role.harms_copy(deleted=True)) == (False, True, False)
    assert role.harms_copy(deleted=False)


def test_a_delete_goes_on_through_columns_that_become_null() -> None:
    nulled = table("b", "a", on_delete="SET NULL")
    deletes_only = parent_roles([table("a"), nulled, table("c", "b")])[TableName("s", "a")]
    assert not deletes_only.deep_delete
    (key,) = nulled.foreign_keys
    follower = table("c", "b", on_delete="RESTRICT", on_update="CASCADE")
    (theirs,) = follower.foreign_keys
    follows = replace(follower, foreign_keys=(replace(theirs, parent_columns=key.columns),))
    assert parent_roles([table("a"), nulled, follows])[TableName("s", "a")].deep_delete
