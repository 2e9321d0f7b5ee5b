"""Answers that were given, so that a request with an Idempotency-Key is carried out once.

The answer is written in the transaction that it tells of: the key is taken first, so that a second
request waits there for the first one's end, and the answer is filled in before the commit.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    TypeDecorator,
    Uuid,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from bridge.dualwrite.http.problems import Problem
from bridge.dualwrite.reading import After
from bridge.replicate.ops import ANSWERS_TABLE, OPS_TABLE

_NAMES = uuid.UUID("0d1c6a0e-6a0c-5a52-9a44-2f0f6f4f7c11")
"""In which operations are named after callers and keys."""


class _Raw(TypeDecorator[uuid.UUID]):
    """A UUID in 16 bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """As the column has it."""
        return value.bytes if isinstance(value, uuid.UUID) else value


def _columns(name: Any) -> tuple[Column[Any], ...]:
    return (
        Column("op_id", name, primary_key=True),
        Column("request", LargeBinary),
        Column("answer", LargeBinary),
        Column("made", DateTime),
    )


_TABLES = {
    "source": Table(ANSWERS_TABLE, MetaData(), *_columns(_Raw)),
    "target": Table("answers", MetaData(), *_columns(Uuid()), schema="dbbridge"),
}
_OPS = Table(OPS_TABLE, MetaData(), Column("op_id", _Raw, primary_key=True), Column("seq", Integer))


class Taken(Exception):
    """The key was used before."""


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is to be carried out once: its operation, and a digest of what it asks."""

    op_id: uuid.UUID
    request: bytes

    @classmethod
    def of(cls, caller: str, key: str, asked: object) -> Once:
        """By the caller's name and his key; `asked` is all that the request says."""
        digest = hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).digest()
        return cls(uuid.uuid5(_NAMES, f"{caller}\0{key}"), digest)


def take(conn: Connection, side: str, once: Once) -> None:
    """Takes the key in the open transaction; raises Taken."""
    try:
        conn.execute(insert(_TABLES[side]).values(op_id=once.op_id, request=once.request))
    except IntegrityError as error:
        raise Taken from error


def keep(conn: Connection, side: str, once: Once, answer: bytes) -> None:
    """Fills the answer in."""
    table = _TABLES[side]
    conn.execute(update(table).where(table.c.op_id == once.op_id).values(answer=answer))


def given(engine: Engine, side: str, once: Once) -> tuple[bytes, str | None] | None:
    """The answer that was given, and its token; None if there is none.

    Raises Problem where the key stands for another request.
    """
    table = _TABLES[side]
    columns = [table.c.request, table.c.answer]
    if side == "source":
        number = select(_OPS.c.seq).where(_OPS.c.op_id == once.op_id).scalar_subquery()
        query = select(*columns, number)
    else:
        query = select(*columns, text("NULL"))
    with engine.connect() as conn:
        row = conn.execute(query.where(table.c.op_id == once.op_id)).one_or_none()
    if row is None:
        return None
    if bytes(row[0]) != once.request:
        raise Problem(
            422,
            "key-of-another-request",
            "this Idempotency-Key was used for another request",
            "give each request a key of its own, and the same only to its repetitions",
        )
    return bytes(row[1]), token(row[2], once.op_id)


def token(number: int | None, op_id: uuid.UUID) -> str | None:
    """What X-Bridge-After takes; None for what needs no waiting."""
    return None if number is None else str(After(number, op_id))


def forget(engine: Engine, side: str, hours: float, most: int = 1000) -> int:
    """Deletes some of the answers that are older; how many."""
    table = _TABLES[side]
    age = text(
        f"made < CURRENT_TIMESTAMP - INTERVAL {int(hours * 3600)} SECOND"
        if side == "source"
        else f"made < now() - interval '{int(hours * 3600)} seconds'"
    )
    with engine.begin() as conn:
        old = conn.scalars(select(table.c.op_id).where(age).order_by(table.c.made).limit(most))
        names = [uuid.UUID(bytes=each) if isinstance(each, bytes) else each for each in old]
        if names:
            conn.execute(delete(table).where(table.c.op_id.in_(names)))
    return len(names)
