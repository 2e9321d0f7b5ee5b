"""What the layer costs the source: one statement for each commit that wrote something.

Counted by the server itself, on the very session that writes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from bridge.dualwrite.session import dual_sessionmaker
from tests.endtoend.dual import (
    be_patient,
    drop_application,
    dual_write,
    grant_dual_writes,
    source_engine,
)
from tests.endtoend.project import Project


class Base(DeclarativeBase):
    """The application's models."""


class Item(Base):
    """A row."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]


def add(session: Session) -> None:
    session.add(Item(id=1, n=1))


def change(session: Session) -> None:
    session.get_one(Item, 1).n += 1


def remove(session: Session) -> None:
    session.delete(session.get_one(Item, 1))


def insert_row(session: Session) -> None:
    session.execute(insert(Item).values(id=2, n=2))


def update_row(session: Session) -> None:
    session.execute(update(Item).where(Item.id == 2).values(n=Item.n + 1))


def delete_row(session: Session) -> None:
    session.execute(delete(Item).where(Item.id == 2))


def read(session: Session) -> None:
    session.execute(select(Item)).all()


def nothing(session: Session) -> None:
    session.connection()


WRITES = [add, change, remove, insert_row, update_row, delete_row]
READS = [read, nothing]


def questions(engine: Engine) -> int:
    """Statements that the engine's only session has given, this one among them."""
    with closing(engine.raw_connection()) as conn, closing(conn.cursor()) as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
        ((_, count),) = cursor.fetchall()
        return int(count)


def cost(make: sessionmaker[Any], engine: Engine, work: Callable[[Session], None]) -> int:
    """Statements of a transaction, the connection's reset included, and one of `questions`."""
    before = questions(engine)
    with make.begin() as session:
        work(session)
    return questions(engine) - before


def test_a_commit_costs_the_source_one_statement_more(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id int PRIMARY KEY, n int NOT NULL)")
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "provisional")
    plain, dual = source_engine(project), dual_write(project)
    try:
        steps = [*READS, *WRITES]
        for engine in (plain, dual.source):
            questions(engine)  # connecting asks, too
        alone = {one.__name__: cost(sessionmaker(plain), plain, one) for one in steps}
        make = dual_sessionmaker(dual)
        layered = {one.__name__: cost(make, dual.source, one) for one in steps}
        more = {one.__name__: 1 for one in WRITES} | {one.__name__: 0 for one in READS}
        assert {name: layered[name] - alone[name] for name in alone} == more
        assert alone["nothing"] < alone["insert_row"]
        assert dual.early.counts.by == {"applied": len(WRITES)}
    finally:
        dual.close()
        for engine in (plain, dual.source, dual.target):
            engine.dispose()
        drop_application(project)
