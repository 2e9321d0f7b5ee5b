"""Sessions that go to the side which has authority, one side for the whole of a transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from bridge.dualwrite.layer import DualWrite


class DualSession(Session):
    """A session of an application; `dual` is its layer, all else is as in SQLAlchemy's.

    Raises StaleEpoch at a commit, with nothing written, where authority or mode changed since this
    instance looked, and Closed while nobody has authority: the transaction is then run again.
    """

    def __init__(self, dual: DualWrite, **options: Any) -> None:
        super().__init__(**options)
        self._dual = dual
        self._side: Engine | None = None

    def get_bind(self, *args: Any, **options: Any) -> Engine:
        """The engine of the side that had authority when the transaction began."""
        if self._side is None:
            self._side = self._dual.engine()
        return self._side


@event.listens_for(DualSession, "after_transaction_end")
def _ended(session: DualSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._side = None  # noqa: SLF001


def dual_sessionmaker(dual: DualWrite, **options: Any) -> sessionmaker[DualSession]:
    """Makes sessions, like SQLAlchemy's `sessionmaker` with an engine."""
    return sessionmaker(class_=DualSession, dual=dual, **options)
