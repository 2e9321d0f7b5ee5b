"""The compiled reader held against the decoder in Python."""

from __future__ import annotations

from typing import Any

from bridge.capture.debezium.envelope import Place
from bridge.capture.debezium.rows import Event, EventDecoder

KINDS = {"c": 0, "u": 1, "d": 2}
decode = EventDecoder.apply


def apply(decoder: EventDecoder, value: bytes, rows: Any, place: Place) -> Event:
    """`EventDecoder.apply`; what the reader takes of it must be just the same."""
    return compare(decoder, value, rows, place)[0]


def compare(decoder: EventDecoder, value: bytes, rows: Any, place: Place) -> tuple[Event, bool]:
    """What the decoder tells, which changes `rows`, and whether the reader took the event."""
    before, read = dict(rows), dict(rows)
    kind = -1 if decoder.reader is None else decoder.reader.take(value, read)
    if decoder.reader is None or kind < 0:
        assert read == before
        return decode(decoder, value, rows, place), False
    try:
        event = decode(decoder, value, rows, place)
    except Exception as error:
        raise AssertionError("the reader took what is refused") from error
    assert list(read.items()) == list(rows.items())
    assert kind == KINDS[event.op]
    assert decoder.reader.ts_ms == event.source.ts_ms
    return event, True
