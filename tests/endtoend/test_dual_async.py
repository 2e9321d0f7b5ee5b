"""The same layer under asyncio: the event loop never waits for the other side."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from unittest import mock

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bridge.dualwrite.aio import dual_async_sessionmaker
from bridge.dualwrite.opening import open_dual_write
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import (
    be_patient,
    drop_application,
    grant_dual_writes,
    source_url,
    target_url,
)
from tests.endtoend.project import Project

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)


class Base(DeclarativeBase):
    """The application's models."""


class Thing(Base):
    """A row."""

    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str | None]


async def write(project: Project) -> dict[str, int]:
    """Some transactions at the same time; what became of them."""
    source = create_async_engine(source_url(project, "mysql+aiomysql"))
    target = create_async_engine(
        target_url(project), connect_args={"options": f"-csearch_path={project.source.name}"}
    )
    with mock.patch.dict(os.environ, project.accounts.environment):
        dual = open_dual_write(
            project.folder / "bridge.yaml", source=source.sync_engine, target=target.sync_engine
        )
    make = dual_async_sessionmaker(dual, source, target)

    async def one(number: int) -> None:
        async with make.begin() as session:
            session.add(Thing(word=f"w{number}"))
        async with make.begin() as session:
            await session.execute(
                update(Thing).where(Thing.word == f"w{number}").values(word=f"v{number}")
            )

    await asyncio.gather(*(one(number) for number in range(5)))
    async with make() as session:
        found = (await session.scalars(select(Thing.word).order_by(Thing.word))).all()
    assert found == [f"v{number}" for number in range(5)]
    counts = dict(dual.early.counts.by)
    dual.close()
    await source.dispose()
    await target.dispose()
    return counts


def test_sessions_of_asyncio(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE thing (id bigint AUTO_INCREMENT PRIMARY KEY, word text)")
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "provisional")
    assert asyncio.run(write(project)) == {"applied": 10}
    assert sorted(project.ask(f'SELECT word FROM "{project.source.name}".thing')) == [
        (f"v{number}",) for number in range(5)
    ]
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["thing"]) == 5
    drop_application(project)
