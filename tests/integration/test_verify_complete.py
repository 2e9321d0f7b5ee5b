"""What was not looked at, or is known to differ, never passes for equal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.change.position import Position
from bridge.names import TableName
from bridge.report.verification import Difference, Verification
from bridge.verify import changed, follow, found, judge, ranges, walk
from bridge.verify.certificate import refusals
from bridge.verify.conclude import evidence_of
from bridge.verify.found import UNCOMPARED, Found
from bridge.verify.gather import gathered
from bridge.verify.ledger import Ledger
from bridge.verify.records import Part, Run
from bridge.verify.repair import plan_table
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.staged import HASTY, PIPELINE, Stage
from tests.verifying import World

ROWS = 1000
LAST = ROWS - 10
"""A row that is read late."""


@pytest.fixture(autouse=True)
def in_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is small, and read as a large one is: in several ranges, judged now and then."""
    monkeypatch.setattr(ranges, "WHOLE_ROWS", 0)
    monkeypatch.setattr(walk, "FIRST_ROWS", 100)
    monkeypatch.setattr(judge, "MOST_SUSPECTS", 100)


@pytest.fixture
def stage(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Stage]:
    stage = Stage(World(source_db, target_db))
    rows = ",".join(f"({n}, {n}, 'text')" for n in range(1, ROWS + 1))
    stage.world.mysql(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, v varchar(20))",
        f"INSERT INTO t VALUES {rows}",
        "ANALYZE TABLE t",
    )
    stage.copied("t")
    yield stage
    stage.conn.close()


def on_both(stage: Stage, condition: str) -> None:
    """The source's rows change, and later the target's: until then they are on their way."""
    stage.world.mysql(f"UPDATE t SET n = -1 WHERE {condition}")


def arrived(stage: Stage, condition: str) -> None:
    in_target(stage, f"UPDATE {{}} SET n = -1 WHERE {condition}")


def in_target(stage: Stage, statement: str) -> None:
    """Past the stream; `{}` is the table."""
    stage.world.postgres(statement.format(stage.tables[0].plan.target.postgres))


def damage(stage: Stage, condition: str) -> None:
    in_target(stage, f"UPDATE {{}} SET v = 'spoilt' WHERE {condition}")


def glance(stage: Stage) -> None:
    """A round of what changed, while the stream stands still."""
    stage.verifier.follow(stage.ledger, stage.tables, threading.Event(), patience=HASTY)


def name(stage: Stage) -> TableName:
    return stage.tables[0].name


def numbers(stage: Stage, run: Run) -> list[int]:
    """Those of the run's parts."""
    found = [part.number for part in stage.ledger.parts(run)]
    assert len(found) > 1
    return found


def undecided(result: Verification) -> str:
    """Why there is neither a match nor a certificate."""
    (table,) = result.tables
    assert (table.verdict, result.certificates) == ("inconclusive", ()), result
    assert result.refusals
    return table.reason


# -- every row is read, or the run says that it was not -------------------------------------------


def test_a_sweep_that_gave_up_proves_nothing(stage: Stage) -> None:
    damage(stage, f"id = {LAST}")
    run = stage.begin()
    on_both(stage, "id <= 300")
    stage.sweep(run)
    arrived(stage, "id <= 300")
    reason = undecided(stage.finish(run))
    assert reason.startswith("the stream did not reach")
    assert stage.proof().obstacle == reason
    assert stage.verify().tables[0].differing == 1


def test_rows_that_could_not_be_judged_at_the_end_are_judged_later(stage: Stage) -> None:
    run = stage.begin()
    on_both(stage, "id = 5")
    stage.sweep(run)
    arrived(stage, "id = 5")
    result = stage.finish(run)
    assert result.verdict == "match"
    assert len(result.certificates) == 1


def test_one_part_that_was_not_read_is_enough(stage: Stage) -> None:
    damage(stage, f"id = {LAST}")
    run = stage.begin(part_rows=250)
    on_both(stage, "id = 5")
    first, *others = numbers(stage, run)
    stage.sweep(run, first)
    stage.conn.execute("UPDATE dbbridge.tables SET paused = true")
    stage.sweep(run, *others)
    stage.conn.execute("UPDATE dbbridge.tables SET paused = false")
    assert all(part.done for part in stage.ledger.parts(run))
    arrived(stage, "id = 5")
    assert undecided(stage.finish(run)) == "paused"


