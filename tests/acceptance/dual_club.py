"""An application for `test_dual_tutorial`, which does what SQLAlchemy's tutorial teaches.

Each step takes a maker of sessions, as an application has one, and returns what it saw: rows, keys,
or an exception's name. Nothing in it knows of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    String,
    Table,
    Uuid,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.exc import CompileError, IntegrityError, InvalidRequestError, NoResultFound
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    sessionmaker,
)
from sqlalchemy.orm.exc import StaleDataError

Make = sessionmaker[Any]
Step = Callable[[Make], Any]
STEPS: list[Step] = []
"""What the layer can follow, in the order of this file."""
LEFT: list[Step] = []
"""What the document says that it leaves to the stream; they come after the others."""

TABLES = """
CREATE TABLE user_account (id int AUTO_INCREMENT PRIMARY KEY, name varchar(30) NOT NULL,
    fullname varchar(120), points int NOT NULL DEFAULT 7,
    created datetime NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE address (id int AUTO_INCREMENT PRIMARY KEY, email_address varchar(120) UNIQUE,
    user_id int NOT NULL, FOREIGN KEY (user_id) REFERENCES user_account (id));
CREATE TABLE membership (user_id int NOT NULL, club varchar(20) NOT NULL, since date NOT NULL,
    PRIMARY KEY (user_id, club));
CREATE TABLE device (id char(32) PRIMARY KEY, label varchar(20) NOT NULL)"""


class Base(DeclarativeBase):
    """The application's models."""


class User(Base):
    """Somebody."""

    __tablename__ = "user_account"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30))
    fullname: Mapped[str | None] = mapped_column(String(120))
    points: Mapped[int] = mapped_column(server_default=text("7"))
    created: Mapped[datetime] = mapped_column(server_default=text("CURRENT_TIMESTAMP"))
    addresses: Mapped[list[Address]] = relationship(
        back_populates="user", cascade="all, delete-orphan", order_by="Address.id"
    )


