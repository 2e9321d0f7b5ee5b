"""Sample schemas and the packages generated from them; rows of any kind for their classes."""

from __future__ import annotations

import datetime as dt
import importlib
import re
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

import pydantic
import pytest
import sqlalchemy as sa
from psycopg import sql
from pymysql.cursors import Cursor

from bridge.cli.main import main
from compose.local.servers import Server
from tests.acceptance.samples import statements
from tests.endtoend.project import CHECKOUT
from tests.fix_servers import SourceDatabase, TargetDatabase

ODD = CHECKOUT / "tests" / "data" / "generate"
SAMPLES = CHECKOUT.parent / "shared" / "data"
_ROWS = re.compile(r"(INSERT|UPDATE|COMMIT|SET autocommit)\b", re.IGNORECASE)
_RENAMED = (
    ("order_line", "table: (\\S+) -> (\\S+)\\.order_line", r"table: \1 -> sales.Lines"),
    ("kinds", "(?m)^  day: +(.+)$", r"  day: {type: \1, name: on_day}"),
    (
        "kinds",
        "(?m)^  never: .*$",
        "  never: {type: date not null -> date null, zero_date: as-null}",
    ),
    ("kinds", "(?m)^  uuid: .*$", "  uuid: binary(16) -> uuid"),
    ("kinds", "(?m)^  gone: .*$", "  gone: {type: dropped, reason: nothing reads it}"),
)
"""Edits of mapping files: table, pattern, and what stands there then."""


@dataclass(frozen=True)
class Sample:
    """A schema, the folder of its settings, and both packages in it."""

    name: str
    folder: Path
    source: SourceDatabase
    target: TargetDatabase

    def run(self, *words: str) -> int:
        """A verb with the sample's settings; its exit code."""
        return main([*words, "-c", str(self.folder / "bridge.yaml")])

    @property
    def package(self) -> str:
        """The name under which Python finds both packages."""
        return f"{self.folder.parent.name}_{self.name}"

    @property
    def models(self) -> Path:
        """Where they are."""
        return self.folder / self.package

    def module(self, side: str) -> ModuleType:
        """One side, imported."""
        return importlib.import_module(f"{self.package}.{side}")


def scripts(name: str, kind: str) -> list[Path]:
    """The scripts that make a sample's tables; [] where they are not there."""
    if name == "odd":
        return [ODD / "odd.sql", ODD / f"odd-{kind}.sql"]
    path = SAMPLES / {"sakila": "sakila-schema.sql", "chinook": "chinook.sql"}[name]
    return [path] if path.is_file() else []


@contextmanager
def sample(
    name: str, source: Server, target: Server, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[Sample]:
    """A sample's databases and files; models are written."""
    folder = folder / name
    made = f"t_{secrets.token_hex(5)}_{name}"
    here, there = SourceDatabase(source, made), TargetDatabase(target, made)
    admin = TargetDatabase(target, "postgres")
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(made))
    everywhere = SourceDatabase(source, "mysql")
    with closing(everywhere.connect()) as mysql, mysql.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {made}")
        cursor.execute(f"CREATE DATABASE {made} CHARACTER SET utf8mb4")
        with admin.connect() as postgres:
            postgres.execute(drop)
            postgres.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(made)))
            try:
                yield _generated(Sample(name, folder, here, there), patch)
            finally:
                cursor.execute(f"DROP DATABASE {made}")
                postgres.execute(drop)


def _generated(one: Sample, patch: pytest.MonkeyPatch) -> Sample:
    """As a user does it; the passwords are in variables, as `init` asks for it."""
    patch.setenv("LEGACY_PASSWORD", one.source.server.password)
    patch.setenv("MAIN_PASSWORD", one.target.server.password)
    patch.delenv("BRIDGE_ENVIRONMENT", raising=False)
    patch.syspath_prepend(one.folder)
    found = scripts(one.name, one.source.server.kind)
    wanted = [each for path in found for each in statements(path.read_text())]
    with closing(one.source.connect(init_command="SET foreign_key_checks=0")) as conn:
        for statement in wanted:
            if not _ROWS.match(statement):
                conn.cursor().execute(statement)
    urls = ("--source", one.source.url, "--target", one.target.url)
    assert main(["init", *urls, "--dir", str(one.folder)]) == 0
    _decide(one)
    assert one.run("generate", "--dir", str(one.models)) == 0
    return one


