"""An application writes through the layer: both sides have it, whatever the stream does."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from bridge.change.batch import Op
from bridge.dualwrite.authority import StaleEpoch
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.provisional import LONGEST_SECONDS, Committed
from bridge.dualwrite.recorder import NotCarried
from bridge.dualwrite.session import dual_sessionmaker
from bridge.errors import MappingError
from bridge.names import TableName
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import (
    DOCUMENT,
    be_patient,
    drop_application,
    dual_write,
    give_to_target,
    grant_dual_writes,
    grant_on_target,
    source_engine,
    target_engine,
)
from tests.endtoend.project import Project

TABLES = """
CREATE TABLE customer (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(80) NOT NULL,
    email varchar(80) UNIQUE, joined datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    balance decimal(12,2) NOT NULL DEFAULT 0);
CREATE TABLE note (id bigint AUTO_INCREMENT PRIMARY KEY, customer_id bigint NOT NULL,
    body text, FOREIGN KEY (customer_id) REFERENCES customer (id))"""
JOINED = datetime(2026, 1, 1)  # noqa: DTZ001 (as the column has it)


class Base(DeclarativeBase):
    """The application's models."""


class Customer(Base):
    """With what the database makes: a key, a time, a number of two places."""

    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str | None] = mapped_column(String(80))
    joined: Mapped[datetime] = mapped_column(server_default=text("CURRENT_TIMESTAMP"))
    balance: Mapped[Decimal] = mapped_column(server_default=text("0"))
    notes: Mapped[list[Note]] = relationship(
        back_populates="customer", cascade="all, delete-orphan"
    )


class Note(Base):
    """A child row."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    body: Mapped[str | None] = mapped_column(Text)
    customer: Mapped[Customer] = relationship(back_populates="notes")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture
def written(project: Project) -> Iterator[tuple[Project, DualWrite]]:
    """A pipeline that streams, its only group in provisional mode, and the layer."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES.split(";"):
            cursor.execute(statement)
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "provisional")
    dual = dual_write(project)
    yield project, dual
    dual.close()
    dual.source.dispose()
    dual.target.dispose()
    drop_application(project)


def rows(project: Project, query: str) -> list[tuple[object, ...]]:
    """Rows of the target's tables."""
    name = project.source.name
    return project.ask(query.format(customer=f'"{name}".customer', note=f'"{name}".note'))


def test_writes_are_there_before_the_stream(written: tuple[Project, DualWrite]) -> None:
    project, dual = written
    make = dual_sessionmaker(dual)
    with make.begin() as session:
        ada = Customer(name="Ada", email="ada@example.org", notes=[Note(body="a\tb\\n")])
        session.add_all([ada, Customer(name="Bob", balance=Decimal("1.005"))])
    assert dual.early.counts.by == {"applied": 1}
    assert rows(project, "SELECT name, balance FROM {customer} ORDER BY id") == [
        ("Ada", Decimal(0)),
        ("Bob", Decimal("1.01")),
    ]
    assert rows(project, "SELECT body FROM {note}") == [("a\tb\\n",)]

    with make.begin() as session:
        ada = session.scalars(select(Customer).where(Customer.name == "Ada")).one()
        ada.notes.clear()
        ada.balance += 5
        with session.begin_nested() as inner:
            session.add(Customer(name="nobody"))
            session.flush()
            inner.rollback()
    with make.begin() as session:  # over criteria, Core, several rows
        session.execute(update(Customer).where(Customer.balance < 5).values(name="poor"))
        session.execute(insert(Customer), [{"id": 10, "name": "x"}, {"id": 11, "name": "y"}])
        session.execute(delete(Customer).where(Customer.name == "y"))
    assert dual.early.counts.by == {"applied": 3}
    assert rows(project, "SELECT id, name FROM {customer} ORDER BY id") == [
        (1, "Ada"),
        (2, "poor"),
        (10, "x"),
    ]
    assert rows(project, "SELECT count(*) FROM {note}") == [(0,)]
    with make() as session:
        session.add(Customer(name="rolled back"))
        session.flush()
        session.rollback()
    assert dual.early.counts.by == {"applied": 3}

    status = project.status()
    assert status["unconfirmed_ops"] == 3
    (group,) = status["groups"]
    asked = ("group", "state", "authority", "mode", "epoch", "reads")
    said = tuple(group[name] for name in asked)
    assert said == ("customer", "source-primary", "source", "provisional", 1, 0)
    project.catch_up()
    assert project.status()["unconfirmed_ops"] == 0
    assert assert_same(project.source, project.target, tables=["customer", "note"]) == 3


