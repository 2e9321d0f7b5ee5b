"""Python source of the functions that decode rows: one for each NULL bitmap that occurs often.

With the bitmap known, the place of every column is known up to the next one of variable length, so
a run of fixed-width columns, and the length of what follows it, is one `Struct.unpack_from`. Values
go into the line through one bytes `%`.

Every function reads rows while their bitmaps are the ones it was made for, and gives back (where
it stopped, rows done). Where a value cannot be represented it gives -1 - (where the row begins).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from bridge.errors import BadValue
from bridge.types.base import ColumnPlan, Wire
from bridge.types.copytext import escape

_NUMBERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PREFIX = {1: "B", 2: "H", 3: "HB", 4: "I"}
_TAB = b"\t"
_INEXACT = frozenset("efd")
"""Struct codes whose values can be equal while their bytes are not (0.0 and -0.0)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a row image: its width, or that of its length prefix.

    `wire` and `plan` are None for a column that is not carried; `place` is where a carried one
    stands in the line, and `key` whether it belongs to the key.
    """

    size: int
    prefix: int
    wire: Wire | None = None
    plan: ColumnPlan | None = None
    place: int = -1
    key: bool = False


def is_null(bitmap: bytes, index: int) -> bool:
    """Whether a row's bitmap says NULL for the column of that index."""
    return bool(bitmap[index >> 3] >> (index & 7) & 1)


@dataclass(slots=True)
class Code:
    """Lines of a function under construction, and the objects that it names."""

    lines: list[str] = field(default_factory=list)
    names: dict[str, object] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """One more line, indented as the function's body."""
        self.lines.append(line)

    def struct(self, form: str) -> str:
        """The name of a function that unpacks a struct format."""
        name = f"unpack{len(self.names)}"
        self.names[name] = Struct("<" + form).unpack_from
        return name


@dataclass(slots=True)
class _Walk:
    """Emits the reading of one row image, left to right.

    `base` + `offset` is how far the emitted code has got; `run` and `targets` are the struct and
    the variables of columns that wait for their common unpack. `check` holds the lines that look
    at the bitmap, which is part of the first unpack where a struct code has its width.
    """

    code: Code
    tag: str
    base: str
    offset: int
    run: list[str] = field(default_factory=list)
    run_size: int = 0
    targets: list[str] = field(default_factory=list)
    check: list[str] = field(default_factory=list)

    def bitmap(self, bitmap: bytes, *, checked: bool) -> None:
        """Begins the image; the code leaves the loop at another bitmap if it is to be checked."""
        form = _NUMBERS.get(len(bitmap))
        if not checked:
            self.offset += len(bitmap)
        elif form:
            self.run.append(form)
            self.run_size += len(bitmap)
            self.targets.append(f"m{self.tag}")
            self.check = [f"if m{self.tag} != {int.from_bytes(bitmap, 'little')}:", "    break"]
        else:
            here = self.here()
            self.code.add(f"if data[{here}:{here} + {len(bitmap)}] != {bitmap!r}:")
            self.code.add("    break")
            self.offset += len(bitmap)

    def fixed(self, each: Field, variable: str | None, form: str) -> None:
        self.run.append(form if variable else f"{each.size}x")
        self.run_size += each.size
        if variable:
            self.targets.append(variable)

    def variable(self, each: Field, index: int, variable: str | None) -> None:
        length = f"n{self.tag}{index}"
        if each.prefix <= 2 and not self.targets:
            # One or two look-ups cost less than an unpack.
            self._skip()
            low = f"data[{self.here()}]"
            self.offset += 1
            high = f" | data[{self.here()}] << 8" if each.prefix == 2 else ""
            self.offset += each.prefix - 1
            self.code.add(f"{length} = {low}{high}")
        else:
            self.run.append(_PREFIX[each.prefix])
            self.run_size += each.prefix
            high = f"{length}h"
            self.targets += [length, high] if each.prefix == 3 else [length]
            self.flush()
            if each.prefix == 3:
                self.code.add(f"{length} += {high} << 16")
        end = f"p{self.tag}{index}"
        self.code.add(f"{end} = {self.here()} + {length}")
        if variable:
            self.code.add(f"{variable} = data[{self.here()}:{end}]")
        self.base, self.offset = end, 0

    def flush(self) -> None:
        """Emits the unpack of the columns that wait."""
        if self.targets:
            unpack = self.code.struct("".join(self.run))
            self.code.add(f"{', '.join(self.targets)}, = {unpack}(data, {self.here()})")
            self.code.lines += self.check
            self.check = []
        self._skip()

    def here(self) -> str:
        return f"{self.base} + {self.offset}" if self.offset else self.base

    def _skip(self) -> None:
        self.offset += self.run_size
        self.run, self.run_size, self.targets = [], 0, []


