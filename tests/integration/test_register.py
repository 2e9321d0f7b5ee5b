"""A daemon begins again beside tables that no longer fit their files, and takes up new ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bridge.errors import MappingError
from tests.engines import Rig
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import until


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    rig = Rig(source_db, target_db)
    for table in ("altered", "dropped", "other"):
        rig.mysql(
            f"CREATE TABLE {table} (id int PRIMARY KEY, v int)",
            f"INSERT INTO {table} VALUES (1, 1), (2, 2)",
        )
    rig.carry("altered", "dropped", "other")
    yield rig
    rig.close()


def goes_on(rig: Rig, table: str) -> None:
    """A later change arrives."""
    rig.mysql(f"UPDATE {table} SET v = v + 1")
    rig.same(table)


def test_tables_that_do_not_fit_do_not_keep_others_from_going_on(rig: Rig) -> None:
    with rig.running():
        rig.streams("altered", "dropped", "other")
        rig.mysql("ALTER TABLE altered ADD COLUMN w int", "DROP TABLE dropped")
        until(lambda: any(t.fault for t in rig.states("altered")))
        until(lambda: any(t.fault for t in rig.states("dropped")))
        goes_on(rig, "other")
    rig.mysql("CREATE TABLE later (id int PRIMARY KEY, v int)", "INSERT INTO later VALUES (1, 1)")
    rig.mysql("CREATE TABLE wrong (id int PRIMARY KEY)")
    rig.carry("later", "wrong")
    rig.mysql("ALTER TABLE wrong ADD COLUMN w int")
    with rig.running():
        rig.streams("other", "later")
        goes_on(rig, "other")
        assert {t.source.table for t in rig.stages.tables()} == {
            *("altered", "dropped", "other", "later")
        }
        ((subject, said),) = rig.ask(
            "SELECT subject, message FROM dbbridge.events WHERE kind = 'not-copied'"
        )
        assert subject == str(rig.name("wrong"))
        assert "the definition has changed" in said and "dbbridge check" in said


def test_a_first_start_is_refused(rig: Rig) -> None:
    """Nothing stands still by that, and somebody is looking."""
    name = rig.name("altered")
    rig.mappings[name] = replace(rig.mappings[name], fingerprint="another")
    with pytest.raises(MappingError), rig.running():
        pass
    assert not rig.stages.tables()
