"""An application's reads while the source has authority: a share of them, pinned, on the target."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from uuid import UUID

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from sqlalchemy import insert, select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.openfeature import ReadsProvider
from bridge.dualwrite.reading import After, Wish
from bridge.dualwrite.session import dual_read_sessionmaker, dual_sessionmaker
from bridge.errors import ConfigError
from tests.endtoend.dual import (
    be_patient,
    drop_application,
    dual_write,
    give_to_target,
    grant_dual_writes,
    grant_on_target,
)
from tests.endtoend.project import Project

pytestmark = pytest.mark.parametrize("source", ["mariadb"], indirect=True)
PATIENT = Wish(lag_seconds=600, wait_seconds=60)
"""Of a caller who does not mind how slow the machine is."""
ALL = replace(PATIENT, prefer="target")
UNKNOWN = After(10**12, UUID(int=7))


class Base(DeclarativeBase):
    """The application's models."""


class Thing(Base):
    """A row."""

    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str | None]


@pytest.fixture
def streaming(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Project, DualWrite]]:
    """A group that is written by the stream alone, while `sync` runs."""
    be_patient(monkeypatch)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE thing (id bigint AUTO_INCREMENT PRIMARY KEY, word text)")
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    grant_dual_writes(project)
    grant_on_target(project)
    project.run("cutover", "mode", "cdc")
    near = "SELECT 1 FROM dbbridge.daemon WHERE status ->> 'lag_seconds' IS NOT NULL"
    project.wait_until(lambda: bool(project.ask(near)), daemon=daemon)
    dual = dual_write(project)
    yield project, dual
    dual.close()
    dual.source.dispose()
    dual.target.dispose()
    drop_application(project)


def test_reads(streaming: tuple[Project, DualWrite]) -> None:
    project, dual = streaming
    writes, reads = dual_sessionmaker(dual), dual_read_sessionmaker(dual, "thing")

    def side(pin: str) -> str:
        return dual.reads_side("thing", replace(PATIENT, pin=pin))

    assert {side(str(pin)) for pin in range(50)} == {"source"}
    for number in range(20):  # whoever wrote sees it, by the stream
        with writes.begin() as session:
            session.add(Thing(word=f"w{number}"))
        after = session.after
        assert after is not None and After.parse(str(after)) == after
        with reads(wish=replace(ALL, after=after)) as reading:
            assert reading.get_bind() is dual.target
            assert reading.scalar(select(Thing.word).order_by(Thing.id.desc())) == f"w{number}"
    with writes.begin() as session:
        session.scalars(select(Thing)).all()
    assert session.after is None

    project.run("cutover", "reads", "30")
    project.wait_until(lambda: _share(side) > 0)
    drawn = {str(pin): side(str(pin)) for pin in range(200)}
    assert 30 < list(drawn.values()).count("target") < 90
    assert all(side(pin) == known for pin, known in drawn.items())
    began = time.monotonic()
    unseen = replace(ALL, after=UNKNOWN, wait_seconds=0.2)
    assert dual.reads("thing", unseen) is dual.source
    assert 0.2 <= time.monotonic() - began < 30

    with reads(wish=ALL) as reading, pytest.raises(InvalidRequestError):
        reading.execute(insert(Thing).values(word="no"))
    with reads(wish=ALL) as reading:
        reading.add(Thing(word="no"))
        with pytest.raises(InvalidRequestError):
            reading.flush()
    with pytest.raises(ConfigError, match="no group"):
        dual.reads("nothing")
    _flag(project, dual, drawn)
    _unfit(project, dual)


def _share(side: Callable[[str], str]) -> int:
    return [side(str(pin)) for pin in range(200)].count("target")


def _flag(project: Project, dual: DualWrite, drawn: dict[str, str]) -> None:
    """OpenFeature says the same."""
    api.set_provider(ReadsProvider(dual))
    client, name = api.get_client(), "dbbridge.reads.thing"
    try:
        for each, side in list(drawn.items())[:20]:
            assert client.get_string_value(name, "none", EvaluationContext(each)) == side
        user = EvaluationContext("7")
        assert asyncio.run(client.get_string_value_async(name, "none", user)) == drawn["7"]
        pin = next(pin for pin, side in drawn.items() if side == "target")
        seen = EvaluationContext(pin, {"after": str(UNKNOWN)})
        assert client.get_string_value(name, "none", seen) == "source"
        wrong = EvaluationContext(pin, {"after": "x"})
        for key, context, code in (
            (name, None, ErrorCode.TARGETING_KEY_MISSING),
            (name, wrong, ErrorCode.INVALID_CONTEXT),
            ("dbbridge.reads.nothing", user, ErrorCode.FLAG_NOT_FOUND),
            ("another", user, ErrorCode.FLAG_NOT_FOUND),
        ):
            found = client.get_string_details(key, "none", context)
            assert (found.value, found.error_code) == ("none", code)
        assert client.get_boolean_details(name, False, user).error_code == ErrorCode.TYPE_MISMATCH
    finally:
        api.clear_providers()


def _unknown_lag(project: Project, dual: DualWrite) -> None:
    """A daemon that was started, or cannot reach the source, does not know how far it is."""
    daemon = project.daemons[0]
    daemon.send(signal.SIGSTOP)
    try:
        said = project.ask("SELECT status::text FROM dbbridge.daemon")[0][0]
        for status, side in (
            ("{}", "source"),
            (said, "target"),
            ('{"lag_seconds": null}', "source"),
        ):
            project.ask(
                "UPDATE dbbridge.daemon SET renewed_at = now(), status = %s RETURNING 1", status
            )
            dual._reading._kept.clear()
            assert dual.reads_side("thing", ALL) == side
    finally:
        daemon.send(signal.SIGCONT)


def _unfit(project: Project, dual: DualWrite) -> None:
    """What the target may not answer, and what it alone answers."""

    def goes_to(side: str) -> None:
        project.wait_until(lambda: dual.reads_side("thing", ALL) == side)

    goes_to("target")
    _unknown_lag(project, dual)
    goes_to("target")
    pausing = "UPDATE dbbridge.tables SET paused = %s RETURNING 1"
    project.ask(pausing, True)
    goes_to("source")
    project.ask(pausing, False)
    goes_to("target")
    account = project.accounts.name
    with project.target.connect() as conn:
        conn.execute(f'ALTER ROLE "{account}" NOLOGIN'.encode())
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [account]
        )
        goes_to("source")
        conn.execute(f'ALTER ROLE "{account}" LOGIN'.encode())
    goes_to("target")
    give_to_target(project)
    wish = Wish(prefer="source")
    project.wait_until(lambda: dual.reads("thing", wish) is dual.target)
    with dual.reads("thing", wish).connect() as reading:
        assert reading.execute(text("SELECT count(*) FROM thing")).scalar() == 20
    closed = "SET authority = 'closed', epoch = epoch + 1"
    with closing(project.source.connect()) as there, there.cursor() as cursor:
        cursor.execute(f"UPDATE _bridge_authority {closed}")
    project.ask(f"UPDATE dbbridge.authority {closed} RETURNING 1")
    dual.lookout.looked = float("-inf")
    assert dual.reads("thing", wish) is dual.target  # who had it before