def test_what_cannot_be_written_early_is_left_to_the_stream(
    written: tuple[Project, DualWrite],
) -> None:
    project, dual = written
    make = dual_sessionmaker(dual)
    with make.begin() as session:
        session.execute(text("INSERT INTO customer (name) VALUES ('text')"))
    with make.begin() as session:
        session.add(Customer(id=5, name="five", email="five@example.org"))
    with project.target.connect() as conn:  # in the way of the next one
        table = f'"{project.source.name}".customer'
        conn.execute(f"UPDATE {table} SET email = 'six@example.org' WHERE id = 5".encode())
    with make.begin() as session:
        session.add(Customer(name="six", email="six@example.org"))
    pausing = "UPDATE dbbridge.tables SET paused = %s WHERE source_table = 'note' RETURNING 1"
    project.ask(pausing, True)
    with make.begin() as session:
        session.add(Note(customer_id=5, body="paused"))
    project.ask(pausing, False)
    assert dual.early.counts.by == {"not-carried": 1, "applied": 1, "refused": 1, "table": 1}
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["customer", "note"]) == 4

    dual.close()
    strict = dual_write(project, strict=True)
    with pytest.raises(NotCarried), dual_sessionmaker(strict).begin() as session:
        session.execute(text("UPDATE customer SET name = 'strict'"))
    strict.close()


def test_a_stale_instance_is_refused_once(written: tuple[Project, DualWrite]) -> None:
    project, dual = written
    make = dual_sessionmaker(dual)
    with make.begin() as session:
        session.add(Customer(name="before"))
    dual.lookout.looked = float("inf")  # it does not see what changes now
    project.run("cutover", "reads", "10")
    with pytest.raises(StaleEpoch, match="nothing was written"), make.begin() as session:
        session.add(Customer(name="stale"))
    with make.begin() as session:
        session.add(Customer(name="after"))
    assert [name for (name,) in rows(project, "SELECT name FROM {customer} ORDER BY id")] == [
        "before",
        "after",
    ]


def test_the_target_being_away_hurts_nobody(written: tuple[Project, DualWrite]) -> None:
    project, dual = written
    make = dual_sessionmaker(dual)
    account = project.accounts.name
    with project.target.connect() as conn:
        conn.execute(f'ALTER ROLE "{account}" NOLOGIN'.encode())
        for number in range(3):
            with make.begin() as session:
                session.add(Customer(name=f"alone {number}"))
        assert set(dual.early.counts.by) == {"unreachable"}
        conn.execute(f'ALTER ROLE "{account}" LOGIN'.encode())
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["customer"]) == 3


def test_a_target_that_stands_still_is_not_waited_for(
    written: tuple[Project, DualWrite],
) -> None:
    project, dual = written
    make = dual_sessionmaker(dual)
    with make.begin() as session:
        session.add(Customer(name="first"))
    sessions = "SELECT pid FROM pg_stat_activity WHERE usename = %s AND application_name = %s"
    pids = project.ask(sessions, project.accounts.name, "dbbridge dual write")
    try:
        for (pid,) in pids:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with make.begin() as session:
            session.add(Customer(name="second"))
        assert time.monotonic() - began < 3 * LONGEST_SECONDS
    finally:
        for (pid,) in pids:
            os.kill(pid, signal.SIGCONT)
    assert dual.early.counts.by == {"applied": 1, "unreachable": 1}
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["customer"]) == 2


def test_once_the_target_has_authority_it_alone_is_written(
    written: tuple[Project, DualWrite],
) -> None:
    project, dual = written
    make = dual_sessionmaker(dual)
    give_to_target(project)
    with project.target.connect() as there:
        there.execute(f'ALTER TABLE "{project.source.name}".customer ALTER id RESTART 100'.encode())
    dual.lookout.looked = float("-inf")
    grant_on_target(project)
    with make.begin() as session:
        session.add(Customer(name="here", joined=JOINED, balance=Decimal(1)))
    assert rows(project, "SELECT name FROM {customer}") == [("here",)]
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM customer")
        assert cursor.fetchone() == (0,)
    dual.lookout.looked = float("inf")
    with project.target.connect() as there:
        there.execute("UPDATE dbbridge.authority SET epoch = epoch + 1")
    with pytest.raises(StaleEpoch), make.begin() as session:
        session.add(Customer(name="stale", joined=JOINED, balance=Decimal(1)))
    assert rows(project, "SELECT name FROM {customer}") == [("here",)]