class RowCode:
    """Makes the functions for the rows of one table version."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        self._bytes = (len(fields) + 7) // 8
        self._key = sum(each.key for each in fields)
        self._order = line_order(fields)

    def insert(self, bitmap: bytes) -> Callable[..., tuple[int, int]]:
        """``(data, pos, end, rows)``: puts each row's line under its key."""
        code = Code()
        end = self._image(code, bitmap, "", "pos")
        self._line(code, bitmap, "")
        code.add("rows[key] = line")
        return self._loop(code, f"pos = {end}")

    def update(self, before: bytes, after: bytes) -> Callable[..., tuple[int, int]]:
        """The same for pairs of images; the old key of a changed key gets None."""
        code = Code()
        code.add(f"after = {self._skim(code, before, 'o', 'pos')}")
        end = self._image(code, after, "", "after")
        self._line(code, after, "")
        code.add(f"if {self._key_changed()}:")
        inner = Code(names=code.names)
        self._key_text(inner, "o")
        code.lines += ["    " + line for line in inner.lines]
        code.add("    rows[key_o] = None")
        code.add("rows[key] = line")
        return self._loop(code, f"pos = {end}")

    def delete(self, bitmap: bytes) -> Callable[..., tuple[int, int]]:
        """The same for before-images: each key gets None."""
        code = Code()
        end = self._skim(code, bitmap, "", "pos")
        self._key_text(code, "")
        code.add("rows[key] = None")
        return self._loop(code, f"pos = {end}")

    def image(self, bitmap: bytes) -> Callable[[bytes, int], tuple[bytes, int]]:
        """``(data, pos)``: the line of one row with that bitmap and where the next image begins.

        Raises BadValue.
        """
        code = Code()
        end = self._image(code, bitmap, "", "pos", checked=False)
        self._line(code, bitmap, "")
        code.add(f"return line, {end}")
        body = "\n".join("    " + line for line in code.lines)
        return compiled(f"def decode(data, pos):\n{body}", code.names)

    def _image(
        self, code: Code, bitmap: bytes, tag: str, base: str, *, checked: bool = True
    ) -> str:
        """Reads all carried columns into variables; returns the expression of the image's end."""
        return self._walk(code, bitmap, tag, base, self._order, checked=checked)

    def _skim(self, code: Code, bitmap: bytes, tag: str, base: str) -> str:
        """Reads only the key's columns."""
        return self._walk(code, bitmap, tag, base, self._order[: self._key], checked=True)

    def _walk(
        self,
        code: Code,
        bitmap: bytes,
        tag: str,
        base: str,
        wanted: Collection[int],
        *,
        checked: bool,
    ) -> str:
        walk = _Walk(code, tag, base, 0)
        walk.bitmap(bitmap, checked=checked)
        for index, each in enumerate(self._fields):
            if is_null(bitmap, index):
                continue
            variable = f"v{tag}{index}" if index in wanted else None
            if each.prefix:
                walk.variable(each, index, variable)
            else:
                walk.fixed(each, variable, each.wire.struct if each.wire else "")
        walk.flush()
        return walk.here()

    def _key_changed(self) -> str:
        """Condition on the raw values of the two images' keys."""
        different = []
        for index, each in enumerate(self._fields):
            if each.key and each.wire:
                old, new = f"vo{index}", f"v{index}"
                if each.wire.struct[-1:] in _INEXACT:
                    old, new = f"float_bits({old})", f"float_bits({new})"
                different.append(f"{old} != {new}")
        return " or ".join(different)

    def _line(self, code: Code, bitmap: bytes, tag: str) -> None:
        """Formats the key and the whole line."""
        places = self._order
        arguments = self._texts(code, [i for i in places if not is_null(bitmap, i)], tag)
        formats = [
            b"\\N" if is_null(bitmap, index) else b"%" + arguments[index][0].encode()
            for index in places
        ]
        values = [arguments[index][1] for index in places if index in arguments]
        if self._key:
            self._format(code, f"key{_suffix(tag)}", formats[: self._key], values[: self._key])
            formats[: self._key] = [b"%b"]
            values[: self._key] = [f"key{_suffix(tag)}"]
        self._format(code, f"line{_suffix(tag)}", formats, values)

    def _key_text(self, code: Code, tag: str) -> None:
        places = self._order[: self._key]
        arguments = self._texts(code, places, tag)
        formats = [b"%" + arguments[index][0].encode() for index in places]
        values = [arguments[index][1] for index in places]
        self._format(code, f"key{_suffix(tag)}", formats, values)

    def _texts(self, code: Code, indexes: Sequence[int], tag: str) -> dict[int, tuple[str, str]]:
        """Format letter and expression of each column's text; unsafe bytes are escaped."""
        found = {}
        escaped = []
        for index in indexes:
            wire = self._fields[index].wire
            assert wire is not None
            code.names.update(wire.names)
            variable = f"v{tag}{index}"
            text = wire.expression.replace("{v}", variable)
            if wire.escape:
                # A variable of its own: the key's raw value is still to be compared.
                code.add(f"t{tag}{index} = {text}")
                text = f"t{tag}{index}"
                escaped.append(text)
            found[index] = (wire.format[1:], text)
        self._guard(code, escaped)
        return found

    @staticmethod
    def _guard(code: Code, texts: Sequence[str]) -> None:
        """Escapes the texts, if their bytes together hold anything that has to be."""
        if not texts:
            return
        if len(texts) == 1:
            together = texts[0]
        else:
            together = "together"
            joined = " + ".join(texts) if len(texts) < 4 else f"join(({', '.join(texts)}))"
            code.add(f"together = {joined}")
        code.add(f"if {unsafe(together)}:")
        for text in texts:
            code.add(f"    {text} = escape({text})")

    @staticmethod
    def _format(code: Code, target: str, formats: Sequence[bytes], values: Sequence[str]) -> None:
        if formats == [b"%b"]:
            code.add(f"{target} = {values[0]}")
        elif values:
            code.add(f"{target} = {_TAB.join(formats)!r} % ({', '.join(values)},)")
        else:
            code.add(f"{target} = {_TAB.join(formats)!r}")

    @staticmethod
    def _loop(code: Code, step: str) -> Callable[..., tuple[int, int]]:
        body = "\n".join("            " + line for line in [*code.lines, step, "count += 1"])
        return compiled(
            "def decode(data, pos, end, rows):\n"
            "    count = 0\n"
            "    try:\n"
            "        while pos < end:\n"
            f"{body}\n"
            "    except BadValue:\n"
            "        return -1 - pos, count\n"
            "    except struct_error:\n"
            "        # Near the event's end a row with another bitmap may be shorter.\n"
            "        pass\n"
            "    return pos, count",
            code.names,
        )


