"""``schemas.py`` of one side: pydantic's models of rows, as that database holds them."""

from __future__ import annotations

import re

from bridge.generate.defaults import fills_itself
from bridge.generate.layout import call, docstring, heading, imports, keyword, literal, statement
from bridge.generate.model import SCHEMA, Attribute, Entity, Models
from bridge.generate.shape import Side, joined
from bridge.generate.tables import summary

_TITLES = {
    Side.legacy: "Rows of the source database, MySQL or MariaDB, as pydantic's models.",
    Side.target: "Rows of the target database, PostgreSQL, as pydantic's models.",
}
_BASE = '''\
class BaseSchema(BaseModel):
    """What all rows have in common: they are read from objects, and bytes travel as base64."""

    model_config = ConfigDict(
        from_attributes=True,
        protected_namespaces=(),
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )
'''
_STANDARD = (
    ("decimal", ("Decimal",)),
    ("ipaddress", ("IPv4Address", "IPv6Address")),
    ("typing", ("Any",)),
    ("uuid", ("UUID",)),
)


_FIELD = re.compile(r"    \w+: [^\"']* = Field\(")


def schemas(models: Models, side: Side) -> list[str]:
    """The lines of the module."""
    body = [line for entity in models.entities for line in ["", "", *_model(entity, side)]]
    words = _annotations(models, side)
    lines = ["import datetime as dt"] if "dt" in words else []
    for module, names in _STANDARD:
        lines += imports(module, [name for name in names if name in words])
    checks = [name for name in ("AwareDatetime", "NaiveDatetime") if name in words]
    fields = ["Field"] if any(_FIELD.match(line) for line in body) else []
    lines += [""] if lines else []
    lines += imports("pydantic", ["BaseModel", "ConfigDict", *checks, *fields])
    enums = imports(".tables", [each.name for each in models.labels if each.name in words])
    lines += ["", *enums] if enums else []
    return [docstring(_TITLES[side]), "", *lines, "", "", *_BASE.splitlines(), *body]


def _annotations(models: Models, side: Side) -> set[str]:
    """The words of all annotations."""
    shapes = [each.shapes[side] for entity in models.entities for each in entity.attributes]
    text = " ".join(shape.checked or shape.python for shape in shapes)
    return set(text.replace("[", " ").replace("]", " ").replace(".", " ").split())


def _model(entity: Entity, side: Side) -> list[str]:
    lines = [
        *heading(f"{entity.name}{SCHEMA}", "BaseSchema"),
        docstring(summary(entity, side), 1),
        "",
    ]
    for attribute in entity.attributes:
        lines += _field(entity, attribute, side)
    return lines


def _field(entity: Entity, attribute: Attribute, side: Side) -> list[str]:
    shape = attribute.shapes[side]
    nullable = attribute.nullable(side) and attribute not in entity.key
    python = shape.checked or shape.python
    annotation = joined(python, "None" if nullable and python != "Any" else "")
    prefix = f"{attribute.name}: {annotation}"
    empty = nullable and not fills_itself(entity, attribute, side)
    comment = attribute.plan.source.comment
    arguments = [
        *(["default=None"] if empty else []),
        *(keyword(name, value) for name, value in shape.limits.items()),
        *([keyword("description", literal(comment))] if comment else []),
    ]
    if arguments == ["default=None"]:
        return statement(f"{prefix} = ", "None", 1)
    if not arguments:
        return statement(prefix, "", 1)
    return statement(f"{prefix} = ", call("Field", *arguments), 1)