class Address(Base):
    """Where mail reaches somebody."""

    __tablename__ = "address"
    id: Mapped[int] = mapped_column(primary_key=True)
    email_address: Mapped[str | None] = mapped_column(String(120), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    user: Mapped[User] = relationship(back_populates="addresses")


class Membership(Base):
    """With a key of two columns, which the application makes."""

    __tablename__ = "membership"
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    club: Mapped[str] = mapped_column(String(20), primary_key=True)
    since: Mapped[date]


class Device(Base):
    """With a key that is stored in another form."""

    __tablename__ = "device"
    id: Mapped[UUID] = mapped_column(Uuid(native_uuid=False), primary_key=True)
    label: Mapped[str] = mapped_column(String(20))


PHONE = UUID("01234567-89ab-cdef-0123-456789abcdef")
people, mail, members = (cast(Table, one.__table__) for one in (User, Address, Membership))


def play(make: Make, steps: Sequence[Step]) -> dict[str, Any]:
    """What each step saw, by its name."""
    return {one.__name__: one(make) for one in steps}


def everything(make: Make) -> list[Any]:
    """All rows, but for times, and keys after which servers count on once they refused a row."""
    with make() as session:
        users = session.execute(
            select(User.id, User.name, User.fullname, User.points).order_by(User.id)
        ).all()
        times = session.scalars(select(User.created)).all()
        assert all(isinstance(one, datetime) for one in times)
        addresses = select(Address.email_address, Address.user_id).order_by(Address.email_address)
        clubs = select(members).order_by(members.c.user_id, members.c.club)
        devices = select(Device.id, Device.label).order_by(Device.id)
        rest = [row for query in (addresses, clubs, devices) for row in session.execute(query)]
        return [*users, *rest]


def step(function: Step) -> Step:
    """Adds one to `STEPS`."""
    STEPS.append(function)
    return function


def left(function: Step) -> Step:
    """Adds one to `LEFT`."""
    LEFT.append(function)
    return function


def raised(function: Callable[[], object]) -> str:
    """The name of what it raises, '' if it ends well."""
    try:
        function()
    except (CompileError, IntegrityError, InvalidRequestError, StaleDataError) as error:
        return type(error).__name__
    return ""


# -- objects that are new ----------------------------------------------------------------------


@step
def objects_are_added_with_generated_keys(make: Make) -> Any:
    with make() as session:
        sponge = User(name="spongebob", fullname="Spongebob Squarepants")
        sandy = User(name="sandy", fullname="Sandy Cheeks", points=1)
        session.add_all([sponge, sandy, User(name="patrick")])
        before = sponge.id
        session.flush()
        keys = [before, sponge.id, sandy.id, sponge.points, type(sponge.created).__name__]
        sponge.addresses.append(Address(email_address="spongebob@sqlalchemy.org"))
        sandy.addresses = [
            Address(email_address="sandy@sqlalchemy.org"),
            Address(email_address="sandy@squirrelpower.org"),
        ]
        session.commit()
        return [*keys, [one.id for one in sandy.addresses], sandy.addresses[0].user is sandy]


@step
def one_row_is_inserted_by_core(make: Make) -> Any:
    with make.begin() as session:
        result = session.connection().execute(insert(people).values(name="squidward"))
        return tuple(result.inserted_primary_key)


@step
def rows_are_inserted_with_their_keys(make: Make) -> Any:
    rows = [
        {"user_id": 1, "club": "Öl & Salz", "since": date(2024, 2, 29)},
        {"user_id": 1, "club": "chess", "since": date(1999, 12, 31)},
        {"user_id": 2, "club": "chess", "since": date(2001, 1, 1)},
    ]
    with make.begin() as session:
        session.execute(insert(Membership), rows)
    with make.begin() as session:
        session.connection().execute(insert(members), [{**row, "user_id": 3} for row in rows[:2]])
        return session.scalar(select(func.count()).select_from(Membership))


# -- reading -----------------------------------------------------------------------------------


@step
def selects_join_group_and_nest(make: Make) -> Any:
    with make() as session:
        pairs = session.execute(
            select(User.name, Address.email_address).join(User.addresses).order_by(Address.id)
        ).all()
        counted = (
            select(mail.c.user_id, func.count(mail.c.id).label("n"))
            .group_by(mail.c.user_id)
            .having(func.count(mail.c.id) > 1)
        )
        nested = counted.subquery()
        joined = session.execute(
            select(people.c.name, nested.c.n).join_from(people, nested).order_by(people.c.id)
        ).all()
        named = counted.cte("counted")
        through = session.execute(
            select(User.name, named.c.n).join(named, named.c.user_id == User.id).order_by(User.id)
        ).all()
        other = aliased(User)
        later = session.execute(
            select(User.name, other.name)
            .join(other, User.id < other.id)
            .where(other.id < 4)
            .order_by(User.id, other.id)
        ).all()
        return pairs, joined, through, later


@step
def selects_use_scalars_sets_and_windows(make: Make) -> Any:
    with make() as session:
        newest = select(func.max(mail.c.id)).where(mail.c.user_id == people.c.id).scalar_subquery()
        rows = session.execute(
            select(people.c.name, newest.label("newest")).where(people.c.id < 4).order_by("name")
        ).all()
        either = select(User).where(User.name == "sandy")
        both = either.union_all(select(User).where(User.name == "spongebob")).subquery()
        union = session.execute(select(both.c.name).order_by(both.c.name)).all()
        some = exists().where(Address.user_id == User.id).where(Address.email_address.like("s%"))
        existing = session.scalars(select(User.name).where(some).order_by(User.id)).all()
        rank = func.row_number().over(partition_by=mail.c.user_id, order_by=mail.c.id)
        numbered = session.execute(select(rank, mail.c.id).order_by(mail.c.id)).all()
        said = session.execute(
            text(
                "WITH few AS (SELECT id, name FROM user_account WHERE id < :most)"
                " SELECT name FROM few ORDER BY id"
            ),
            {"most": 3},
        ).all()
        return rows, union, existing, numbered, said


@step
def related_objects_load_in_all_ways(make: Make) -> Any:
    with make() as session:
        eager = session.scalars(
            select(User).options(selectinload(User.addresses)).order_by(User.id).limit(2)
        ).all()
        first = [(one.name, [a.email_address for a in one.addresses]) for one in eager]
        joined = session.scalars(
            select(Address).options(joinedload(Address.user)).order_by(Address.id).limit(2)
        ).all()
        lazy = session.get_one(User, 2)
        same = session.get(User, 2) is lazy
        missing = session.get(User, 999)
        return first, [a.user.name for a in joined], len(lazy.addresses), same, missing


# -- updates -----------------------------------------------------------------------------------


@step
def an_update_takes_from_a_correlated_subquery(make: Make) -> Any:
    first = (
        select(mail.c.email_address)
        .where(mail.c.user_id == people.c.id)
        .order_by(mail.c.id)
        .limit(1)
        .scalar_subquery()
    )
    with make.begin() as session:
        result = session.connection().execute(
            update(people).values(fullname=first).where(people.c.fullname.is_(None))
        )
        return result.rowcount >= 1


@step
def an_update_takes_from_another_table(make: Make) -> Any:
    with make.begin() as session:
        session.connection().execute(
            update(people)
            .where(people.c.id == mail.c.user_id)
            .where(mail.c.id == 3)
            .values(fullname="Pat")
        )
        return session.scalars(
            select(User.name).where(User.fullname == "Pat").order_by(User.id)
        ).all()


@step
def updates_of_many_rows_have_their_own_criteria(make: Make) -> Any:
    statement = (
        update(people)
        .where(people.c.name == bindparam("oldname"))
        .values(name=bindparam("newname"))
    )
    with make.begin() as session:
        session.connection().execute(
            statement,
            [
                {"oldname": "patrick", "newname": "pat"},
                {"oldname": "pat", "newname": "patrick star"},
                {"oldname": "nobody", "newname": "somebody"},
            ],
        )
        return session.scalars(select(User.name).where(User.name.like("pat%"))).all()


@step
def objects_are_updated_in_bulk_by_their_keys(make: Make) -> Any:
    with make.begin() as session:
        session.execute(
            update(User),
            [{"id": 1, "fullname": "Spongebob S."}, {"id": 3, "fullname": "Patrick", "points": 2}],
        )
        session.execute(
            update(Membership),
            [{"user_id": 1, "club": "chess", "since": date(2000, 1, 1)}],
        )
        return session.execute(
            select(User.id, User.fullname).where(User.id < 4).order_by(User.id)
        ).all()


@step
def objects_follow_updates_with_criteria(make: Make) -> Any:
    with make.begin() as session:
        sandy = session.scalars(select(User).where(User.name == "sandy")).one()
        session.execute(
            update(User).where(User.name.in_(["sandy"])).values(points=User.points + 10),
            execution_options={"synchronize_session": "fetch"},
        )
        session.execute(update(User).where(User.id == sandy.id).values(name="sandy c."))
        first = sandy.points, sandy.name
        session.execute(update(User).where(~((User.id == 1) & (User.points > 5))).values(points=0))
        return first, session.scalars(select(User.id).where(User.points > 0).order_by("id")).all()


@step
def a_unit_of_work_writes_what_changed(make: Make) -> Any:
    with make() as session:
        user = session.get_one(User, 1)
        user.fullname, user.points = "Spongebob", User.points + 5
        user.addresses[0].email_address = "bob@sqlalchemy.org"
        dirty = user in session.dirty
        # the query flushes first
        found = session.scalar(select(User.points).where(User.fullname == "Spongebob"))
        with session.no_autoflush:
            user.fullname = "unseen"
            unseen = session.scalar(select(User.id).where(User.fullname == "unseen"))
        session.commit()
        return dirty, found, unseen, user.fullname


# -- transactions ------------------------------------------------------------------------------


@step
def savepoints_keep_what_is_around_them(make: Make) -> Any:
    seen = []
    with make() as session:
        session.add(User(name="outer"))
        for address in ("new@save.org", "bob@sqlalchemy.org"):
            try:
                with session.begin_nested():
                    session.add(Address(email_address=address, user_id=1))
            except IntegrityError:
                seen.append(address)
        inner = session.begin_nested()
        session.add(User(name="inner"))
        session.flush()
        inner.rollback()
        session.commit()
        names = select(User.name).where(User.name.in_(["outer", "inner"]))
        return seen, session.scalars(names).all()


@step
def a_rollback_brings_objects_back(make: Make) -> Any:
    with make() as session:
        user = session.get_one(User, 1)
        user.name = "changed"
        gone = User(name="gone")
        session.add(gone)
        session.flush()
        session.execute(delete(Membership).where(Membership.user_id == 3))
        session.rollback()
        return (
            user.name,
            gone in session,
            session.scalar(
                select(func.count()).select_from(Membership).where(Membership.user_id == 3)
            ),
        )


@step
def objects_expire_and_refresh(make: Make) -> Any:
    with make() as session, make() as other:
        mine = session.get_one(User, 3)
        before = mine.fullname
        session.commit()
        other.get_one(User, 3).fullname = "by another"
        other.commit()
        after = mine.fullname
        mine.fullname = "discarded"
        session.expire(mine, ["fullname"])
        expired = mine.fullname
        mine.points = 77
        session.refresh(mine)
        session.commit()
        return before, after, expired, mine.points


@step
def detached_objects_are_merged(make: Make) -> Any:
    with make() as session:
        user = session.get_one(User, 3)
        session.expunge(user)
    user.fullname = "merged"
    with make.begin() as session:
        merged = session.merge(user)
        session.merge(User(id=2, name="sandy m.", addresses=[]))
        session.merge(Membership(user_id=9, club="new", since=date(2022, 2, 2)))
        return merged is user, merged.fullname


@step
def keys_have_another_form(make: Make) -> Any:
    with make.begin() as session:
        session.add(Device(id=PHONE, label="phone"))
    with make.begin() as session:
        session.execute(update(Device).where(Device.id == PHONE).values(label="telephone"))
    with make.begin() as session:
        session.execute(insert(Device), [{"id": UUID(int=n), "label": f"d{n}"} for n in range(3)])
        session.execute(delete(Device).where(Device.id == UUID(int=1)))
        return session.get_one(Device, PHONE).label


@step
def legacy_bulk_calls(make: Make) -> Any:
    with make.begin() as session:
        session.bulk_save_objects(
            [Membership(user_id=20 + n, club="old", since=date(1990, 1, 1)) for n in range(2)]
        )
        session.bulk_update_mappings(User, [{"id": 1, "name": "bob"}])
    with make() as session:
        return session.get_one(User, 1).name


@step
def rows_are_locked_and_streamed(make: Make) -> Any:
    with make.begin() as session:
        locked = session.scalars(select(User).where(User.id == 1).with_for_update()).one()
        locked.points += 1
        session.flush()
        return list(
            session.scalars(select(User.points).order_by(User.id).execution_options(yield_per=2))
        )


# -- refusals ----------------------------------------------------------------------------------


@step
def what_the_database_refuses_is_raised(make: Make) -> Any:
    def twice() -> None:
        with make.begin() as session:
            session.add(Address(email_address="new@save.org", user_id=1))

    def orphan() -> None:
        with make.begin() as session:
            session.add(Address(email_address="lost@save.org", user_id=12345))

    def parent() -> None:
        with make.begin() as session:
            session.execute(delete(User).where(User.id == 1))

    def stale() -> None:
        with make() as session, make.begin() as other:
            user = session.get_one(Membership, (9, "new"))
            session.commit()
            user = session.get_one(Membership, (9, "new"))
            other.execute(delete(Membership).where(Membership.user_id == 9))
            other.commit()
            user.since = date(2000, 1, 1)
            session.flush()

    def none() -> None:
        with make() as session:
            session.scalars(select(User).where(User.name == "none")).one()

    def several() -> None:
        with make() as session:
            session.scalars(select(User)).one()

    return [raised(one) for one in (twice, orphan, parent, stale, none, several)]


@step
def a_failed_flush_is_rolled_back_and_gone_on_with(make: Make) -> Any:
    with make() as session:
        session.add(Address(email_address="new@save.org", user_id=1))
        failed = raised(session.flush)
        session.rollback()
        session.add(Address(email_address="then@save.org", user_id=1))
        session.commit()
        try:
            session.scalars(select(User).where(User.id == 0)).one()
        except NoResultFound as error:
            return failed, str(error)
    raise AssertionError


# -- deletes -----------------------------------------------------------------------------------


@step
def deletes_cascade(make: Make) -> Any:
    with make.begin() as session:
        user = session.get_one(User, 1)
        user.addresses.remove(user.addresses[0])
        session.flush()
        left = len(user.addresses)
        keys = [one.id for one in user.addresses]
        session.delete(user)
        session.flush()
        return left, [session.get(Address, key) for key in keys], session.get(User, 1)


@step
def deletes_have_criteria(make: Make) -> Any:
    with make.begin() as session:
        alone = delete(Membership).where(Membership.user_id == 3, Membership.club == "chess")
        one: Any = session.execute(alone)
        several: Any = session.execute(delete(Membership).where(Membership.user_id >= 20))
        using: Any = session.connection().execute(
            delete(members)
            .where(members.c.user_id == people.c.id)
            .where(people.c.name == "sandy m.")
            .where(members.c.club == "chess")
        )
        none: Any = session.execute(delete(User).where(User.name == "nobody"))
        return one.rowcount, several.rowcount, using.rowcount, none.rowcount


@step
def a_deleted_key_is_used_again(make: Make) -> Any:
    with make.begin() as session:
        session.add(Membership(user_id=3, club="chess", since=date(2025, 5, 5)))
        session.flush()
        session.delete(session.get_one(Membership, (3, "chess")))
        session.flush()
        session.add(Membership(user_id=3, club="chess", since=date(2026, 6, 6)))
    with make() as session:
        return session.get_one(Membership, (3, "chess")).since


# -- left to the stream ------------------------------------------------------------------------


@left
def a_key_changes(make: Make) -> Any:
    with make.begin() as session:
        one = session.get_one(Membership, (3, "chess"))
        one.club = "go"
    with make() as session:
        return session.get(Membership, (3, "chess")), session.get_one(Membership, (3, "go")).since


@left
def many_rows_are_inserted_with_generated_keys(make: Make) -> Any:
    with make.begin() as session:
        session.execute(insert(User), [{"name": f"bulk {n}", "points": n} for n in range(3)])
    with make.begin() as session:
        session.connection().execute(
            insert(mail), [{"user_id": 2, "email_address": f"{n}@bulk.org"} for n in range(3)]
        )
    with make() as session:
        names = session.scalars(select(User.name).where(User.name.like("bulk%")).order_by(User.id))
        return list(names)


@left
def an_insert_has_several_values(make: Make) -> Any:
    with make.begin() as session:
        rows = [{"user_id": 4, "club": club, "since": date(2020, 1, 1)} for club in "ab"]
        session.connection().execute(insert(members).values(rows))
        return session.scalar(select(func.count()).where(members.c.user_id == 4))


@left
def an_insert_selects(make: Make) -> Any:
    wanted = select(people.c.id, literal_column("'from'"), literal_column("DATE '2021-05-05'"))
    with make.begin() as session:
        statement = insert(members).from_select(
            ["user_id", "club", "since"], wanted.where(people.c.id < 4)
        )
        session.execute(statement)
        return session.scalar(
            select(func.count()).select_from(members).where(members.c.club == "from")
        )


@left
def text_is_executed(make: Make) -> Any:
    with make.begin() as session:
        result: Any = session.execute(
            text("UPDATE user_account SET points = points + 1 WHERE id = :id"), {"id": 2}
        )
        return result.rowcount


@left
def the_driver_executes(make: Make) -> Any:
    with make.begin() as session:
        connection = session.connection()
        connection.exec_driver_sql("UPDATE user_account SET points = points + 1 WHERE id = 2")
        return connection.exec_driver_sql("SELECT points FROM user_account WHERE id = 2").all()


def two_tables_are_updated_at_once(make: Make) -> Any:
    """By a statement that PostgreSQL does not know."""
    with make.begin() as session:
        session.connection().execute(
            update(people)
            .where(people.c.id == mail.c.user_id)
            .where(mail.c.id == 2)
            .values({people.c.fullname: "two", mail.c.email_address: "two@sqlalchemy.org"})
        )
        return session.scalars(select(Address.email_address).where(Address.id == 2)).all()


def an_insert_returns_rows_where_the_server_can(make: Make) -> Any:
    """MySQL alone cannot."""
    with make.begin() as session:
        if not session.connection().dialect.insert_returning:
            return raised(lambda: session.execute(insert(User).returning(User), [{"name": "x"}]))
        rows = [{"name": "gary", "points": 3}, {"name": "larry", "points": 4}]
        found = session.scalars(insert(User).returning(User), rows).all()
        seen = sorted((one.name, one.points) for one in found)
        for one in found:
            session.delete(one)
        return seen