def test_a_group_that_was_never_set_up_is_the_source_s(
    written: tuple[Project, DualWrite],
) -> None:
    project, dual = written
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("DELETE FROM _bridge_authority")
        cursor.execute(
            "INSERT INTO _bridge_authority (grp, pipeline, epoch, authority, mode)"
            " VALUES ('another', 'p', 1, 'source', 'cdc')"
        )
    with dual_sessionmaker(dual).begin() as session:
        session.add(Customer(name="unset"))
    assert not dual.early.counts.by
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["customer"]) == 1


def test_a_defect_of_the_early_write_is_no_failure_of_the_application(
    written: tuple[Project, DualWrite],
) -> None:
    project, dual = written
    make = dual_sessionmaker(dual)
    with (
        mock.patch.object(dual.early, "_statements", side_effect=ZeroDivisionError),
        make.begin() as session,
    ):
        session.add(Customer(name="all the same"))
    assert dual.early.counts.by == {"failed": 1}
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["customer"]) == 1


def test_the_documents_example(
    written: tuple[Project, DualWrite], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = written
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    monkeypatch.chdir(project.folder)
    for name, value in project.accounts.environment.items():
        monkeypatch.setenv(name, value)
    names = {
        "mysql_engine": source_engine(project),
        "postgres_engine": target_engine(project),
        "Customer": Customer,
    }
    exec(code, names)  # noqa: S102 (the document is ours)
    assert rows(project, "SELECT name FROM {customer}") == [("Ada",)]
    assert isinstance(names["dual"], DualWrite)
    names["dual"].close()
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["customer"]) == 1


def test_modes_are_checked(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE thing (id int PRIMARY KEY)")
    project.begin()
    said = project.run("cutover", "mode", "provisonal", code=2).err
    assert "did you mean provisional" in said or "known: cdc, shadow, provisional" in said
    assert "known: thing" in project.run("cutover", "mode", "cdc", "--group", "none", code=2).err
    said = project.run("cutover", "mode", "cdc", code=4).err
    assert "CREATE TABLE IF NOT EXISTS" in said and "_bridge_op" in said


def test_what_happened_before_the_stream_began_anew_is_forgotten(
    written: tuple[Project, DualWrite],
) -> None:
    project, dual = written
    held: list[tuple[Any, ...]] = []
    early = dual.early.write
    with (
        mock.patch.object(dual.early, "write", side_effect=lambda *a, **o: held.append((a, o))),
        dual_sessionmaker(dual).begin() as session,
    ):
        session.add(Customer(id=1, name="late", email=None))
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("UPDATE customer SET name = 'newer'")
    project.ask("UPDATE dbbridge.pipeline SET position_kind = NULL, position = NULL RETURNING 1")
    for table in ("customer", "note"):  # the position is lost: all is copied again
        project.run("tables", "resync", table)
    project.catch_up()
    ((arguments, options),) = held
    assert early(*arguments, **options) == "pruned"
    assert assert_same(project.source, project.target, tables=["customer"]) == 1


def test_a_source_without_the_operation_is_not_read(written: tuple[Project, DualWrite]) -> None:
    project, dual = written
    name = TableName(project.source.name, "customer")
    epochs = {group: one.epoch for group, one in dual.authorities().items()}
    strange = [Committed(epochs, Op(uuid4(), number), {name: {b"1"}}) for number in (1, 2)]
    assert dual.early.write(strange[0]) == "behind"
    dual.early.write_all(strange)
    assert dual.early.counts.by["behind"] == 3
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE note")
    with pytest.raises(MappingError, match="no table"):
        dual_write(project)


def test_a_table_of_another_name_is_held_on_the_target_too(project: Project) -> None:
    name = project.source.name
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE thing (id int PRIMARY KEY)")
    project.init()
    path = project.mapping("thing")
    text_, old = path.read_text(), f"-> {name}.thing"
    assert old in text_
    path.write_text(text_.replace(old, f"-> {name}.item"))
    project.apply_schema()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "cdc")
    give_to_target(project)
    grant_on_target(project)
    dual = dual_write(project)
    items = Table("item", MetaData(), Column("id", Integer, primary_key=True), schema=name)
    with dual.engine().begin() as there:
        there.execute(insert(items), {"id": 1})
    dual.lookout.looked = float("inf")
    project.ask("UPDATE dbbridge.authority SET epoch = epoch + 1 RETURNING 1")
    with pytest.raises(StaleEpoch), dual.engine().begin() as there:
        there.execute(insert(items), {"id": 2})
    assert project.ask(f'SELECT id FROM "{name}".item') == [(1,)]
    dual.close()
    dual.source.dispose()
    dual.target.dispose()
    drop_application(project)


