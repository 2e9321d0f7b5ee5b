"""What SQLAlchemy's tutorial teaches, through the layer as without it.

`dual_club` is the application. It plays on plain sessions of MySQL, through the layer with
provisional writes, and through it on PostgreSQL once that has authority, and sees the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import sessionmaker

from bridge.dualwrite import lookout, opening, provisional
from bridge.dualwrite.authority import StaleEpoch
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.recorder import NotCarried
from bridge.dualwrite.session import dual_sessionmaker
from tests.acceptance.dual_club import (
    LEFT,
    STEPS,
    TABLES,
    Membership,
    an_insert_returns_rows_where_the_server_can,
    everything,
    play,
    two_tables_are_updated_at_once,
)
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import (
    app_name,
    drop_application,
    dual_write,
    grant_dual_writes,
    grant_on_target,
    move_to_target,
    source_url,
)
from tests.endtoend.project import Project

NAMES = ["address", "user_account", "membership", "device"]
OTHER = {"user_id": 50, "club": "other", "since": date(2020, 1, 1)}
PATIENCE = 60


@pytest.fixture
def plain(project: Project) -> Iterator[Engine]:
    """The application's tables, in its database and once more in one without the layer."""
    name = f"{project.source.name}_plain"
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        for database in (project.source.name, name):
            cursor.execute(f"USE {database}")
            for statement in TABLES.split(";"):
                cursor.execute(statement)
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"GRANT ALL ON {name}.* TO '{app_name(project)}'@'%'")
    url: URL = source_url(project).set(database=name)
    engine = create_engine(url)
    yield engine
    engine.dispose()
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
    drop_application(project)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is slow for some seconds is waited for, so that every write is made early."""
    for module in (lookout, provisional):
        monkeypatch.setattr(module, "LONGEST_SECONDS", float(PATIENCE))
    monkeypatch.setattr(opening, "CONNECT_SECONDS", PATIENCE)
    monkeypatch.setattr(opening, "READ_SECONDS", float(PATIENCE))
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(provisional.LIMITS, limit, f"{PATIENCE}s")


@pytest.fixture
def dual(project: Project, plain: Engine, patient: None) -> Iterator[DualWrite]:
    """The layer, in provisional mode."""
    project.run("cutover", "mode", "provisional")
    made = dual_write(project)
    yield made
    made.close()
    made.source.dispose()
    made.target.dispose()


def test_the_tutorial_runs_as_without_the_layer(
    project: Project, plain: Engine, dual: DualWrite
) -> None:
    make, other = dual_sessionmaker(dual), sessionmaker(plain)
    expected = play(other, STEPS)
    assert play(make, STEPS) == expected
    assert dual.early.counts.by == {"applied": 23}
    # what was written early is all of it: nothing streams yet
    assert assert_same(project.source, project.target, tables=NAMES) > 10

    for one in LEFT:
        before = dual.early.counts.by["not-carried"]
        expected[one.__name__] = one(other)
        assert one(make) == expected[one.__name__]
        assert dual.early.counts.by["not-carried"] > before, one.__name__
    rows = everything(other)
    assert everything(make) == rows
    for one in (two_tables_are_updated_at_once, an_insert_returns_rows_where_the_server_can):
        assert one(make) == one(other)
    assert everything(make) == everything(other)
    assert set(dual.early.counts.by) == {"applied", "not-carried"}
    project.catch_up()
    assert project.status()["unconfirmed_ops"] == 0
    assert assert_same(project.source, project.target, tables=NAMES) == len(rows)

    _refuses_what_no_transaction_holds(project, isolation_level="AUTOCOMMIT")
    _refuses_what_no_transaction_holds(project, connect_args={"autocommit": True})

    _empty(project)
    project.catch_up()
    move_to_target(project)
    grant_on_target(project)
    dual.lookout.looked = float("-inf")
    done = dict(dual.early.counts.by)
    seen = play(make, [*STEPS, *LEFT])
    assert seen == expected
    assert everything(make) == rows
    assert an_insert_returns_rows_where_the_server_can(make) == [("gary", 3), ("larry", 4)]
    assert dual.early.counts.by == done
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for table in NAMES:  # nothing of it went there
            assert cursor.execute(f"SELECT * FROM {table}") == 0
    dual.lookout.looked = float("inf")  # it does not see what changes now
    _refuses_a_stale_write_in_a_cte(project, make)


def _refuses_what_no_transaction_holds(project: Project, **options: Any) -> None:
    autocommitting = dual_write(project, **options)
    with dual_sessionmaker(autocommitting)() as session:
        with pytest.raises(NotCarried, match="AUTOCOMMIT"):
            session.execute(insert(Membership).values(OTHER))
        assert session.get(Membership, (50, "other")) is None
    autocommitting.close()
    autocommitting.source.dispose()
    autocommitting.target.dispose()


def _refuses_a_stale_write_in_a_cte(project: Project, make: sessionmaker[Any]) -> None:
    with project.target.connect() as there:
        there.execute("UPDATE dbbridge.authority SET epoch = epoch + 1")
    query = select(insert(Membership).values(OTHER).returning(Membership.club).cte())
    with make() as session:
        assert session.scalars(query).all() == ["other"]
        with pytest.raises(StaleEpoch):
            session.commit()
    with make.begin() as session:
        assert session.get(Membership, (50, "other")) is None
        assert session.scalars(query).all() == ["other"]


def _empty(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for table in NAMES:
            cursor.execute(f"DELETE FROM {table}")
