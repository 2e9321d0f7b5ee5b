"""How Debezium writes a column's value into its JSON events, as far as families need to know.

What a value looks like follows from the column's type and the connector's settings; with schemas
off nothing in the event tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

DecimalMode = Literal["precise", "string", "double"]
TimeMode = Literal[
    "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"
]
BinaryMode = Literal["bytes", "base64", "base64-url-safe", "hex"]
UnsignedMode = Literal["long", "precise"]

DECIMAL_MODES: tuple[str, ...] = get_args(DecimalMode)
TIME_MODES: tuple[str, ...] = get_args(TimeMode)
BINARY_MODES: tuple[str, ...] = get_args(BinaryMode)
UNSIGNED_MODES: tuple[str, ...] = get_args(UnsignedMode)
PLACEHOLDER = "__debezium_unavailable_value"
"""What stands for a value that the log did not hold, unless the connector says otherwise."""


@dataclass(frozen=True, slots=True)
class EventSettings:
    """The connector's settings that decide what values look like; its defaults are the defaults.

    `numeric`: the converter writes Decimals as JSON numbers (decimal.format=NUMERIC) instead of
    bytes. `schemas`: each event carries its schema. `placeholder`: the text of values that are not
    available.
    """

    decimal: DecimalMode = "precise"
    time: TimeMode = "adaptive_time_microseconds"
    binary: BinaryMode = "bytes"
    unsigned: UnsignedMode = "long"
    numeric: bool = False
    schemas: bool = True
    placeholder: str = PLACEHOLDER


class Form(NamedTuple):
    """What the compiled reader does itself with a column's value, just as the expression would.

    - ``call``: nothing; the value is handed to the expression.
    - ``integer``: a whole number, as it stands.
    - ``text``: a string. `first` is 1 if only ASCII may be taken as it is, `second` the most
      characters (-1: any number); others, and those with NUL, are handed on.
    - ``unscaled``: a Decimal's bytes, with `first` digits after the point; more than eight bytes
      are handed on.
    - ``printed``: a decimal in a string; one with an exponent is handed on.
    - ``day``: days since 1970.
    - ``since``: units since 1970, `first` a second, with `second` digits of the fraction.
    - ``utc``: ``2024-01-31T12:00:00.500Z`` of `first` characters; other forms are handed on.
    """

    name: Literal["call", "integer", "text", "unscaled", "printed", "day", "since", "utc"] = "call"
    first: int = 0
    second: int = -1


CALL = Form()


@dataclass(frozen=True, slots=True)
class EventValue:
    """How the value of one column in an event becomes COPY text, for the code generator.

    `type` is what the JSON is read as: int, str, float, bool, bytes (base64) or msgspec.Raw (the
    JSON text itself). `expression` and `names` are as in `bridge.types.base.Wire`: over ``{v}``,
    which is not None; the result is a str, COPY text already escaped, or an int. It may rely on it
    that no string of the event was written with a backslash, so that no character in it needs an
    escape or is a NUL; `careful` is the expression for all other events ('' if it is the same one).
    `unavailable` is what a value that is not available is read as, where the expression would take
    it for a value. `schemas` are the types that an embedded schema may give the column, as
    `schema_type` writes them. `form` is what needs no call of Python.
    """

    type: object
    expression: str = "{v}"
    names: Mapping[str, object] = field(default_factory=dict)
    careful: str = ""
    unavailable: str | bytes | None = None
    schemas: frozenset[str] = frozenset()
    form: Form = CALL


def schema_type(kind: str, name: str = "", scale: str = "") -> str:
    """A column's type in an embedded schema: ``int32``, ``int64:io.debezium.time.MicroTime``.

    A Decimal has its scale behind it, since its bytes mean nothing without.
    """
    text = f"{kind}:{name}" if name else kind
    return f"{text}({scale})" if scale else text


def decimal_schema(scale: int) -> frozenset[str]:
    """What an embedded schema says of a Decimal."""
    return frozenset({schema_type("bytes", "org.apache.kafka.connect.data.Decimal", str(scale))})
