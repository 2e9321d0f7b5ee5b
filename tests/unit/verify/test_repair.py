"""Which tables are left alone by a repair, and what is said to help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.change.position import Position
from bridge.names import TableName
from bridge.report.verification import TableVerdict
from bridge.store.state import Fault, TableState
from bridge.verify.found import Found
from bridge.verify.records import Proof
from bridge.verify.repair import obstacle
from bridge.verify.tables import Followed, Unfit
from tests import plans

NAME = TableName("s", "t")
RUN = 7
PLAN = plans.plan("t", [("id", "integer"), ("v", "integer")])
STATE = TableState(
    source=NAME,
    generation=2,
    target=TableName("public", "t"),
    stage="streaming",
    paused=False,
    fault=None,
    frontier=None,
    until=None,
    planned=True,
    indexed=True,
    mapping={},
    version=PLAN.version,
)
PROOF = Proof(
    table=NAME,
    verification=RUN,
    level="values",
    generation=2,
    version=PLAN.version,
    fingerprint="",
    position=Position.at("log.000001", 4),
    swept=True,
    rows=10,
    total=0,
    rechecked=0,
    open=(),
    equivalences=(),
    obstacle="",
    differences=1,
    updated_at=0.0,
)


def found(proof: Proof | None = PROOF, **state: Any) -> tuple[str, str]:
    return obstacle(Followed(PLAN, replace(STATE, **state), PLAN.version), proof, {RUN})


def test_a_table_that_streams_as_it_was_compared_is_repaired() -> None:
    assert found() == ("", "")


@pytest.mark.parametrize(
    ("state", "reason", "hint"),
    [
        ({"paused": True}, "paused", "dbbridge tables resume s.t"),
        ({"fault": Fault("ddl", "ALTER TABLE t", "do this")}, "stopped: ALTER TABLE t", "do this"),
        ({"stage": "catching-up"}, "still catching-up", "dbbridge status --watch"),
        (
            {"paused": True, "fault": Fault("ddl", "why", "do this"), "stage": "copying"},
            "stopped: why",
            "do this",
        ),
    ],
)
def test_one_that_stands_still_is_left_alone(state: dict[str, Any], reason: str, hint: str) -> None:
    assert found(**state) == (reason, hint)


@pytest.mark.parametrize(
    "proof",
    [
        None,
        replace(PROOF, verification=RUN + 1),
        replace(PROOF, generation=1),
        replace(PROOF, version="v2"),
    ],
)
def test_differences_of_another_table_than_this_say_nothing(proof: Proof | None) -> None:
    reason, hint = found(proof)
    assert "since" in reason
    assert hint == "dbbridge verify s.t"


def test_where_not_all_that_differs_is_known_nothing_is_mended() -> None:
    partly = Found(PLAN, whole=frozenset({"v"}))
    reason, hint = found(replace(PROOF, obstacle=partly.obstacle))
    assert reason == partly.obstacle
    assert hint == "dbbridge tables resync s.t"


def test_differences_of_two_runs_say_nothing() -> None:
    reason, _ = obstacle(Followed(PLAN, STATE, PLAN.version), PROOF, {RUN, RUN + 1})
    assert "compared anew" in reason


def test_the_stream_must_go_by_the_same_plan() -> None:
    reason, hint = found(version="older")
    assert "another one than the stream's" in reason
    assert hint == "dbbridge tables resync s.t"


def test_without_a_key_rows_cannot_be_told_apart() -> None:
    bare = replace(PLAN, key=0)
    reason, hint = obstacle(Followed(bare, STATE, bare.version), PROOF, {RUN})
    assert "without a key" in reason
    assert hint == "dbbridge tables resync s.t"


def test_one_that_cannot_be_verified_cannot_be_repaired() -> None:
    unfit = Unfit(TableVerdict(NAME, "inconclusive", reason="it is gone", hint="look there"))
    assert obstacle(unfit, PROOF, {RUN}) == ("it is gone", "look there")
