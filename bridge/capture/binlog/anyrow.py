"""Python source of the functions that read rows of one table whatever is NULL in them.

They take about twice the time of those for one NULL bitmap (rowcode.py), but need no bitmap to have
been seen: tables in which many columns are NULL in many combinations live by them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from bridge.capture.binlog.rowcode import Code, Field, compiled, line_order, unsafe
from bridge.errors import BadValue
from bridge.types.base import NULL


def any_image(fields: Sequence[Field]) -> Callable[[bytes, int], tuple[bytes, bytes, int]]:
    """``(data, pos)``: key, line, and where the next image begins. Raises BadValue."""
    order = line_order(fields)
    key = [f"t{index}" for index in order if fields[index].key]
    others = [f"t{index}" for index in order if not fields[index].key]
    code = _walked(fields, order)
    code.add(f"key = {_joined(key)}")
    code.add(f"return key, {_joined(['key', *others] if key else others)}, pos")
    return _function(code)


def any_key(fields: Sequence[Field]) -> Callable[[bytes, int], tuple[bytes, int]]:
    """``(data, pos)``: key, and where the next image begins. Raises BadValue."""
    order = [index for index in line_order(fields) if fields[index].key]
    code = _walked(fields, order)
    code.add(f"return {_joined([f't{index}' for index in order])}, pos")
    return _function(code)


def any_skip(fields: Sequence[Field]) -> Callable[[bytes, int], int]:
    """``(data, pos)``: where the next image begins."""
    code = _walked(fields, ())
    code.add("return pos")
    return _function(code)


def _walked(fields: Sequence[Field], wanted: Collection[int]) -> Code:
    """Reads an image from left to right; the text of column n is in the variable tn."""
    code = Code()
    width = (len(fields) + 7) // 8
    code.add(f"nulls = int.from_bytes(data[pos:pos + {width}], 'little')")
    code.add(f"pos += {width}")
    for index, each in enumerate(fields):
        if index not in wanted:
            code.add(f"if not nulls & {1 << index}:")
            code.lines += [f"    {line}" for line in _passed(each)]
            continue
        code.add(f"if nulls & {1 << index}:")
        code.add("    raise BadValue('null', 'NULL')" if each.key else f"    t{index} = NULL")
        code.add("else:")
        code.lines += [f"    {line}" for line in _taken(code, each, index)]
    return code


def _length(each: Field) -> str:
    """Expression of the length in front of a value."""
    if each.prefix == 1:
        return "data[pos]"
    if each.prefix == 2:
        return "(data[pos] | data[pos + 1] << 8)"
    return f"int.from_bytes(data[pos:pos + {each.prefix}], 'little')"


def _passed(each: Field) -> list[str]:
    if each.prefix:
        return [f"pos += {each.prefix} + {_length(each)}"]
    return [f"pos += {each.size}"]


def _taken(code: Code, each: Field, index: int) -> list[str]:
    """Reads the value and makes its text."""
    wire = each.wire
    assert wire is not None
    code.names.update(wire.names)
    if each.prefix:
        lines = [
            f"end = pos + {each.prefix} + {_length(each)}",
            f"v = data[pos + {each.prefix}:end]",
            "pos = end",
        ]
    else:
        lines = [f"v, = {code.struct(wire.struct)}(data, pos)", f"pos += {each.size}"]
    text = wire.expression.replace("{v}", "v")
    if wire.format == "%d":
        text = f"b'%d' % ({text},)"
    lines.append(f"t{index} = {text}")
    if wire.escape:
        lines += [f"if {unsafe(f't{index}')}:", f"    t{index} = escape(t{index})"]
    return lines


def _joined(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return f"TAB.join(({', '.join(texts)}))" if texts else "b''"


def _function(code: Code) -> Callable[..., Any]:
    body = "\n".join(f"    {line}" for line in code.lines)
    names = {**code.names, "NULL": NULL, "TAB": b"\t", "BadValue": BadValue}
    return compiled(f"def decode(data, pos):\n{body}", names)
