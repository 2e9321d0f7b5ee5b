"""The layer's sessions for asyncio (needs ``sqlalchemy[asyncio]``)."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.session import DualSession


def dual_async_sessionmaker(
    dual: DualWrite, source: AsyncEngine, target: AsyncEngine, **options: Any
) -> async_sessionmaker[AsyncSession]:
    """Like `dual_sessionmaker`; the layer was given the `sync_engine` of each of these engines."""
    if (source.sync_engine, target.sync_engine) != (dual.source, dual.target):
        raise ValueError("the layer was opened with other engines")
    return async_sessionmaker(sync_session_class=DualSession, dual=dual, **options)
