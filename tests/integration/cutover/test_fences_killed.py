"""A fence comes off whoever was killed at it, and nothing that was granted is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cutover.fences.base import Kind
from bridge.cutover.fences.choose import FENCES
from tests.fix_servers import SourceDatabase
from tests.integration.cutover.fencing import PER_TABLE, WHOLE, assert_survives_kills, shop


@pytest.mark.crash
@pytest.mark.parametrize(
    ("kind", "grants", "kills"),
    [
        ("revoke", PER_TABLE, 14),
        ("revoke", WHOLE, 8),
        ("lock_account", PER_TABLE, 8),
    ],
)
def test_a_fence_comes_off_whoever_was_killed(
    source_db: SourceDatabase, tmp_path: Path, kind: Kind, grants: tuple[str, ...], kills: int
) -> None:
    with shop(source_db, grants) as found:
        fence = FENCES[kind](found.subject)
        found.allow(fence)
        assert assert_survives_kills(found, fence, tmp_path) >= kills
