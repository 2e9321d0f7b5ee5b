"""Names of Python for names of databases."""

from __future__ import annotations

import keyword

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase

from bridge.generate import names
from bridge.generate.names import Namer, attribute_name, class_name, member_names

WORDS = st.text(max_size=20)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("order_line", "OrderLine"),
        ("order-line", "OrderLine"),
        ("InvoiceLine", "InvoiceLine"),
        ("ORDERS", "ORDERS"),
        ("2fa", "T2fa"),
        ("_x", "X"),
        ("none", "None_"),
        ("base", "Base_"),
        ("warning", "Warning_"),
        ("größe", "Größe"),
        ("表", "表"),
        ("-", "T"),
    ],
)
def test_classes(name: str, expected: str) -> None:
    assert class_name(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CustomerId", "CustomerId"),
        ("order-line", "order_line"),
        ("2fa", "c_2fa"),
        ("_id", "c_id"),
        ("__", "c"),
        ("class", "class_"),
        ("match", "match"),
        ("metadata", "metadata_"),
        ("registry", "registry_"),
        ("json", "json_"),
        ("int", "int_"),
        ("dt", "dt_"),
        ("id", "id"),
        ("type", "type_"),
        ("ﬁsh", "fish"),
        ("Orders", "Orders_"),
    ],
)
def test_attributes(name: str, expected: str) -> None:
    assert attribute_name(name, {"Orders"}) == expected


@given(WORDS)
def test_any_name_becomes_one(name: str) -> None:
    for made in (class_name(name), attribute_name(name), *member_names([name])):
        assert made.isidentifier() and not keyword.iskeyword(made) and not made.startswith("_")


@given(st.lists(WORDS, max_size=6, unique=True))
def test_members_differ(labels: list[str]) -> None:
    assert len(set(member_names(labels))) == len(labels)


def test_labels() -> None:
    labels = ["new", "in stock", "5", "+", "New", "it's", ""]
    expected = ["NEW", "IN_STOCK", "LABEL_5", "LABEL_4", "NEW_2", "IT_S", "LABEL_7"]
    assert member_names(labels) == expected


def test_who_comes_first_keeps_the_name() -> None:
    namer = Namer()
    assert [namer.choose("a", "b_a") for _ in range(4)] == ["a", "b_a", "b_a_2", "b_a_3"]


def test_what_libraries_use_is_known() -> None:
    class Base(DeclarativeBase):
        pass

    public = {name for name in dir(pydantic.BaseModel) if not name.startswith("_")}
    assert public <= names.PYDANTIC
    assert {name for name in dir(Base) if not name.startswith("_")} == {"metadata", "registry"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("customer_id", "customer"),
        ("CustomerId", "customer"),
        ("SupportRepId", "support_rep"),
        ("ORDER_ID", "order"),
        ("customerID", "customer"),
        ("id", ""),
        ("paid", ""),
        ("boss", ""),
    ],
)
def test_columns_of_relations(name: str, expected: str) -> None:
    assert names.without_id(name) == expected


def test_long_names_end_in_a_hash() -> None:
    made = {names.short("x" * 70 + end) for end in ("", "a", "b")}
    assert {len(name) for name in made} == {63}
    assert len(made) == 3