def test_a_row_is_its_source_s_whatever_the_key_is_spelled_like(project: Project) -> None:
    """What the source takes for the same key is no other row, and nothing of it is removed."""
    name = project.source.name
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE word (code varchar(40) PRIMARY KEY, n int) DEFAULT CHARSET utf8mb4"
            " COLLATE utf8mb4_general_ci"
        )
        cursor.execute("CREATE TABLE price (amount decimal(6,2) PRIMARY KEY, n int)")
        cursor.execute("INSERT INTO word VALUES ('abc', 1), ('gone', 1)")
        cursor.execute("INSERT INTO price VALUES (0, 1)")
    with project.target.connect() as there:
        there.execute("CREATE EXTENSION IF NOT EXISTS citext")
    project.init()
    path = project.mapping("word")
    mapped, old = path.read_text(), "-> varchar(40)"
    assert old in mapped
    path.write_text(mapped.replace(old, "-> citext"))
    project.apply_schema()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "provisional")
    dual = dual_write(project)
    words = Table("word", MetaData(), Column("code", String(40), primary_key=True), _n())
    prices = Table("price", MetaData(), Column("amount", Numeric(6, 2), primary_key=True), _n())
    of_word = update(words).where(words.c.code == "ABC")
    of_price = update(prices).where(prices.c.amount == Decimal("-0.00"))

    def arrived() -> list[tuple[object, ...]]:
        query = f'SELECT code::text, n FROM "{name}".word UNION ALL'
        return project.ask(f'{query} SELECT amount::text, n FROM "{name}".price ORDER BY 1, 2')

    for statement in (of_word, of_price):  # nothing changes, so no event is to come
        with dual.engine([TableName(name, "word")]).begin() as conn_:
            conn_.execute(statement.values(n=1))
    assert dual.early.counts.by == {"refused": 2}
    assert arrived() == [("0.00", 1), ("abc", 1), ("gone", 1)]
    for changed in (of_word.values(n=2), of_price.values(n=2), delete(words).where(
        words.c.code == "gone"
    )):  # fmt: skip
        with dual.engine([TableName(name, "word")]).begin() as conn_:
            conn_.execute(changed)
    assert dual.early.counts.by == {"refused": 4, "applied": 1}
    assert arrived() == [("0.00", 1), ("abc", 1)]
    # Another row of the target by its own equality only: it has an event to come.
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("DELETE FROM word")
    with dual.engine([TableName(name, "word")]).begin() as conn_:
        conn_.execute(insert(words).values(code="Abc", n=3))
        conn_.execute(delete(words).where(words.c.code == "Abc"))
    assert dual.early.counts.by == {"refused": 4, "applied": 2}
    assert arrived() == [("0.00", 1), ("abc", 1)]
    project.catch_up()
    assert arrived() == [("0.00", 2)]
    assert assert_same(project.source, project.target, tables=["word", "price"]) == 1
    dual.close()
    dual.source.dispose()
    dual.target.dispose()
    drop_application(project)


def _n() -> Column[int]:
    return Column("n", Integer)


def test_names_may_hold_what_drivers_take_for_values(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE `100%s` (`%` int PRIMARY KEY, `%(b)s` varchar(20) UNIQUE)")
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "provisional")
    dual = dual_write(project)
    odd = Table(
        "100%s",
        MetaData(),
        Column("%", Integer, primary_key=True, autoincrement=False, key="id"),
        Column("%(b)s", String(20), key="word"),
    )
    with dual.engine().begin() as there:
        there.execute(insert(odd), [{"id": 1, "word": "one"}, {"id": 2, "word": "two"}])
    with dual.engine().begin() as there:
        there.execute(update(odd).where(odd.c.id == 1).values(word="%s"))
        there.execute(delete(odd).where(odd.c.id == 2))
    assert dual.early.counts.by == {"applied": 2}
    assert project.ask(f'SELECT * FROM "{project.source.name}"."100%%s"') == [(1, "%s")]
    project.catch_up()
    assert assert_same(project.source, project.target, tables=["100%s"]) == 1
    dual.close()
    dual.source.dispose()
    dual.target.dispose()
    drop_application(project)
