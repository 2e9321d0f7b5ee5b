"""Change events of a table on their way to COPY lines."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from bridge.capture.debezium import rows as rows_module
from bridge.capture.debezium.rows import EventDecoder, compile_events
from bridge.change.batch import BadRow, Image
from bridge.errors import TableStopped
from bridge.types.events import EventSettings
from tests.unit.capture.debezium.samples import (
    AT,
    GTID,
    PLACE,
    encoded,
    event,
    schema,
    table,
)

SPECS = [
    ("a", "int NOT NULL", "integer"),
    ("b", "varchar(20) NOT NULL", "varchar(20)"),
    ("n", "int", "smallint"),
    ("t", "text", "text"),
    ("z", "blob", "bytea"),
    ("unused", "int", "integer"),
]
OFF = EventSettings(decimal="string", schemas=False)
ON = EventSettings(decimal="string", schemas=True)
Rows = dict[bytes, Image | None]


def made(settings: EventSettings = OFF, key: int = 2, **more: Any) -> EventDecoder:
    return compile_events(table(SPECS, key, dropped=["unused"], **more), settings)


def row(a: Any = 1, b: Any = "x", n: Any = 2, t: Any = "text", z: Any = "AP8=") -> dict[str, Any]:
    return {"a": a, "b": b, "n": n, "t": t, "z": z, "unused": 9}


def applied(message: Any, decoder: EventDecoder | None = None, rows: Rows | None = None) -> Rows:
    rows = {} if rows is None else rows
    (decoder or made()).apply(encoded(message), rows, PLACE)
    return rows


LINE = b"1\tx\t2\ttext\t\\\\x00FF"


@pytest.mark.parametrize("op", ["c", "r"])
def test_new_rows(op: str) -> None:
    assert applied(event(op, None, row())) == {b"1\tx": LINE}
    nothing = applied(event(op, None, row(n=None, t=None, z=None)))
    assert nothing == {b"1\tx": b"1\tx\t\\N\t\\N\t\\N"}


def test_updates_and_deletes() -> None:
    rows = applied(event("u", row(n=1), row()))
    assert rows == {b"1\tx": LINE}
    assert applied(event("d", row(), None), rows=rows) == {b"1\tx": None}


def test_an_update_that_changes_the_key() -> None:
    """Debezium splits one of the primary key; a key of the mapping's own may change so."""
    rows = applied(event("u", row(a=7), row()))
    assert rows == {b"7\tx": None, b"1\tx": LINE}


def test_what_is_told_besides() -> None:
    message = event("c", None, row())
    message["transaction"] = {"id": GTID, "total_order": 2, "data_collection_order": 1}
    told = made().apply(encoded(message), {}, PLACE)
    assert (told.op, told.source.gtid, told.source.pos, told.source.file) == (
        "c", GTID, 484, "binlog.000003",
    )  # fmt: skip
    assert told.transaction is not None
    assert told.transaction.total_order == 2


def test_a_truncation_is_the_callers() -> None:
    rows: Rows = {b"1\tx": LINE}
    told = made().apply(encoded(event("t", None, None)), rows, PLACE)
    assert told.op == "t"
    assert rows == {b"1\tx": LINE}


def test_characters_that_copy_escapes() -> None:
    rows = applied(event("c", None, row(b="\t\\", t='a\nb\r"')))
    assert rows == {b"1\t\\t\\\\": b'1\t\\t\\\\\t2\ta\\nb\\r"\t\\\\x00FF'}
    old = applied(event("d", row(b="\t\\"), None))
    assert list(old) == list(rows)


def test_pairs_for_tables_without_a_key() -> None:
    decoder = made(key=0)
    message = event("u", row(n=None), row(t="\\"))
    told, before, after = decoder.pair(encoded(message), PLACE)
    assert told.op == "u"
    assert (before, after) == (b"1\tx\t\\N\ttext\t\\\\x00FF", b"1\tx\t2\t\\\\\t\\\\x00FF")
    assert decoder.pair(encoded(event("d", row(), None)), PLACE)[1:] == (LINE, None)
    assert decoder.pair(encoded(event("c", None, row())), PLACE)[1:] == (None, LINE)
    assert decoder.pair(encoded(event("t", None, None)), PLACE)[1:] == (None, None)
    _, before, after = decoder.pair(encoded(event("u", row(n=70000), row())), PLACE)
    assert isinstance(before, BadRow)
    assert after == LINE


