"""The usual events of a table, read by C; what is not usual is left to rows.py."""

from collections.abc import Callable
from typing import Any

class Reader:
    """Takes changes of one table.

    `schema` and `table` are its names, UTF-8 as they stand in JSON. `columns` are those of a line,
    of which the `key` first ones are the row's key: name of the form, its two numbers
    (`bridge.types.events.Form`), what its `convert` is given (int, str, bytes from base64, float,
    bool, or for ``any`` the bytes of the JSON itself), whether it may be null, the text that stands
    for a value that is not available (or None), and `convert`, which makes COPY text or raises.
    `fields` are all that a row has: names, and their place in `columns`, or -1. `head` is what
    stands before the payload, with the schema (empty: not known yet), or None for events without.
    `limit`: most bytes of an event.
    """

    ts_ms: int
    """The source's clock at the change that was taken last (ms since 1970)."""
    head: bytes | None

    def __init__(
        self,
        schema: bytes,
        table: bytes,
        columns: tuple[tuple[str, int, int, str, bool, bytes | None, Callable[[Any], bytes]], ...],
        key: int,
        fields: tuple[tuple[bytes, int], ...],
        head: bytes | None,
        limit: int,
        /,
    ) -> None: ...
    def take(self, value: bytes, rows: dict[bytes, Any], /) -> int:
        """Puts an event's row into `rows` by key: its line, or None if it is gone.

        Gives which change it was: 0 insert, 1 update, 2 delete; or -1 if it was not taken, and
        `rows` is as it was.
        """
