"""``tables.py`` of one side: SQLAlchemy's declarative classes."""

from __future__ import annotations

import re

from bridge.generate.constraints import constraints, options, table_arguments
from bridge.generate.defaults import filled, makers
from bridge.generate.helpers import helpers
from bridge.generate.layout import (
    Node,
    call,
    docstring,
    fits_docstring,
    heading,
    imports,
    keyword,
    literal,
    statement,
)
from bridge.generate.model import Attribute, Entity, Models
from bridge.generate.relations import Relation
from bridge.generate.shape import Labels, Shape, Side, joined

TITLES = {
    Side.legacy: "Tables of the source database, MySQL or MariaDB, as SQLAlchemy's classes.",
    Side.target: "Tables of the target database, PostgreSQL, as SQLAlchemy's classes.",
}
_STRING = re.compile(r"""\"(?:[^"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'""")
_ADDRESSES = ("IPv4Address", "IPv6Address")


def tables(models: Models, side: Side) -> list[str]:
    """The lines of the module."""
    body: list[list[str]] = [_enum(labels) for labels in models.labels]
    wanted = {shape.helper for e in models.entities for shape in _shapes(e, side)} - {""}
    base = ["class Base(DeclarativeBase):", docstring("What all tables belong to.", 1)]
    body += [text.splitlines() for text in helpers(wanted)]
    body.append(base)
    # A Table is not there before it is made, and classes name it only in texts.
    body += [_class(models, entity, side) for entity in models.entities if entity.plan.key]
    plain = [_table(models, entity, side) for entity in models.entities if not entity.plan.key]
    blocks = [*body, *([[line for lines in plain for line in ["", *lines]][1:]] if plain else [])]
    text = [line for block in blocks for line in ["", "", *block]][2:]
    heads = _imports(text, side)
    if wanted & {"EnumLabel", "EnumLabels"}:
        heads += ["", 'E = TypeVar("E", bound=StrEnum)']
    return [docstring(TITLES[side]), "", *heads, "", "", *text]


def summary(entity: Entity, side: Side) -> str:
    """A line about the table: the source's comment where it is short."""
    comment = entity.plan.table.comment
    if fits_docstring(comment):
        return comment
    named = f"The table {entity.table(side)}."
    return named if fits_docstring(named) else f"The rows of {entity.name}."[:90]


def _imports(body: list[str], side: Side) -> list[str]:
    """What the body uses, and nothing else."""
    text = "\n".join(line for line in body if not line.lstrip().startswith('"""'))
    words = set(re.findall(r"\w+", _STRING.sub("", text)))
    lines = ["import datetime as dt"] if "dt" in words else []
    lines += imports("collections.abc", [name for name in ("Callable",) if name in words])
    lines += imports("decimal", [name for name in ("Decimal",) if name in words])
    lines += imports("enum", [name for name in ("StrEnum",) if name in words])
    lines += imports("ipaddress", [name for name in _ADDRESSES if name in words])
    typing: list[str] = [name for name in ("Any", "Literal") if name in words]
    typing += ["TypeVar"] if words & {"EnumLabel", "EnumLabels"} else []
    lines += imports("typing", typing)
    lines += imports("uuid", [name for name in ("UUID",) if name in words])
    dialect = "mysql" if side is Side.legacy else "postgresql"
    short = "mysql" if side is Side.legacy else "pg"
    lines += ["", "import sqlalchemy as sa"] if "sa" in words else [""]
    if short in words:
        given = dialect if short == dialect else f"{dialect} as {short}"
        lines.append(f"from sqlalchemy.dialects import {given}")
    orm = [n for n in ("Mapped", "mapped_column", "relationship") if n in words]
    return [*lines, *imports("sqlalchemy.orm", ["DeclarativeBase", *orm])]


def _shapes(entity: Entity, side: Side) -> list[Shape]:
    return [attribute.shapes[side] for attribute in entity.attributes]


def _enum(labels: Labels) -> list[str]:
    lines = [*heading(labels.name, "StrEnum"), docstring("Labels that the column can have.", 1), ""]
    for name, label in labels.members:
        lines += statement(f"{name} = ", literal(label), 1)
    return lines


def _class(models: Models, entity: Entity, side: Side) -> list[str]:
    lines = [*heading(entity.name, "Base"), docstring(summary(entity, side), 1), ""]
    lines += statement("__tablename__ = ", literal(entity.table(side).table), 1)
    arguments = table_arguments(models, entity, side)
    if arguments is not None:
        lines += statement("__table_args__ = ", arguments, 1)
    lines.append("")
    for attribute in entity.attributes:
        lines += _column(entity, attribute, side)
    relations = entity.relations[side]
    lines += [""] if relations else []
    for relation in relations:
        lines += _relation(relation)
    return lines


def _column(entity: Entity, attribute: Attribute, side: Side) -> list[str]:
    shape = attribute.shapes[side]
    name = attribute.column(side)
    key = attribute in entity.key
    nullable = attribute.nullable(side) and not key
    column = call(
        "mapped_column",
        literal(name) if name != attribute.name else None,
        shape.sql,
        *makers(attribute, side),
        keyword("primary_key", "True") if key else None,
        keyword("nullable", str(nullable)) if shape.python == "Any" else None,
        *filled(entity, attribute, side),
        _comment(attribute),
    )
    annotation = joined(shape.python, "None" if nullable and shape.python != "Any" else "")
    return statement(f"{attribute.name}: Mapped[{annotation}] = ", column, 1)


def _comment(attribute: Attribute) -> Node | None:
    text = attribute.plan.source.comment.replace("\0", "")
    return keyword("comment", literal(text)) if text else None


def _relation(relation: Relation) -> list[str]:
    annotation = f'"{relation.other} | None"' if relation.nullable else f'"{relation.other}"'
    if relation.many:
        annotation = f'list["{relation.other}"]'
    own = relation.child == relation.parent
    pairs = zip(relation.local, relation.remote, strict=True)
    join = ", ".join(
        f"{relation.child}.{child} == {relation.parent}.{parent}" for child, parent in pairs
    )
    made = call(
        "relationship",
        keyword("back_populates", literal(relation.back)),
        keyword("foreign_keys", literal(_several(relation.child, relation.local))),
        keyword("remote_side", literal(_several(relation.parent, relation.remote)))
        if own and relation.up
        else None,
        keyword("primaryjoin", literal(f"and_({join})")) if relation.ambiguous else None,
        keyword("passive_deletes", literal("all")) if not relation.up else None,
        keyword("overlaps", literal(",".join(relation.overlaps))) if relation.overlaps else None,
    )
    return statement(f"{relation.name}: Mapped[{annotation}] = ", made, 1)


def _several(owner: str, attributes: tuple[str, ...]) -> str:
    named = ", ".join(f"{owner}.{attribute}" for attribute in attributes)
    return f"[{named}]"


def _table(models: Models, entity: Entity, side: Side) -> list[str]:
    columns = []
    for attribute in entity.attributes:
        name = attribute.column(side)
        columns.append(
            call(
                "sa.Column",
                literal(name),
                attribute.shapes[side].sql,
                *makers(attribute, side),
                *filled(entity, attribute, side),
                keyword("key", literal(attribute.name)) if name != attribute.name else None,
                keyword("nullable", "False") if not attribute.nullable(side) else None,
                _comment(attribute),
            )
        )
    made = call(
        "sa.Table",
        literal(entity.table(side).table),
        "Base.metadata",
        *columns,
        *constraints(models, entity, side),
        *(keyword(key, value) for key, value in options(models, entity, side)),
    )
    return statement(f"{entity.name} = ", made)