# -- rows that the target cannot hold ----------------------------------------------------------


def bad(message: Any, **more: Any) -> BadRow:
    (image,) = applied(message, made(**more)).values()
    assert isinstance(image, BadRow)
    assert (image.key, image.at) == (b"1\tx", AT)
    assert image.raw == encoded(message)
    return image


def test_a_bad_value_sets_the_row_aside() -> None:
    image = bad(event("c", None, row(n=70000)))
    assert (image.code, image.column, image.text) == ("out-of-range", "n", "70000")
    assert bad(event("u", row(), row(t="\0"))).code == "nul-character"


def test_null_where_the_source_has_none() -> None:
    specs = [("a", "int NOT NULL", "integer"), ("n", "int NOT NULL", "integer")]
    decoder = compile_events(table(specs), OFF)
    (image,) = applied(event("c", None, {"a": 1, "n": None}), decoder).values()
    assert isinstance(image, BadRow)
    assert (image.code, image.column) == ("null", "n")


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ({"t": OFF.placeholder}, "t"),
        ({"z": b64encode(OFF.placeholder.encode()).decode()}, "z"),
        ({"n": OFF.placeholder}, "n"),
    ],
)
def test_unavailable_values(values: dict[str, Any], column: str) -> None:
    image = bad(event("u", row(), row(**values)))
    assert (image.code, image.column) == ("unavailable-value", column)


@pytest.mark.parametrize("mode", ["hex", "base64-url-safe"])
def test_unavailable_values_in_other_forms(mode: Any) -> None:
    decoder = made(EventSettings(binary=mode, schemas=False))
    raw = OFF.placeholder.encode()
    sent = raw.hex() if mode == "hex" else b64encode(raw).decode()
    (image,) = applied(event("u", row(z=""), row(z=sent)), decoder).values()
    assert isinstance(image, BadRow)
    assert image.code == "unavailable-value"


def test_a_placeholder_of_the_users_own() -> None:
    settings = EventSettings(placeholder='no "value"', schemas=False)
    (image,) = applied(event("u", row(), row(t='no "value"')), made(settings)).values()
    assert isinstance(image, BadRow)


def test_a_huge_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "ROW_LIMIT", 1000)
    (image,) = applied(event("c", None, row(t="x" * 1000))).values()
    assert isinstance(image, BadRow)
    assert (image.code, image.raw) == ("row-too-large", b"")


# -- what stops the table ----------------------------------------------------------------------


def stopped(message: Any, decoder: EventDecoder | None = None) -> TableStopped:
    with pytest.raises(TableStopped) as caught:
        applied(message, decoder)
    assert caught.value.hint
    return caught.value


def test_bad_keys() -> None:
    for message in (
        event("c", None, row(b="\0")),
        event("d", row(b="\0"), None),
        event("c", None, row(a=None)),
    ):
        error = stopped(message)
        assert error.code == "bad-key"
        assert AT in error.message


@pytest.mark.parametrize(
    "message",
    [
        event("c", None, {**row(), "new": 1}),
        event("c", None, {name: value for name, value in row().items() if name != "t"}),
        event("d", {"b": "x"}, None),
    ],
)
def test_other_columns(message: Any) -> None:
    assert stopped(message).code == "definition-changed"


def test_a_column_that_is_not_carried_may_be_missing() -> None:
    after = {name: value for name, value in row().items() if name != "unused"}
    assert applied(event("c", None, after)) == {b"1\tx": LINE}


@pytest.mark.parametrize(
    "values", [{"n": "text"}, {"n": 1.5}, {"n": True}, {"t": 1}, {"z": "no base64!"}, {"t": {}}]
)
def test_values_of_another_type(values: dict[str, Any]) -> None:
    error = stopped(event("c", None, row(**values)))
    assert error.code == "undecodable"
    assert AT in error.message


