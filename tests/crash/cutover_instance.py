"""One instance of an application that is switched: writers through the dual-write layer.

    python -m tests.crash.cutover_instance SOURCE TARGET SEARCH_PATH CONFIG NAME SEED WRITERS REST

Each acknowledged transaction is a line ``ack NAME/writer number seconds``, each refused one a line
``refused REASON``. ``pause`` and ``go`` on stdin make all writers rest (it says ``paused`` once
they do) and go on. What no application would expect ends it with a line ``unexpected …``.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime

import psycopg
from sqlalchemy import ForeignKey, String, create_engine, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bridge.dualwrite.authority import Closed, StaleEpoch
from bridge.dualwrite.session import dual_sessionmaker
from tests.crash.dual_instance import NO_SAVEPOINT, opened_layer, say
from tests.endtoend.traffic import EXPECTED, GONE

CUSTOMERS = 60
KEPT_OUT = {
    1142,  # the right to write was taken away
    1290,  # read_only
    "42501",  # the same in PostgreSQL
}
"""What the fences say to a transaction that began before them."""
OF_TARGET = {"40P01", "40001", "55P03", "57P01", "57014", None}
FOR_NOW = EXPECTED | GONE | KEPT_OUT | OF_TARGET | {NO_SAVEPOINT, 1317}
"""What writers run into; the transaction is rolled back and another one begun."""
PAUSE_SECONDS = 0.05


class Base(DeclarativeBase):
    """The application's models."""


class Customer(Base):
    """Rows that all writers share, with a time that the database keeps."""

    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    balance: Mapped[int]
    touched: Mapped[datetime]


class Slip(Base):
    """One for each transaction, under a key that is generated."""

    __tablename__ = "slip"
    id: Mapped[int] = mapped_column(primary_key=True)
    writer: Mapped[str] = mapped_column(String(40))
    number: Mapped[int]
    customer: Mapped[int] = mapped_column(ForeignKey("customer.id"))


class Owned(Base):
    """A row for each writer: the number of his last transaction."""

    __tablename__ = "owned"
    writer: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int]


class Barrier:
    """Lets writers through, or holds them between two transactions."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._open = True
        self._busy = 0

    def __enter__(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._open)
            self._busy += 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._busy -= 1
            self._condition.notify_all()

    def close(self, timeout: float = 60.0) -> bool:
        """Holds them; whether all rest by then."""
        with self._condition:
            self._open = False
            return self._condition.wait_for(lambda: not self._busy, timeout)

    def open(self) -> None:
        """Lets them go on."""
        with self._condition:
            self._open = True
            self._condition.notify_all()


class Writer(threading.Thread):
    """Transaction after transaction."""

    def __init__(
        self, make: Callable[[], Session], barrier: Barrier, name: str, seed: str, rest: float
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._make = make
        self._barrier = barrier
        self._chance = random.Random(seed)
        self._rest = rest

    def run(self) -> None:
        """Until the process ends."""
        number = 0
        try:
            while True:
                number += 1
                with self._barrier:
                    done = self._transact(number)
                    if done:
                        say(f"ack {self.name} {number} {time.monotonic():.4f}")
                time.sleep(self._chance.random() * self._rest if done else PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 (told to the test)
            say(f"unexpected {type(error).__name__}: {error!s}".replace("\n", " "))
            os._exit(2)

    def _transact(self, number: int) -> bool:
        customer = self._chance.randint(1, CUSTOMERS)
        try:
            with self._make() as session, session.begin():
                session.add(Slip(writer=self.name, number=number, customer=customer))
                session.flush()
                self._change(session, number, customer)
        except (Closed, StaleEpoch) as error:
            say(f"refused {type(error).__name__}")
        except DBAPIError as error:
            code = _code(error)
            if code not in FOR_NOW and not error.connection_invalidated:
                raise
            say(f"refused {code}")
        else:
            return True
        return False

    def _change(self, session: Session, number: int, customer: int) -> None:
        own = Owned.writer == self.name
        if self._chance.random() < 0.5:
            session.execute(update(Owned).where(own).values(number=number))
        else:
            session.scalars(select(Owned).where(own)).one().number = number
        if self._chance.random() < 0.3:
            session.execute(
                update(Customer)
                .where(Customer.id == customer)
                .values(balance=Customer.balance + 1)
                .execution_options(synchronize_session=False)
            )
        if self._chance.random() < 0.1:
            session.execute(insert(Slip).values(writer="many", number=number, customer=customer))


def _code(error: DBAPIError) -> object:
    """PostgreSQL's state, or MySQL's number."""
    if isinstance(error.orig, psycopg.Error):
        return error.orig.sqlstate
    return error.orig.args[0] if error.orig is not None and error.orig.args else None


def main() -> None:
    """See the module."""
    source, target, path, config, name, seed, writers, rest = sys.argv[1:]
    here = create_engine(
        source, pool_size=int(writers), isolation_level="READ COMMITTED", pool_pre_ping=True
    )
    there = create_engine(
        target, pool_pre_ping=True, connect_args={"options": f"-csearch_path={path}"}
    )
    make = dual_sessionmaker(opened_layer(config, here, there))
    barrier = Barrier()
    for number in range(int(writers)):
        Writer(make, barrier, f"{name}/{number}", f"{seed}/{number}", float(rest)).start()
    for line in sys.stdin:
        if line.strip() == "pause":
            barrier.close()
            say("paused")
        else:
            barrier.open()


if __name__ == "__main__":
    main()
