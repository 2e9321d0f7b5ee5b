"""The daemon's lag is the age of what it has not applied, not that of the commit before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import Rig
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import until

pytestmark = pytest.mark.parametrize("source", ["mariadb"], indirect=True)
"""Its log has a session's own timestamp, which stands here for a quiet night."""
AGO = 36_000
WAITS = "SELECT FROM pg_locks WHERE NOT granted AND relation = %s::regclass"


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    rig = Rig(source_db, target_db)
    rig.mysql("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)")
    rig.carry("t")
    yield rig
    rig.close()


def lag(rig: Rig) -> float:
    found = rig.board.lag_seconds
    return AGO if found is None else found


def test_the_first_change_after_a_quiet_night(rig: Rig) -> None:
    relation = rig.name("t").postgres
    with rig.running():
        rig.streams("t")
        rig.mysql(f"SET timestamp = unix_timestamp() - {AGO}", "UPDATE t SET v = 2")
        rig.same("t")
        # Its end is seen by now, which the next look at the stream finds.
        until(lambda: lag(rig) < 1)
        with rig.servers.target() as holder, holder.transaction():
            holder.execute(f"LOCK TABLE {relation} IN SHARE MODE".encode())
            rig.mysql("UPDATE t SET v = 3")
            until(lambda: bool(rig.ask(WAITS, relation)))
            before = lag(rig)
            until(lambda: lag(rig) > before + 1)
            assert lag(rig) < AGO / 2
        rig.same("t")