@pytest.mark.parametrize(
    "message", [event("u", None, row()), event("d", None, None), event("c", None, None)]
)
def test_events_without_a_row(message: Any) -> None:
    assert stopped(message).code == "partial-image"


@pytest.mark.parametrize(
    "message",
    [
        {"ts_ms": 5},
        event("m", None, None),
        event("c", None, row(), table="other"),
        event("c", None, row(), db="other"),
        {"schema": {}, "payload": event("c", None, row())},
        [],
    ],
)
def test_messages_that_are_no_changes_of_this_table(message: Any) -> None:
    assert stopped(message).code == "unknown-event"


def test_a_message_that_is_cut_off() -> None:
    for end in (1, 30, 200, -1):
        with pytest.raises(TableStopped):
            made().apply(encoded(event("c", None, row()))[:end], {}, PLACE)


def test_a_type_that_cannot_be_carried() -> None:
    specs = [("a", "int NOT NULL", "integer"), ("p", "point", "text")]
    with pytest.raises(TableStopped) as caught:
        compile_events(table(specs), OFF)
    assert caught.value.code == "unknown-type"


# -- embedded schemas --------------------------------------------------------------------------

FIELDS = [
    ("a", "int32"), ("b", "string"), ("n", "int32"), ("t", "string"), ("z", "bytes"),
    ("unused", "int32"),
]  # fmt: skip


def test_embedded_schemas() -> None:
    decoder, rows = made(ON), dict[bytes, Image | None]()
    for a in (1, 2):
        decoder.apply(encoded(event("c", None, row(a=a)), schema(FIELDS)), rows, PLACE)
    decoder.apply(encoded(event("d", row(), None), schema(FIELDS)), rows, PLACE)
    assert rows == {b"1\tx": None, b"2\tx": b"2" + LINE[1:]}


@pytest.mark.parametrize(
    "fields",
    [
        [*FIELDS, ("new", "int32")],
        FIELDS[1:],
        [*FIELDS[:2], ("n", "int64"), *FIELDS[3:]],
        [*FIELDS[:3], ("t", "string:io.debezium.data.Json"), *FIELDS[4:]],
    ],
)
def test_a_schema_that_has_changed(fields: list[tuple[str, str]]) -> None:
    decoder = made(ON)
    decoder.apply(encoded(event("c", None, row()), schema(FIELDS)), {}, PLACE)
    with pytest.raises(TableStopped) as caught:
        decoder.apply(encoded(event("c", None, row()), schema(fields)), {}, PLACE)
    assert caught.value.code == "definition-changed"


def test_a_schema_that_differs_in_nothing_that_matters() -> None:
    decoder = made(ON)
    for version in (1, 2):
        said = {**schema(FIELDS[:-1]), "version": version}
        after = {name: value for name, value in row().items() if name != "unused"}
        decoder.apply(encoded(event("c", None, after), said), {}, PLACE)


def test_the_scale_of_a_decimal_is_part_of_its_schema() -> None:
    specs = [("a", "int NOT NULL", "integer"), ("d", "decimal(10,2)", "numeric(10,2)")]
    decoder = compile_events(table(specs), EventSettings())
    message = event("c", None, {"a": 1, "d": "BNI="})
    kind = "bytes:org.apache.kafka.connect.data.Decimal"
    rows: Rows = {}
    decoder.apply(encoded(message, schema([("a", "int32"), ("d", f"{kind}(2)")])), rows, PLACE)
    assert rows == {b"1": b"1\t12.34"}
    with pytest.raises(TableStopped, match=r"Decimal\(3\)"):
        decoder.apply(encoded(message, schema([("a", "int32"), ("d", f"{kind}(3)")])), {}, PLACE)


@pytest.mark.parametrize("message", [b"{}", b'{"schema":null,"payload":{}}', b"\xff", b"", b"null"])
def test_a_message_without_its_schema(message: bytes) -> None:
    with pytest.raises(TableStopped) as caught:
        made(ON).apply(message, {}, PLACE)
    assert caught.value.code == "unknown-event"
