"""Names of tables, columns, labels and relations as Python says them.

The same names give the same result always; who comes first keeps the plain name, and the callers
ask in an order of their own. docs/generate.md tells the rules.
"""

from __future__ import annotations

import builtins
import hashlib
import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable

LONGEST = 63
"""Characters of names that are put together: relations, enums."""
HELPERS = frozenset(
    {"BinaryUUID", "EnumLabel", "EnumLabels", "NativeUUID", "NetworkAddress", "TimeLength"}
)
"""Types that a module may define for itself."""
_TABLES = HELPERS | {
    "Any", "Base", "Callable", "Decimal", "DeclarativeBase", "E", "IPv4Address", "IPv6Address",
    "Literal", "Mapped", "StrEnum", "TypeVar", "UUID",
    "dt", "mapped_column", "mysql", "pg", "relationship", "sa",
}  # fmt: skip
"""What tables.py imports, or defines itself."""
MODULES = _TABLES | {
    "AwareDatetime", "BaseModel", "BaseSchema", "ConfigDict", "Field", "NaiveDatetime",
}  # fmt: skip
"""The same of all modules."""
_BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))
_ANNOTATIONS = frozenset({"bool", "bytes", "float", "frozenset", "int", "list", "str", "type"})
"""Built-in names that annotations use: an attribute of that name would hide them."""
_SQLALCHEMY = frozenset({"metadata", "registry"})
PYDANTIC = frozenset(
    {
        "construct", "copy", "dict", "from_orm", "json", "model_computed_fields", "model_config",
        "model_construct", "model_copy", "model_dump", "model_dump_json", "model_extra",
        "model_fields", "model_fields_set", "model_json_schema", "model_parametrized_name",
        "model_post_init", "model_rebuild", "model_validate", "model_validate_json",
        "model_validate_strings", "parse_file", "parse_obj", "parse_raw", "schema", "schema_json",
        "update_forward_refs", "validate",
    }
)  # fmt: skip
"""Public attributes of pydantic's BaseModel."""
_ATTRIBUTES = _ANNOTATIONS | _SQLALCHEMY | PYDANTIC | MODULES
_ID = re.compile(r"(?<=[a-z0-9])(?:_id|_ID|Id|ID)$|(?<=[A-Z0-9])(?:_ID|_id)$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Namer:
    """Gives each thing of one room a name that no other one has."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)

    def choose(self, *candidates: str) -> str:
        """The first candidate that is free; else the last one with the least number that is."""
        for name in candidates:
            if name not in self.taken:
                break
        else:
            number = 2
            while f"{candidates[-1]}_{number}" in self.taken:
                number += 1
            name = f"{candidates[-1]}_{number}"
        self.taken.add(name)
        return name


def class_name(name: str) -> str:
    """``order_line``, ``order-line`` → ``OrderLine``; ``2fa`` → ``T2fa``."""
    words = [word for word in _plain(name).split("_") if word]
    joined = "".join(word[0].upper() + word[1:] for word in words)
    if not joined[:1].isalpha():
        joined = f"T{joined}"
    clash = keyword.iskeyword(joined) or joined in _BUILTINS or joined in _TABLES
    return f"{joined}_" if clash else joined


def attribute_name(name: str, classes: Collection[str] = ()) -> str:
    """The name itself where it can be one: ``order-line`` → ``order_line``, ``2fa`` → ``c_2fa``.

    What Python, SQLAlchemy, pydantic or the module (`classes`) have a use of their own for gets an
    underscore behind it.
    """
    plain = _plain(name)
    if not plain.isidentifier() or plain.startswith("_"):
        plain = f"c_{plain.lstrip('_')}".rstrip("_") if plain.strip("_") else "c"
    clash = keyword.iskeyword(plain) or plain in _ATTRIBUTES or plain in classes
    return f"{plain}_" if clash else plain


def member_names(labels: Iterable[str]) -> list[str]:
    """Names of an enum's members, in capitals: ``in stock`` → ``IN_STOCK``, ``5`` → ``LABEL_5``."""
    namer = Namer()
    names = []
    for place, label in enumerate(labels, 1):
        plain = _plain(label).upper().strip("_")
        if not plain:
            plain = f"LABEL_{place}"
        elif not plain.isidentifier() or keyword.iskeyword(plain):
            plain = f"LABEL_{plain}"
        names.append(namer.choose(plain if plain.isidentifier() else f"LABEL_{place}"))
    return names


def short(name: str) -> str:
    """A name put together of others, or its beginning and a hash where it got too long."""
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def snake(name: str) -> str:
    """``InvoiceLine`` → ``invoice_line``."""
    return re.sub(r"_+", "_", _HUMP.sub("_", _plain(name)).lower()).strip("_") or "c"


def without_id(name: str) -> str:
    """``customer_id``, ``CustomerId`` → ``customer``; '' for a name without such an end."""
    found = _ID.search(name)
    return snake(name[: found.start()]) if found else ""


def _plain(name: str) -> str:
    """The name with an underscore for whatever an identifier cannot hold."""
    text = unicodedata.normalize("NFKC", name)
    return "".join(c if c == "_" or f"a{c}".isidentifier() else "_" for c in text)
