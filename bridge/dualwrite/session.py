"""Sessions that go to one side for the whole of a transaction: for writes, and for reads alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, sessionmaker

from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.reading import After, Wish
from bridge.dualwrite.recorder import WRITTEN


class _OneSide(Session):
    """A session whose transactions each have one engine."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._side: Engine | None = None

    def get_bind(self, *args: Any, **options: Any) -> Engine:
        """The engine that was chosen when the transaction began."""
        if self._side is None:
            self._side = self._chosen()
        return self._side

    def _chosen(self) -> Engine:
        raise NotImplementedError


@event.listens_for(_OneSide, "after_transaction_end", propagate=True)
def _ended(session: _OneSide, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._side = None  # noqa: SLF001


class DualSession(_OneSide):
    """A session of an application; `dual` is its layer, all else is as in SQLAlchemy's.

    Raises StaleEpoch at a commit, with nothing written, where authority or mode changed since this
    instance looked, and Closed while nobody has authority: the transaction is then run again.
    """

    def __init__(self, dual: DualWrite, **options: Any) -> None:
        super().__init__(**options)
        self._dual = dual
        self._connection: Connection | None = None
        self.after: After | None = None
        """The last write that was committed to the source here; a read with it sees that."""

    def _chosen(self) -> Engine:
        return self._dual.engine()


@event.listens_for(DualSession, "after_begin")
def _begun(session: DualSession, _: SessionTransaction, connection: Connection) -> None:
    connection.info.pop(WRITTEN, None)
    session._connection = connection  # noqa: SLF001


@event.listens_for(DualSession, "after_commit")
def _committed(session: DualSession) -> None:
    connection, session._connection = session._connection, None  # noqa: SLF001
    op = connection.info.pop(WRITTEN, None) if connection is not None else None
    if op is not None:
        session.after = After(op.seq, op.op_id)


class ReadSession(_OneSide):
    """A session that reads the tables of a group, on the side that `DualWrite.reads` chooses.

    It refuses to write: InvalidRequestError.
    """

    def __init__(
        self, dual: DualWrite, group: str, wish: Wish | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._dual, self._group, self._wish = dual, group, wish

    def _chosen(self) -> Engine:
        return self._dual.reads(self._group, self._wish)


@event.listens_for(ReadSession, "before_flush")
def _flushing(*_: Any) -> None:
    raise _only_reads()


@event.listens_for(ReadSession, "do_orm_execute")
def _executing(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        raise _only_reads()


def _only_reads() -> InvalidRequestError:
    return InvalidRequestError("a session for reads writes nothing: use one of dual_sessionmaker")


def dual_sessionmaker(dual: DualWrite, **options: Any) -> sessionmaker[DualSession]:
    """Makes sessions, like SQLAlchemy's `sessionmaker` with an engine."""
    return sessionmaker(class_=DualSession, dual=dual, **options)


def dual_read_sessionmaker(
    dual: DualWrite, group: str, **options: Any
) -> sessionmaker[ReadSession]:
    """Makes sessions for reads of a group; each takes a `wish`."""
    return sessionmaker(class_=ReadSession, dual=dual, group=group, **options)
