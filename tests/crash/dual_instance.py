"""One instance of an application: writers that go through the dual-write layer until it is killed.

    python -m tests.crash.dual_instance SOURCE_URL TARGET_URL SEARCH_PATH CONFIG NAME SEED WRITERS

Each acknowledged transaction is a line ``NAME/writer number``, which stands in the table `ledger`
as well; each that the source was too far away for is a line ``gone CODE``. What no application
would expect ends it with a line that begins with ``unexpected``.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable

from sqlalchemy import ForeignKey, String, create_engine, delete, insert, select, text, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from bridge.dualwrite.authority import StaleEpoch
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.opening import open_dual_write
from bridge.dualwrite.session import dual_sessionmaker
from bridge.errors import ServerUnreachable
from tests.endtoend.traffic import EXPECTED, GONE

NO_SAVEPOINT = 1305
"""A deadlock has ended the transaction, and its savepoints with it."""
ACCOUNTS = 60
"""So few that writers meet each other's rows."""


class Base(DeclarativeBase):
    """The application's models."""


class Account(Base):
    """With a unique column, whose values wander."""

    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(40))
    email: Mapped[str | None] = mapped_column(String(40))
    amount: Mapped[int]


class Entry(Base):
    """A child row."""

    __tablename__ = "entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    body: Mapped[str | None] = mapped_column(String(80))


class Ledger(Base):
    """What was acknowledged."""

    __tablename__ = "ledger"
    writer: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)


def opened(chance: random.Random, session: Session) -> None:
    """A new account, sometimes under an address that somebody has."""
    session.add(Account(owner=f"o{chance.random()}", email=_email(chance), amount=0))
    session.flush()


def paid(chance: random.Random, session: Session) -> None:
    """A change through the ORM, with a child row."""
    account = session.get(Account, chance.randint(1, ACCOUNTS), with_for_update=True)
    if account is not None:
        account.amount += chance.randint(-5, 5)
        session.add(Entry(account_id=account.id, body=f"{chance.random()}\t€"))
        session.flush()


def renamed(chance: random.Random, session: Session) -> None:
    """An address wanders, or is given up."""
    session.execute(
        update(Account)
        .where(Account.id == chance.randint(1, ACCOUNTS))
        .values(email=chance.choice((None, _email(chance))))
    )


def swapped(chance: random.Random, session: Session) -> None:
    """Two accounts change their addresses."""
    keys = sorted(chance.sample(range(1, ACCOUNTS), 2))
    found = list(session.scalars(select(Account).where(Account.id.in_(keys)).with_for_update()))
    if len(found) == 2:
        first, second = found[0].email, found[1].email
        found[0].email = None
        session.flush()
        found[1].email = first
        session.flush()
        found[0].email = second
        session.flush()


def unchanged(chance: random.Random, session: Session) -> None:
    """An update that changes nothing and leaves no trace in the log."""
    session.execute(
        update(Account)
        .where(Account.id == chance.randint(1, ACCOUNTS))
        .values(owner=Account.owner)
        .execution_options(synchronize_session=False)
    )


def many(chance: random.Random, session: Session) -> None:
    """Over criteria."""
    low = chance.randint(1, ACCOUNTS)
    session.execute(
        update(Account)
        .where(Account.id.between(low, low + 5))
        .values(amount=Account.amount + 1)
        .execution_options(synchronize_session=False)
    )


def closed(chance: random.Random, session: Session) -> None:
    """An account goes with its entries; sometimes it comes back at once under its key."""
    key = chance.randint(1, ACCOUNTS)
    session.execute(delete(Entry).where(Entry.account_id == key))
    session.execute(delete(Account).where(Account.id == key))
    if chance.random() < 0.5:
        session.execute(
            insert(Account).values(id=key, owner="again", email=_email(chance), amount=1)
        )


def half(chance: random.Random, session: Session) -> None:
    """A part is taken back."""
    paid(chance, session)
    inner = session.begin_nested()
    renamed(chance, session)
    inner.rollback()


def unseen(chance: random.Random, session: Session) -> None:
    """Text, which the layer leaves to the stream."""
    session.execute(
        text("UPDATE account SET amount = amount + 1 WHERE id = :key"),
        {"key": chance.randint(1, ACCOUNTS)},
    )


ACTS: tuple[Callable[[random.Random, Session], None], ...] = (
    opened, paid, paid, renamed, renamed, swapped, unchanged, many, closed, half, unseen,
)  # fmt: skip


def _email(chance: random.Random) -> str:
    return f"e{chance.randint(1, ACCOUNTS)}@example.org"


class Writer(threading.Thread):
    """Transaction after transaction."""

    def __init__(self, make: Callable[[], Session], name: str, seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self._make = make
        self._chance = random.Random(seed)

    def run(self) -> None:
        """Until the process ends."""
        number = 0
        try:
            while True:
                number += 1
                if self._transact(number):
                    say(f"{self.name} {number}")
                time.sleep(self._chance.random() * 0.03)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            say(f"unexpected {type(error).__name__}: {error!s}".replace("\n", " "))
            os._exit(2)

    def _transact(self, number: int) -> bool:
        try:
            with self._make() as session, session.begin():
                session.add(Ledger(writer=self.name, number=number))
                for act in self._chance.choices(ACTS, k=self._chance.choice((1, 1, 2, 4))):
                    act(self._chance, session)
        except (IntegrityError, StaleEpoch, StaleDataError):
            return False
        except DBAPIError as error:
            code = error.orig.args[0] if error.orig is not None and error.orig.args else 0
            if code not in EXPECTED | GONE | {NO_SAVEPOINT} and not error.connection_invalidated:
                raise
            if code in GONE or error.connection_invalidated:
                say(f"gone {code}")
                time.sleep(0.1)
            return False
        return True


def say(line: str) -> None:
    """A whole line, whatever else is said."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def opened_layer(config: str, source: Engine, target: Engine) -> DualWrite:
    """Waits for a source that is dead just now."""
    while True:
        try:
            return open_dual_write(config, source=source, target=target)
        except ServerUnreachable:
            time.sleep(0.2)


def main() -> None:
    """See the module."""
    source, target, path, config, name, seed, writers = sys.argv[1:]
    here = create_engine(source, pool_size=int(writers), isolation_level="READ COMMITTED")
    there = create_engine(target, connect_args={"options": f"-csearch_path={path}"})
    dual = opened_layer(config, here, there)
    make = dual_sessionmaker(dual)
    threads = [Writer(make, f"{name}/{n}", f"{seed}/{n}") for n in range(int(writers))]
    for thread in threads:
        thread.start()
    for line in sys.stdin:  # asks for the counts
        say(f"counts {dict(dual.early.counts.by)} {line.strip()}")


if __name__ == "__main__":
    main()
