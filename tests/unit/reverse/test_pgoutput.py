"""Messages of pgoutput, built here from their description, and damaged ones."""

from __future__ import annotations

from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.reverse import pgoutput as pg

NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=9)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
TIMES = st.integers(-(2**63), 2**63 - 1)
VALUES = st.lists(st.none() | st.just(pg.UNCHANGED) | st.binary(max_size=300), max_size=6)
COLUMNS = st.tuples(NAMES, st.booleans(), U32, st.integers(-1, 2**31 - 1))


def text(name: str) -> bytes:
    return name.encode() + b"\0"


def row(values: pg.Values) -> bytes:
    def one(value: pg.Value) -> bytes:
        if value is None:
            return b"n"
        if value is pg.UNCHANGED:
            return b"u"
        assert isinstance(value, bytes)
        return b"t" + pack(">I", len(value)) + value

    return pack(">H", len(values)) + b"".join(map(one, values))


def encode(message: pg.Message) -> bytes:  # noqa: C901 (one case a kind)
    match message:
        case pg.Begin():
            return b"B" + pack(">QqI", *message)
        case pg.Commit(lsn, end, time):
            return b"C" + pack(">BQQq", 0, lsn, end, time)
        case pg.Insert(relation, new):
            return b"I" + pack(">I", relation) + b"N" + row(new)
        case pg.Update(relation, old, is_key, new):
            before = b"" if old is None else (b"K" if is_key else b"O") + row(old)
            return b"U" + pack(">I", relation) + before + b"N" + row(new)
        case pg.Delete(relation, old, is_key):
            return b"D" + pack(">I", relation) + (b"K" if is_key else b"O") + row(old)
        case pg.Truncate(relations, options):
            count = len(relations)
            return b"T" + pack(f">IB{count}I", count, options, *relations)
        case pg.Type(oid, schema, name):
            return b"Y" + pack(">I", oid) + text(schema) + text(name)
        case pg.Origin(lsn, name):
            return b"O" + pack(">Q", lsn) + text(name)
        case pg.Logical(transactional, lsn, prefix, content):
            head = pack(">BQ", transactional, lsn)
            return b"M" + head + text(prefix) + pack(">I", len(content)) + content
        case pg.Relation(oid, schema, table, identity, columns):
            head = pack(">I", oid) + text(schema) + text(table) + identity.encode()
            body = b"".join(
                pack(">B", c.key) + text(c.name) + pack(">Ii", c.type_oid, c.modifier)
                for c in columns
            )
            return b"R" + head + pack(">H", len(columns)) + body


def updates() -> st.SearchStrategy[pg.Update]:
    with_old = st.builds(pg.Update, U32, VALUES, st.booleans(), VALUES)
    return with_old | st.builds(pg.Update, U32, st.none(), st.just(False), VALUES)


SCHEMAS = NAMES.filter(bool)
MESSAGES = st.one_of(
    st.builds(pg.Begin, U64, TIMES, U32),
    st.builds(pg.Commit, U64, U64, TIMES),
    st.builds(pg.Insert, U32, VALUES),
    updates(),
    st.builds(pg.Delete, U32, VALUES, st.booleans()),
    st.builds(pg.Truncate, st.lists(U32, max_size=4).map(tuple), st.integers(0, 3)),
    st.builds(pg.Type, U32, SCHEMAS, NAMES),
    st.builds(pg.Origin, U64, NAMES),
    st.builds(pg.Logical, st.booleans(), U64, NAMES, st.binary(max_size=50)),
    st.builds(
        pg.Relation, U32, SCHEMAS, NAMES, st.sampled_from("dfin"),
        st.lists(COLUMNS.map(lambda c: pg.Column(*c)), max_size=4).map(tuple),
    ),
)  # fmt: skip


@given(MESSAGES, st.binary(max_size=30))
def test_each_message_is_read_as_it_was_written(message: pg.Message, before: bytes) -> None:
    assert pg.decode(before + encode(message), len(before)) == message


@given(MESSAGES, st.data())
def test_a_message_cut_off_is_never_taken_for_a_whole_one(
    message: pg.Message, data: st.DataObject
) -> None:
    whole = encode(message)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(pg.ProtocolError):
        pg.decode(cut)


@given(MESSAGES, st.binary(min_size=1, max_size=5))
def test_a_message_with_something_behind_it_is_damaged(message: pg.Message, more: bytes) -> None:
    with pytest.raises(pg.ProtocolError, match="damaged"):
        pg.decode(encode(message) + more)


@given(st.binary(max_size=100))
def test_noise_is_a_message_or_an_error_of_the_bridge(noise: bytes) -> None:
    with suppress(pg.ProtocolError):
        pg.decode(noise)


def test_the_error_names_what_is_wrong() -> None:
    with pytest.raises(pg.ProtocolError, match="unknown kind b'S'"):
        pg.decode(b"S\0\0\0\1")
    with pytest.raises(pg.ProtocolError, match="empty"):
        pg.decode(b"")
    with pytest.raises(pg.ProtocolError, match="unknown kind 'b'"):
        pg.decode(b"I" + pack(">I", 1) + b"N" + pack(">H", 1) + b"b\0\0\0\1x")
    with pytest.raises(pg.ProtocolError, match="kind I, 15 bytes, 4 bytes are missing"):
        pg.decode(b"I" + pack(">I", 1) + b"N" + pack(">H", 1) + b"t\0\0\0\6ab")


@given(U64)
def test_positions_print_as_the_server_prints_them(lsn: int) -> None:
    assert pg.parse_lsn(pg.format_lsn(lsn)) == lsn


def test_positions_compare_as_numbers() -> None:
    assert pg.parse_lsn("9/0") < pg.parse_lsn("10/0")
    assert pg.format_lsn(0x16B374D848) == "16/B374D848"
    with pytest.raises(ValueError, match="no position"):
        pg.parse_lsn("12")
