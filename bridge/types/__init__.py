"""Every MySQL type in all its forms; see `bridge.types.base`."""

from __future__ import annotations

from bridge.types.addresses import Addresses
from bridge.types.base import Family, SourceColumn
from bridge.types.binary import Binaries
from bridge.types.bits import Bits
from bridge.types.dates import Dates
from bridge.types.datetimes import Datetimes
from bridge.types.decimals import Decimals
from bridge.types.enums import Enums, Sets
from bridge.types.floats import Floats
from bridge.types.integers import Integers
from bridge.types.json import Documents
from bridge.types.text import Texts
from bridge.types.times import Times

FAMILIES: tuple[Family, ...] = (
    Integers(),
    Decimals(),
    Floats(),
    Bits(),
    Dates(),
    Datetimes(),
    Times(),
    Texts(),
    Binaries(),
    Enums(),
    Sets(),
    Documents(),
    Addresses(),
)
_BY_NAME = {name: family for family in FAMILIES for name in family.names}


def family_of(column: SourceColumn) -> Family | None:
    """The family of a column's type; None for types that cannot be carried (geometry, vector)."""
    return _BY_NAME.get(column.data_type)