def test_a_part_that_has_no_end_is_not_read(stage: Stage) -> None:
    damage(stage, f"id = {LAST}")
    run = stage.begin(part_rows=250)
    on_both(stage, "id = 5")
    stage.sweep(run, *numbers(stage, run)[:-1])
    arrived(stage, "id = 5")
    assert undecided(stage.finish(run)) == "not all of it was looked at"


# -- proofs only ever lose ------------------------------------------------------------------------


def test_what_rounds_beside_the_sweep_left_open_stays_open(stage: Stage) -> None:
    run = stage.begin()
    stage.sweep(run)
    on_both(stage, "id = 5")
    glance(stage)
    assert stage.proof().open == (("5",),)
    (table,) = stage.finish(run).tables
    assert (table.verdict, table.differing) == ("mismatch", 1)


def test_why_a_proof_was_given_up_beside_the_sweep_stays(stage: Stage) -> None:
    run = stage.begin()
    stage.sweep(run)
    stage.world.mysql("TRUNCATE t")
    glance(stage)
    assert undecided(stage.finish(run)) == "the table was truncated"


def test_a_round_that_read_the_proof_before_the_sweep_ended_moves_nothing(stage: Stage) -> None:
    run = stage.begin()
    before, plan = stage.proof(), stage.tables[0].plan
    left = Found(plan)
    left.leave([("5",)], "it never rests")
    stage.ledger.swept(run, name(stage), left, [], "")
    moved = stage.ledger.advance(
        before, before.position, [], Found(plan), "", changes=0, seconds=0.0
    )
    assert not moved
    assert stage.proof().open == (("5",),)


def test_a_run_that_begins_during_a_round_is_not_moved_past_what_changed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed, "MOST_KEYS", 1)
    stage.swept()
    on_both(stage, "id = 5")
    on_both(stage, "id = 6")
    begun: list[Position] = []
    advance = Ledger.advance

    def advanced(ledger: Ledger, *facts: Any, **more: Any) -> bool:
        moved = advance(ledger, *facts, **more)
        if not begun:
            stage.begin()
            begun.append(stage.proof().position)
        return moved

    monkeypatch.setattr(Ledger, "advance", advanced)
    glance(stage)
    assert stage.proof().position == begun[0]