def _decide(one: Sample) -> None:
    mappings = one.folder / "mappings" / one.source.name
    for path in mappings.glob("*.yaml"):
        text = path.read_text()
        text = re.sub(r"(?m)^(  \w+: +)\S.*-> undecided.*$", r"\1{type: dropped, reason: x}", text)
        for table, pattern, instead in _RENAMED if one.name == "odd" else ():
            if path.stem == table:
                text, count = re.subn(pattern, instead, text)
                assert count == 1, (pattern, text)
        path.write_text(text)


@contextmanager
def created(one: Sample, side: str) -> Iterator[tuple[ModuleType, sa.Engine]]:
    """A side's module, and an empty database in which its tables were made."""
    module = one.module(side)
    with _empty_source(one) if side == "legacy" else _empty_target(one, module) as engine:
        module.Base.metadata.create_all(engine)
        yield module, engine
        engine.dispose()


@contextmanager
def _empty_source(one: Sample) -> Iterator[sa.Engine]:
    name = f"{one.source.name}_new"
    url = sa.make_url(one.source.url).set(drivername="mysql+pymysql", database=name)
    with closing(one.source.connect()) as conn, conn.cursor(Cursor) as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield sa.create_engine(url, connect_args={"init_command": "SET foreign_key_checks=0"})
        finally:
            cursor.execute(f"DROP DATABASE {name}")


@contextmanager
def _empty_target(one: Sample, module: ModuleType) -> Iterator[sa.Engine]:
    url = sa.make_url(one.target.url).set(drivername="postgresql+psycopg")
    found = {table.schema for table in module.Base.metadata.tables.values()}
    schemas = [sql.Identifier(schema) for schema in found if schema]
    with one.target.connect() as admin:
        for schema in schemas:
            admin.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        try:
            options = "-c session_replication_role=replica"
            yield sa.create_engine(url, connect_args={"options": options})
        finally:
            for schema in schemas:
                admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def value(field: pydantic.fields.FieldInfo, number: int) -> Any:
    """A value that the field allows: 1 for ordinary ones, 2 for those at the edge."""
    kinds = [field.annotation]
    if get_origin(field.annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
        if number == 2 and type(None) in get_args(field.annotation):
            return None
    limits: dict[str, Any] = {}
    for rule in field.metadata:
        limits |= {name: getattr(rule, name) for name in _LIMITS if hasattr(rule, name)}
    return _value(kinds[0], number == 2, limits)


_LIMITS = ("ge", "le", "max_length", "min_length", "max_digits", "decimal_places")


def _value(kind: Any, edge: bool, limits: dict[str, Any]) -> Any:
    if kind is int and limits.get("le") == 2155:
        return 2155 if edge else 1901  # the server reads 1 as 2001
    if kind is int:
        return limits["le" if edge else "ge"] if edge or limits.get("ge", 0) > 0 else 1
    if kind is Decimal:
        whole = limits["max_digits"] - limits["decimal_places"]
        nines = f"{'9' * whole}.{'9' * limits['decimal_places']}"
        return Decimal(nines) if edge else Decimal(1 if whole else 0)
    if kind is str:
        longest = limits.get("max_length", 20)
        return "1" * longest if limits.get("min_length") else "é" * min(longest, 3) * edge or "1"
    if kind is bytes:
        return b"\0\xff\\'" * 9 if "max_length" not in limits else b"\xfe" * limits["max_length"]
    if get_origin(kind) is frozenset:
        members = list(get_args(kind)[0])
        return frozenset(members if edge else members[1:2])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)[-1] if edge else next(iter(kind))
    return _PLAIN[kind][edge]


_ZONED = dt.datetime(2024, 2, 29, 12, 30, 15, tzinfo=dt.UTC)
_PLAIN: dict[Any, tuple[Any, Any]] = {
    bool: (True, False),
    float: (1.5, 0.25),
    Any: ({"a": [1, None, "é"]}, "text"),
    UUID: (UUID(int=1), UUID(int=2**128 - 1)),
    IPv4Address: (IPv4Address("10.0.0.1"), IPv4Address("255.255.255.255")),
    IPv6Address: (IPv6Address("::1"), IPv6Address("fe80::1")),
    dt.date: (dt.date(2024, 2, 29), dt.date(9999, 12, 31)),
    dt.time: (dt.time(12, 30), dt.time(23, 59, 59)),
    dt.timedelta: (dt.timedelta(hours=-1, seconds=-1), -dt.timedelta(hours=838, minutes=59)),
    pydantic.NaiveDatetime: (_ZONED.replace(tzinfo=None), dt.datetime(2001, 1, 1)),  # noqa: DTZ001
    pydantic.AwareDatetime: (_ZONED, dt.datetime(2001, 1, 1, tzinfo=dt.UTC)),
}
