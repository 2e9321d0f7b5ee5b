"""Values of every type as Debezium writes them in every mode: the same COPY text as from the log.

What is expected is `from_raw`, which the contract tests hold against the log on real servers.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from ctypes import c_float
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridge.capture.debezium.rows import EventDecoder, compile_events
from bridge.change.batch import BadRow, Image
from bridge.errors import BadValue, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types.base import Policy
from bridge.types.events import BINARY_MODES, EventSettings
from bridge.types.floats import mysql_double
from tests.unit.capture.debezium.samples import AT, PLACE, encoded, event, table
from tests.unit.types.columns import family

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
PLAIN = EventSettings(decimal="string", schemas=False)


def two_s_complement(number: int) -> bytes:
    """As Java's BigInteger.toByteArray."""
    return number.to_bytes(
        (number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True
    )


def base64(raw: bytes) -> str:
    return b64encode(raw).decode()


@cache
def decoder(
    kind: str,
    target: str,
    chosen: EventSettings,
    policy: Policy | None = None,
    flavor: str = "mysql",
    charset: str | None = None,
) -> EventDecoder:
    more: dict[str, Any] = {"flavor": flavor} | ({"charset": charset} if charset else {})
    specs = [("id", "int NOT NULL", "integer"), ("c", kind, target)]
    return compile_events(table(specs, policies={"c": policy or Policy()}, **more), chosen)


def read(made: EventDecoder, value: Any, *, escapes: bool = False) -> Image | None:
    """What becomes of a value; `escapes` writes it with as many backslashes as there can be."""
    message = event("c", None, {"id": 1, "c": value})
    raw = json.dumps(message).encode() if escapes else encoded(message)
    rows: dict[bytes, Image | None] = {}
    made.apply(raw, rows, PLACE)
    image = rows[b"1"]
    return image.partition(b"\t")[2] if isinstance(image, bytes) else image


def expected(plan: TablePlan, text: bytes) -> bytes | str:
    column = plan.columns[1]
    try:
        return family(column.source).from_raw(column, text)
    except BadValue as bad:
        return bad.code


def agree(made: EventDecoder, value: Any, text: bytes) -> None:
    """The event's value becomes what the server's text of it becomes."""
    wanted = expected(made.plan, text)
    for escapes in (False, True):
        image = read(made, value, escapes=escapes)
        found = image.code if isinstance(image, BadRow) else image
        assert found == wanted, (value, text)


WIDTHS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


@pytest.mark.parametrize("name", WIDTHS)
@given(data=st.data())
def test_integers(name: str, data: st.DataObject) -> None:
    top = 2 ** WIDTHS[name]
    signed = data.draw(st.integers(-top // 2, top // 2 - 1))
    agree(decoder(name, "bigint", PLAIN), signed, b"%d" % signed)
    agree(decoder(name, "smallint", PLAIN), signed, b"%d" % signed)
    unsigned = data.draw(st.integers(0, top - 1))
    sent = unsigned - top if name == "bigint" and unsigned >= top // 2 else unsigned
    kind = f"{name} unsigned"
    for target in ("numeric(20,0)", "bigint", "text"):
        agree(decoder(kind, target, PLAIN), sent, b"%d" % unsigned)


@given(st.integers(0, 2**64 - 1))
def test_unsigned_as_decimals(number: int) -> None:
    precise = EventSettings(unsigned="precise", schemas=False)
    numeric = EventSettings(unsigned="precise", numeric=True, schemas=False)
    for target in ("numeric(20,0)", "bigint"):
        plain = b"%d" % number
        agree(decoder("bigint unsigned", target, precise), base64(two_s_complement(number)), plain)
        agree(decoder("bigint unsigned", target, numeric), number, plain)


def test_years() -> None:
    made = decoder("year", "smallint", PLAIN)
    for sent, year in ((1901, 1901), (2155, 2155), (1900, 0), (0, 0)):
        agree(made, sent, b"%04d" % year)


@pytest.mark.parametrize(("precision", "scale"), [(10, 2), (10, 0), (65, 30), (5, 5), (38, 10)])
@given(data=st.data())
def test_decimals(precision: int, scale: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1) | st.integers(-9, 9))
    digits = f"{abs(number):0{scale + 1}d}"
    text = ("-" if number < 0 else "") + digits[: len(digits) - scale]
    text += "." + digits[len(digits) - scale :] if scale else ""
    kind, raw = f"decimal({precision},{scale})", text.encode()
    value = Decimal(number).scaleb(-scale) if abs(number) < 10**20 else Decimal(text)
    for target in (f"numeric({precision},{scale})", "text", *(["bigint"] if not scale else [])):
        made = decoder(kind, target, PLAIN)
        agree(made, text, raw)
        agree(made, str(value), raw)  # Java prints exponents by the same rule
        precise = EventSettings(decimal="precise", schemas=False)
        agree(decoder(kind, target, precise), base64(two_s_complement(number)), raw)


def test_decimals_as_numbers_keep_all_digits() -> None:
    made = decoder("decimal(30,10)", "numeric(30,10)", EventSettings(numeric=True, schemas=False))
    for number in ("12345678901234567890.0123456789", "-0.0000000001", "1E-10", "1.5", "0"):
        message = encoded(event("c", None, {"id": 1, "c": 7777})).replace(b"7777", number.encode())
        rows: dict[bytes, Image | None] = {}
        made.apply(message, rows, PLACE)
        assert rows[b"1"] == f"1\t{Decimal(number):.10f}".encode()
    assert read(made, None) == b"\\N"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles(number: float) -> None:
    agree(decoder("double", "double precision", PLAIN), number, mysql_double(number).encode())


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_floats_by_their_shortest_digits(number: float) -> None:
    shortest = next(
        text
        for text in (f"{number:.{digits}g}" for digits in range(1, 18))
        if c_float(float(text)).value == number
    )
    agree(decoder("float", "real", PLAIN), float(shortest), mysql_double(number).encode())
    agree(decoder("float", "text", PLAIN), number, mysql_double(number).encode())


@pytest.mark.parametrize("width", [1, 2, 8, 9, 64])
@given(data=st.data())
def test_bits(width: int, data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, 2**width - 1))
    sent: Any = bool(bits)
    if width > 1:
        sent = base64(bits.to_bytes((width + 7) // 8, "little"))
    for target in (f"bit({width})", "numeric(20,0)", "smallint"):
        agree(decoder(f"bit({width})", target, PLAIN), sent, b"%d" % bits)


@given(st.dates(date(1, 1, 1)))
def test_dates(day: date) -> None:
    raw = day.isoformat().encode()
    for mode in ("adaptive_time_microseconds", "connect", "microseconds"):
        chosen = EventSettings(time=mode, schemas=False)
        agree(decoder("date", "date", chosen), (day - date(1970, 1, 1)).days, raw)
    iso = EventSettings(time="isostring", schemas=False)
    agree(decoder("date", "text", iso), f"{day.isoformat()}Z", raw)


def moments(fsp: int) -> st.SearchStrategy[datetime]:
    unit = 10 ** (6 - fsp)
    return st.datetimes().map(lambda d: d.replace(microsecond=d.microsecond // unit * unit))


def trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


@pytest.mark.parametrize("fsp", range(7))
@given(data=st.data())
@settings(max_examples=20)
def test_datetimes(fsp: int, data: st.DataObject) -> None:
    moment = data.draw(moments(fsp))
    text = f"{moment.isoformat(' ', 'microseconds')}"[: 19 + bool(fsp) + fsp]
    micros = (moment - EPOCH) // timedelta(microseconds=1)
    sent = {
        "adaptive_time_microseconds": micros if fsp > 3 else micros // 1000,
        "microseconds": micros,
        "nanoseconds": micros * 1000,
        "isostring": trimmed(text.replace(" ", "T")) + "Z",
    }
    if fsp <= 3:
        sent["connect"] = micros // 1000
    zoned = Policy(zone="Europe/Berlin")
    for mode, value in sent.items():
        chosen = EventSettings(time=mode, schemas=False)  # type: ignore[arg-type]
        agree(decoder(f"datetime({fsp})", f"timestamp({fsp})", chosen), value, text.encode())
        made = decoder(f"datetime({fsp})", f"timestamptz({fsp})", chosen, zoned)
        agree(made, value, text.encode())


@pytest.mark.parametrize("fsp", range(7))
@given(data=st.data())
@settings(max_examples=20)
def test_timestamps(fsp: int, data: st.DataObject) -> None:
    moment = data.draw(moments(fsp))
    text = f"{moment.isoformat(' ', 'microseconds')}"[: 19 + bool(fsp) + fsp]
    made = decoder(f"timestamp({fsp})", f"timestamptz({fsp})", PLAIN)
    agree(made, text.replace(" ", "T") + "Z", text.encode())
    agree(made, trimmed(text.replace(" ", "T")) + "Z", text.encode())


TOP = (838 * 3600 + 59 * 60 + 59) * 1_000_000


@pytest.mark.parametrize("fsp", range(7))
@given(data=st.data())
@settings(max_examples=20)
def test_times(fsp: int, data: st.DataObject) -> None:
    unit = 10 ** (6 - fsp)
    micros = data.draw(st.integers(-TOP // unit + 1, TOP // unit)) * unit
    seconds, part = divmod(abs(micros), 1_000_000)
    text = f"{'-' if micros < 0 else ''}{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
    text += f":{seconds % 60:02d}" + (f".{part:06d}"[: fsp + 1] if fsp else "")
    for mode, value in (("microseconds", micros), ("nanoseconds", micros * 1000)):
        chosen = EventSettings(time=mode, schemas=False)  # type: ignore[arg-type]
        for target in ("interval", f"time({fsp})"):
            agree(decoder(f"time({fsp})", target, chosen), value, text.encode())
        clamped = decoder(f"time({fsp})", "time(6)", chosen, Policy(out_of_range="clamp"))
        agree(clamped, value, text.encode())


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\\t\n\r\0"'))


@given(TEXTS)
def test_texts(text: str) -> None:
    raw = text.encode()
    agree(decoder("text", "text", PLAIN), text, raw)
    agree(decoder("varchar(40)", "varchar(3)", PLAIN), text, raw)
    agree(decoder("text", "text", PLAIN, Policy(nul="replace:<0>")), text, raw)


def test_text_that_could_not_be_read() -> None:
    """U+FFFD where it cannot have been stored."""
    lost = "a\ufffdb"
    image = read(decoder("text", "text", PLAIN, charset="latin1"), lost)
    assert isinstance(image, BadRow)
    assert (image.code, image.column, image.at) == ("invalid-text", "c", AT)
    replaced = decoder("text", "text", PLAIN, Policy(invalid="replace"), charset="latin1")
    assert read(replaced, lost) == b"a?b"
    assert read(decoder("text", "text", PLAIN), lost) == lost.encode()
    maria = read(decoder("text", "text", PLAIN, flavor="mariadb"), lost)
    assert isinstance(maria, BadRow)


SENT_BINARY: dict[str, Callable[[bytes], str]] = {
    "bytes": base64,
    "base64": base64,
    "base64-url-safe": lambda raw: urlsafe_b64encode(raw).decode(),
    "hex": bytes.hex,
}


@pytest.mark.parametrize("mode", BINARY_MODES)
@given(raw=st.binary(max_size=40))
def test_binary(mode: Any, raw: bytes) -> None:
    chosen = EventSettings(binary=mode, schemas=False)
    agree(decoder("blob", "bytea", chosen), SENT_BINARY[mode](raw), raw)
    fixed = raw[:16].ljust(16, b"\0")
    for target in ("bytea", "uuid"):
        made = decoder("binary(16)", target, chosen)
        agree(made, SENT_BINARY[mode](fixed), fixed)
        assert read(made, SENT_BINARY[mode](fixed.rstrip(b"\0"))) == expected(made.plan, fixed)


def test_enums() -> None:
    made = decoder(r"enum('a','b,c','ü','x\y')", "text", PLAIN)
    sent = {"": 0, "a": 1, "b,c": 2, "b\\,c": 2, "ü": 3, r"x\y": 4, r"x\\y": 4}
    for label, number in sent.items():
        agree(made, label, b"%d" % number)
    image = read(made, "new")
    assert isinstance(image, BadRow)
    assert image.code == "unknown-label"


def test_enums_whose_labels_look_alike() -> None:
    for kind in (r"enum('b,c','b\,c')", r"enum('b\\c','b\c')", r"set('b\\c','b\c')", "set('')"):
        with pytest.raises(TableStopped, match="look"):
            decoder(kind, "text", PLAIN)


@given(st.sets(st.sampled_from(["x", "y y", "ü"])))
def test_sets(members: set[str]) -> None:
    labels = ["x", "y y", "ü"]
    bits = sum(1 << place for place, label in enumerate(labels) if label in members)
    sent = ",".join(label for label in labels if label in members)
    for target in ("text[]", "text"):
        agree(decoder("set('x','y y','ü')", target, PLAIN), sent, b"%d" % bits)
    image = read(decoder("set('x','y y','ü')", "text", PLAIN), "x,z")
    assert isinstance(image, BadRow)


NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_documents(document: Any) -> None:
    """With spaces as a snapshot has them, and without as the stream."""
    printed = json.dumps(document, ensure_ascii=False)
    assume("\ufffd" not in printed)
    compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for target in ("json", "text"):
        made = decoder("json", target, PLAIN)
        agree(made, printed, printed.encode())
        agree(made, compact, printed.encode())
    agree(decoder("json", "jsonb", PLAIN), compact, compact.encode())
    maria = decoder("json", "json", PLAIN, flavor="mariadb", charset="utf8mb4")
    agree(maria, compact, compact.encode())


def test_names_that_were_decoded_by_another_character_set() -> None:
    image = read(decoder("json", "jsonb", PLAIN), '{"\ufffd\ufffd":1}')
    assert isinstance(image, BadRow)
    assert image.code == "mangled-text"


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x % 1))
def test_doubles_in_documents(number: float) -> None:
    """Debezium prints the exact value of what Java prints with an exponent."""
    made = decoder("json", "json", PLAIN)
    exact = f"{Decimal(number):f}" if "e" in repr(number) else repr(number)
    assume(len(exact.partition(".")[2]) > 9)
    agree(made, f'["{exact}",{exact}]', f'["{exact}", {mysql_double(number)}]'.encode())
    long = 12345678.9
    agree(made, f"{Decimal(long):f}", b"12345678.9")


@pytest.mark.parametrize(
    "number",
    [
        "9223372036854775808",
        "18446744073709551616",
        "562949953421312.125",
        "12345678901234567890.123",
        "36893488147419103232",
        "0.000000000000000000000000000001",
    ],
)
def test_numbers_in_documents_that_may_be_decimals(number: str) -> None:
    agree(decoder("json", "json", PLAIN), number, number.encode())


def test_addresses() -> None:
    made = decoder("uuid", "uuid", PLAIN)
    text = "123e4567-e89b-12d3-a456-426655440000"
    assert read(made, text) == read(made, text.upper()) == text.encode()
    long = b"2001:0DB8:0000:0000:0000:0000:0000:0001"
    assert read(decoder("inet6", "inet", PLAIN), "2001:db8::1") == long
    assert read(decoder("inet4", "inet", PLAIN), "192.0.2.1") == b"192.0.2.1"


@pytest.mark.parametrize(
    ("kind", "target", "chosen"),
    [
        ("decimal(10,2)", "numeric(10,2)", EventSettings(decimal="double")),
        ("time", "interval", EventSettings(time="connect")),
        ("time", "interval", EventSettings(time="isostring")),
        ("datetime(4)", "timestamp(4)", EventSettings(time="connect")),
    ],
)
def test_modes_that_lose_values(kind: str, target: str, chosen: EventSettings) -> None:
    with pytest.raises(TableStopped, match="column c") as caught:
        decoder(kind, target, chosen)
    assert caught.value.code == "connector-loses-values"


ANY_TYPE = [
    ("decimal(10,2)", "numeric(10,2)"), ("decimal(10,0)", "bigint"), ("date", "date"),
    ("datetime(3)", "timestamp(3)"), ("timestamp", "timestamptz(0)"), ("time", "interval"),
    ("timestamp(3)", "timestamptz(3)"), ("blob", "bytea"), ("enum('a')", "text"), ("uuid", "uuid"),
    ("set('a','b')", "text[]"), ("json", "jsonb"), ("text", "text"), ("varchar(9)", "varchar(5)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "target", "binary"),
    [("blob", "bytea", "base64-url-safe"), *((*kinds, "hex") for kinds in ANY_TYPE)],
)
@given(value=TEXTS | st.from_regex(r"[0-9]{4}-01-01[\tT]10:00:0[\n0](\.00\t)?[Z\t]"))
@settings(max_examples=30)
def test_no_value_breaks_the_line(kind: str, target: str, binary: Any, value: str) -> None:
    """Whatever a string is, it stays inside its column, or the row is not taken."""
    chosen = EventSettings(decimal="string", time="isostring", binary=binary, schemas=False)
    if kind == "time":
        chosen = EventSettings(decimal="string", schemas=False)
    for escapes in (False, True):
        try:
            image = read(decoder(kind, target, chosen), value, escapes=escapes)
        except TableStopped as error:
            assert error.code == "undecodable"  # noqa: PT017
            continue
        if isinstance(image, bytes):
            bare = image.replace(b"\\\\", b"")
            assert not set(b"\t\n\r\0") & set(bare)
