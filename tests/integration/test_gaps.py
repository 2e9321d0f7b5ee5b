"""What a table missed stays said until it is copied again, whatever else befalls it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge.errors import SourceError, TableStopped
from bridge.replicate import stage
from bridge.store.state import GAPS, Q
from tests.engines import Rig
from tests.fix_servers import SourceDatabase, TargetDatabase

OTHER = "index-failed"
"""Something that a table goes on from as soon as somebody has seen to it."""


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    rig = Rig(source_db, target_db)
    rig.mysql(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, parent int,"
        " FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)",
        "CREATE TABLE apart (id int PRIMARY KEY)",
    )
    rig.carry("parent", "child", "apart")
    with rig.running():
        rig.streams("parent", "child", "apart")
    yield rig
    rig.close()


def stop(rig: Rig, table: str, code: str) -> None:
    stop = TableStopped(f"{table}: {code}", "see to it", code)
    stop.table = rig.name(table)
    rig.stages.stop(stop)


def codes(rig: Rig, *tables: str) -> list[str | None]:
    states = [state for table in tables for state in rig.states(table)]
    return [state.fault.code if state.fault else None for state in states]


@pytest.mark.parametrize("code", GAPS)
def test_another_stop_does_not_hide_a_gap(rig: Rig, code: str) -> None:
    stop(rig, "apart", OTHER)
    stop(rig, "apart", code)
    stop(rig, "apart", OTHER)
    rig.stages.pause(rig.name("apart"))
    with pytest.raises(SourceError) as caught:
        rig.stages.resume(rig.name("apart"))
    assert caught.value.hint == f"dbbridge tables resync {rig.name('apart').word}"
    assert codes(rig, "apart") == [code]
    assert rig.states("apart")[0].paused
    newer = next(other for other in GAPS if other != code)
    stop(rig, "apart", newer)
    assert codes(rig, "apart") == [newer]


def test_a_family_waits_for_the_member_with_a_gap(rig: Rig) -> None:
    stop(rig, "child", "ddl")
    assert codes(rig, "parent", "child") == ["related", "ddl"]
    stop(rig, "parent", OTHER)
    assert codes(rig, "parent", "child") == [OTHER, "ddl"]
    with pytest.raises(SourceError, match=f"{rig.name('child')}: "):
        rig.stages.resume(rig.name("parent"))
    assert codes(rig, "parent", "child") == [OTHER, "ddl"]


def test_what_missed_nothing_goes_on(rig: Rig) -> None:
    stop(rig, "parent", OTHER)
    assert codes(rig, "parent", "child") == [OTHER, "related"]
    rig.stages.resume(rig.name("child"))
    assert codes(rig, "parent", "child") == [None, None]


def test_no_table_stands_still_without_an_event(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies between the two would leave a table of which nobody hears."""

    def dies(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(stage, "add_event", dies)
    with pytest.raises(SystemExit):
        stop(rig, "apart", OTHER)
    with pytest.raises(SystemExit):
        rig.stages.pause(rig.name("apart"))
    assert codes(rig, "apart") == [None]
    assert not rig.states("apart")[0].paused


def test_of_a_table_that_joined_nobody_asks_what_its_copy_saw(rig: Rig) -> None:
    """A server that becomes the source much later need not know GTIDs of that time."""
    assert rig.ask("SELECT FROM dbbridge.chunks WHERE seen <> ''")
    rig.stages.pause(rig.name("apart"))
    assert not rig.control.execute(Q["seen"], {"pipeline": rig.servers.pipeline}).fetchall()
