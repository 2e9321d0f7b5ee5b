"""The layer's sessions for asyncio (needs ``sqlalchemy[asyncio]``)."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.session import DualSession, ReadSession


def dual_async_sessionmaker(
    dual: DualWrite, source: AsyncEngine, target: AsyncEngine, **options: Any
) -> async_sessionmaker[AsyncSession]:
    """Like `dual_sessionmaker`; the layer was given the `sync_engine` of each of these engines.

    Of a session, `sync_session.after` is the last write.
    """
    _check(dual, source, target)
    return async_sessionmaker(sync_session_class=DualSession, dual=dual, **options)


def dual_async_read_sessionmaker(
    dual: DualWrite, group: str, source: AsyncEngine, target: AsyncEngine, **options: Any
) -> async_sessionmaker[AsyncSession]:
    """Like `dual_read_sessionmaker`."""
    _check(dual, source, target)
    return async_sessionmaker(sync_session_class=ReadSession, dual=dual, group=group, **options)


def _check(dual: DualWrite, source: AsyncEngine, target: AsyncEngine) -> None:
    if (source.sync_engine, target.sync_engine) != (dual.source, dual.target):
        raise ValueError("the layer was opened with other engines")