def unsafe(text: str) -> str:
    """Condition on a variable: its bytes hold something that COPY text escapes."""
    # Numbers, because `bytes in bytes` costs five times as much as `int in bytes`.
    return " or ".join(f"{byte} in {text}" for byte in b"\\\t\n\r")


def line_order(fields: Sequence[Field]) -> list[int]:
    """Indexes of the carried columns in the order of the line."""
    carried = [index for index, each in enumerate(fields) if each.wire]
    return sorted(carried, key=lambda index: fields[index].place)


def converter(wire: Wire) -> Callable[[Any], bytes]:
    """A column's raw value → its COPY text; raises BadValue."""
    text = f"b{wire.format!r} % ({wire.expression.replace('{v}', 'v')},)"
    if wire.escape:
        text = f"escape({text})"
    convert: Callable[[Any], bytes] = compiled(
        f"def decode(v):\n    return {text}", dict(wire.names)
    )
    return convert


def _suffix(tag: str) -> str:
    return f"_{tag}" if tag else ""


def _float_bits(value: float) -> str:
    return value.hex()


def compiled(source: str, names: dict[str, object]) -> Callable[..., Any]:
    """The function ``decode`` of that source, which may use these names."""
    space: dict[str, Any] = {
        **names,
        "BadValue": BadValue,
        "struct_error": struct.error,
        "escape": escape,
        "join": b"".join,
        "float_bits": _float_bits,
    }
    # The text is made here, from widths and the families' own expressions; no name and no value of
    # the source database is in it.
    exec(compile(source, "<row decoder>", "exec"), space)  # noqa: S102
    decode: Callable[..., Any] = space["decode"]
    return decode