def test_too_many_open_rows_are_no_match(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MOST_OPEN", 2)
    run = stage.begin()
    stage.sweep(run)
    on_both(stage, "id <= 5")
    glance(stage)
    assert undecided(stage.finish(run)) == "5 rows could not be judged"


# -- differences are known until they are seen equal ----------------------------------------------


def test_a_run_that_read_nothing_forgets_nothing(stage: Stage) -> None:
    damage(stage, "id IN (7, 8)")
    assert stage.verify().tables[0].differing == 2
    stage.conn.execute("UPDATE dbbridge.tables SET paused = true")
    assert undecided(stage.verify()) == "paused"
    stage.conn.execute("UPDATE dbbridge.tables SET paused = false")
    assert stage.proof().differences == 2
    table = stage.carried()[name(stage)]
    assert "differences" in {each.code for each in refusals([evidence_of(table, stage.proof())])}


def test_a_run_that_read_a_part_of_the_rows_forgets_nothing(stage: Stage) -> None:
    damage(stage, f"id = {LAST}")
    assert stage.verify().tables[0].differing == 1
    run = stage.begin()
    on_both(stage, "id <= 300")
    stage.sweep(run)
    arrived(stage, "id <= 300")
    undecided(stage.finish(run))
    assert stage.differences("t") == {(str(LAST),): "differs"}


@pytest.mark.parametrize("late", [False, True])
def test_two_runs_at_once_keep_what_either_found(stage: Stage, late: bool) -> None:
    older, newer = stage.begin(), stage.begin()
    with stage.streaming():
        if late:
            stage.sweep(newer)  # before there is anything to find
        damage(stage, "id = 7")
        if not late:
            stage.sweep(newer)
        stage.sweep(older)
    by = stage.conn.execute("SELECT verification FROM dbbridge.differences").fetchall()
    assert by == [(older.id if late else newer.id,)]
    (table,) = stage.finish(newer).tables
    assert (table.verdict, table.differing) == ("mismatch", 1)


def test_what_was_found_while_its_key_was_judged_stays(stage: Stage) -> None:
    damage(stage, "id = 7")
    run = stage.begin()
    with stage.streaming():
        stage.sweep(run)
    plan, proof = stage.tables[0].plan, stage.proof()

    def judged(seconds: float) -> dict[tuple[str, ...], str]:
        keys = [("7",)]
        assert stage.ledger.advance(
            proof, proof.position, keys, Found(plan), "", changes=0, seconds=seconds
        )
        return stage.differences("t")

    assert judged(3600.0) == {("7",): "differs"}
    assert judged(0.0) == {}


def test_a_table_that_cannot_be_kept_up_keeps_its_differences(stage: Stage) -> None:
    damage(stage, "id = 7")
    run = stage.begin()
    with stage.streaming():
        stage.sweep(run)
    stage.world.mysql("TRUNCATE t")
    glance(stage)
    (table,) = stage.finish(run).tables
    assert (table.verdict, table.differing) == ("mismatch", 1)
    assert stage.differences("t") == {("7",): "differs"}


def test_a_column_that_differs_throughout_is_never_forgotten(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "WHOLE_ROWS", 100)
    in_target(stage, "UPDATE {} SET n = -n")
    result = stage.verify()
    (table,) = result.tables
    assert (table.verdict, table.columns[0].whole) == ("mismatch", True)
    assert 0 < table.differing < ROWS
    resync = f"dbbridge tables resync {name(stage).word}"
    assert table.hint == resync
    proof = stage.proof()
    planned = plan_table(stage.conn, PIPELINE, stage.carried()[name(stage)], proof)
    assert UNCOMPARED in planned.reason
    assert planned.hint == resync
    # Were the rows that are known mended, the others would still be wrong.
    stage.conn.execute("DELETE FROM dbbridge.differences")
    table_now = stage.carried()[name(stage)]
    codes = {each.code for each in refusals([evidence_of(table_now, stage.proof())])}
    assert codes == {"unchecked"}


def test_no_more_differences_are_read_than_a_report_keeps(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "KEPT_DIFFERENCES", 7)
    damage(stage, "id % 200 IN (5, 6, 7, 8, 9)")
    run = stage.begin(part_rows=250)
    with stage.streaming():
        stage.sweep(run)
    read: list[int] = []
    of_part = Ledger.differences_of

    def counted(ledger: Ledger, run: Run, part: Part, most: int) -> list[Difference]:
        rows = of_part(ledger, run, part, most)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(Ledger, "differences_of", counted)
    all_of_it = gathered(stage.ledger, run, stage.tables[0])
    assert (len(read), sum(read)) == (len(numbers(stage, run)), 7)
    assert (len(all_of_it.kept), all_of_it.differing) == (7, 25)


# -- the table is judged as it stands in the end --------------------------------------------------


def test_a_row_that_went_to_quarantine_meanwhile_is_no_match(stage: Stage) -> None:
    run = stage.begin()
    stage.sweep(run)
    on_both(stage, "id = 5")
    in_target(stage, "DELETE FROM {} WHERE id = 5")
    stage.conn.execute(
        "INSERT INTO dbbridge.quarantine (pipeline, source_schema, source_table, generation, key,"
        " code, column_name, value, raw, met_at)"
        " SELECT pipeline, source_schema, source_table, generation, '5', 'zero-date', 'n', '', '',"
        " '' FROM dbbridge.tables"
    )
    assert undecided(stage.finish(run)) == "1 rows are in quarantine"


def test_a_table_that_was_copied_again_meanwhile_is_no_match(stage: Stage) -> None:
    run = stage.begin()
    stage.sweep(run)
    stage.conn.execute("UPDATE dbbridge.tables SET generation = 2")
    assert "copied again" in undecided(stage.finish(run))


def test_a_table_that_was_altered_meanwhile_is_no_match(stage: Stage) -> None:
    run = stage.begin()
    stage.sweep(run)
    stage.world.mysql("ALTER TABLE t MODIFY n bigint NOT NULL")
    assert undecided(stage.finish(run))
