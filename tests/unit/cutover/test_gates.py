from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.change.position import Position
from bridge.cutover.gates.base import ORDER, WAIVABLE, Gate, Problem
from bridge.cutover.gates.facts import (
    Census,
    Definitions,
    Doubt,
    Epochs,
    Facts,
    Instance,
    Limits,
    OpenTransaction,
    Quarantined,
    Span,
    Statistics,
    Transactions,
    Unproven,
    Writer,
)
from bridge.cutover.gates.judge import JUDGES, judge, refusing
from bridge.cutover.gates.proven import kept_up
from bridge.cutover.gates.spans import spanning
from bridge.cutover.gates.stream import lag_back
from bridge.names import TableName
from bridge.store.state import DaemonState, Fault, TableState
from bridge.verify.certificate import Evidence
from bridge.verify.records import Proof

SHOP = TableName("shop", "orders")
STATE = TableState(SHOP, 1, SHOP, "streaming", False, None, None, None, True, True, {}, "v1")
PROOF = Proof(
    SHOP, 1, "values", 1, "v1", "print", Position.at("log.000001", 9), True, 5, 1 << 140, 0, (),
    (), "", 0, 0.0,
)  # fmt: skip
CERTIFICATE = {
    "id": 4,
    "tables": [{"table": "shop.orders", "mapping": "v1", "schema": "print"}],
}
SETTLING = {"account": "fence@%", "error": "", "hint": "", "seconds": 3.0}
GOOD = Facts(
    group="orders",
    capture="binlog",
    tables=(SHOP,),
    states=(STATE,),
    daemon=DaemonState(3, "host", "", 7, 8, 100.0, 0.5, {"lag_seconds": 0.1, "settling": SETTLING}),
    position="log.000001:9",
    evidence=(Evidence(SHOP, STATE, PROOF, "print", "v1"),),
    certificates=(CERTIFICATE,),
    unproven=(Unproven(SHOP, 10, 0, 0, 0.0),),
    quarantined=(),
    discarded=(),
    doubt=Doubt(0, 0.0, (), ()),
    transactions=Transactions(()),
    definitions=Definitions({SHOP: "print"}, ()),
    statistics=(Statistics(SHOP, True, 5000, 0, (), ()),),
    epochs=Epochs(("source", 3), ("source", 3)),
    instances=(Instance("i", "layer", "web", 1, 3, 0.4),),
    census=(Census("source", 90_000.0, 1.0, (), ()), Census("target", 90_000.0, 1.0, (), ())),
    reverse=(),
    representable=(),
    fence=(),
)
LIMITS = Limits()


def telling(settling: dict[str, Any]) -> dict[str, Any]:
    """A daemon that says this of what it could undo."""
    assert GOOD.daemon is not None
    return {"daemon": replace(GOOD.daemon, status={"lag_seconds": 0.1, "settling": settling})}


def gate(name: str, limits: Limits = LIMITS, **otherwise: Any) -> Gate:
    (found,) = judge(replace(GOOD, **otherwise), limits, [name])
    return found


def test_all_pass() -> None:
    assert set(JUDGES) == set(ORDER)
    found = judge(GOOD, LIMITS)
    assert [(each.name, each.passed, each.missing) for each in found] == [
        (name, True, "") for name in ORDER
    ]
    assert {each.name for each in found if each.waivable} == WAIVABLE
    assert refusing(found, {}) == ()


STOPPED = replace(STATE, fault=Fault("ddl", "changed", "resync"))
LONG = OpenTransaction("source", 5, "app", "web", "", 60.0, True)
STRANGER = Writer("source", "cron", "batch", "php", 9, 0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "otherwise", "passed", "word"),
    [
        ("capture", {"capture": "kafka"}, False, "Kafka"),
        ("copied", {"states": ()}, False, "not followed"),
        ("copied", {"states": (replace(STATE, stage="copying"),)}, False, "is copying"),
        ("copied", {"states": (STATE, replace(STATE, generation=2, stage="copying"))}, False,
         "copying again"),
        ("copied", {"tables": ()}, False, "no table"),
        ("daemon", {"daemon": None}, False, "no sync"),
        ("daemon", {"daemon": replace(GOOD.daemon, silent_seconds=20.0)}, False, "20 s"),  # type: ignore[type-var]
        ("daemon", telling({}), None, "has not told yet"),
        ("daemon", telling({**SETTLING, "error": "FENCE is not set"}), False, "FENCE is not set"),
        ("daemon", telling({**SETTLING, "seconds": 90.0}), False, "not looked for 90 s"),
        ("daemon", {"account": "other@%"}, False, "as fence@%, and you fence as other@%"),
        ("lag", {"daemon": replace(GOOD.daemon, status={})}, None, "not told"),  # type: ignore[type-var]
        ("lag", {"daemon": replace(GOOD.daemon, status={"lag_seconds": 9.0})}, False, "9.0 s"),  # type: ignore[type-var]
        ("stream-errors", {"states": (STOPPED,)}, False, "changed"),
        ("quarantine", {"quarantined": (Quarantined(SHOP, 2, "d"),)}, False, "2 rows"),
        ("schema", {"definitions": Definitions({}, (Problem("other"),))}, False, "other"),
        ("certificate", {"certificates": ()}, False, "no certificate"),
        ("certificate", {"evidence": ()}, False, "never verified"),
        ("certificate", {"evidence": (Evidence(SHOP, STATE, None, "print", "v1"),)}, False,
         "never verified"),
        ("certificate", {"evidence": (Evidence(SHOP, STATE, PROOF, "other", "v1"),)}, False,
         "definition"),
        ("final-check", {"unproven": ()}, None, "not every table"),
        ("final-check", {"unproven": (Unproven(SHOP, 99_999, 0, 0, 0.0),)}, False, "99999 keys"),
        ("final-check", {"unproven": (Unproven(SHOP, 1000, 0, 100, 1.0),)}, False, "10.4 s"),
        ("in-doubt", {"doubt": Doubt(3, 60.0, (), ())}, False, "3 operations"),
        ("in-doubt", {"doubt": Doubt(0, 0.0, ("X'61'",), ())}, False, "XA transaction"),
        ("in-doubt", {"doubt": Doubt(0, 0.0, (), ("'g'",))}, False, "'g'"),
        ("in-doubt", {"doubt": Doubt(0, 0.0, None, (), "denied")}, None, "denied"),
        ("long-transactions", {"transactions": Transactions((LONG,))}, False, "session 5 of app"),
        ("long-transactions", {"transactions": Transactions((), (Problem("hidden", "GRANT"),))},
         None, "hidden"),
        ("instances", {"epochs": Epochs(("source", 3), ("closed", 4))}, False, "do not agree"),
        ("instances", {"instances": (Instance("i", "proxy", "w", 1, 2, 1.0),)}, False, "epoch 2"),
        ("instances", {"instances": (Instance("i", "proxy", "w", 1, None, 1.0),)}, False,
         "epoch None"),
        ("instances", {"epochs": Epochs(None, None), "instances": (
            Instance("i", "proxy", "w", 1, None, 1.0),)}, False, "never set up"),
        ("instances", {"instances": (Instance("i", "proxy", "w", 1, 3, 30.0),)}, False, "30 s"),
        ("reverse", {"reverse": (Problem("no slot is free"),)}, False, "no slot"),
        ("reverse", {"reverse": None}, None, "nobody has looked"),
        ("representable", {"representable": (Problem("too large"),)}, False, "too large"),
        ("fence", {"fence": (Problem("may not REVOKE"),)}, False, "REVOKE"),
        ("writers", {"census": (Census("source", 9.0, 1.0, (STRANGER,), ()),)}, False,
         "cron@batch (php)"),
        ("writers", {"census": ()}, None, "no time"),
        ("writers", {"census": (Census("source", 90_000.0, 1.0, (), ("userstat is off",)),)}, None,
         "userstat"),
        ("planner", {"statistics": (Statistics(SHOP, False, 9, 0, (), ()),)}, False, "never"),
        ("planner", {"statistics": (Statistics(SHOP, True, 5000, 1500, (), ()),)}, False, "1500"),
        ("planner", {"statistics": (Statistics(SHOP, True, 9, 0, ("i",), ()),)}, False, "invalid"),
        ("planner", {"statistics": (Statistics(SHOP, True, 9, 0, (), ("i",)),)}, False, "built"),
    ],
)  # fmt: skip
def test_each_refuses(name: str, otherwise: dict[str, Any], passed: bool | None, word: str) -> None:
    found = gate(name, **otherwise)
    assert found.passed is passed
    assert word in found.missing
    assert refusing([found], {}) == (found,)
    held = refusing([found], {name: found.evidence_hash()})
    assert held == (() if name in WAIVABLE else (found,))


def test_the_daemon_undoes_by_the_account_that_fences() -> None:
    assert gate("daemon", account="fence@10.%").passed  # wherever each of them runs
    assert gate("daemon", **telling({}), capture="kafka").passed


def test_what_only_tells() -> None:
    over = Span("transaction", ("shop.a", "shop.orders"), ("a", "orders"), 7, "log.000001:99")
    found = gate("span", spans=(over,))
    assert found.passed and "(7 seen)" in found.missing and "a stays" in found.missing
    short = gate("writers", census=(Census("source", 60.0, 1.0, (), ()),))
    assert short.passed and "60 s only" in short.missing
    assert not gate("writers", replace(LIMITS, census=3600.0), census=(
        Census("source", 60.0, 1.0, (), ()),
    )).passed  # fmt: skip


def test_rows_in_quarantine_leave_the_certificate_to_the_proofs() -> None:
    def judged(proof: Proof) -> bool | None:
        kept_out = Evidence(SHOP, replace(STATE, quarantined=1), proof, "print", "v1")
        rows = (Quarantined(SHOP, 1, "d"),)
        return gate("certificate", certificates=(), quarantined=rows, evidence=(kept_out,)).passed

    assert judged(PROOF)
    assert not judged(replace(PROOF, differences=3))


def test_a_waiver_is_for_the_evidence_that_it_was_given_for() -> None:
    def hashed(seconds: float, session: int) -> str:
        one = replace(LONG, seconds=seconds, session=session)
        return gate("long-transactions", transactions=Transactions((one,))).evidence_hash()

    assert hashed(60.0, 5) == hashed(70.0, 5) != hashed(60.0, 6)

    def writing(statements: int, host: str) -> str:
        one = replace(STRANGER, statements=statements, host=host)
        return gate("writers", census=(Census("source", 9.0, 1.0, (one,), ()),)).evidence_hash()

    assert writing(1, "batch") == writing(2, "batch") != writing(1, "other")


def test_own_accounts_are_known_by_what_their_sessions_call_themselves() -> None:
    def judged(account: str, program: str) -> bool | None:
        one = replace(STRANGER, account=account, program=program)
        return gate(
            "writers",
            census=(Census("source", 90_000.0, 1.0, (one,), ()),),
            known_writers=frozenset({"app@%", "role", "far@10.%"}),
            own_accounts=frozenset({"'bridge'@'%'"}),
        ).passed

    assert judged("bridge", "dbbridge sync shop") and judged("bridge", "") and judged("app", "php")
    assert judged("role", "") and judged("whoever", "dbbridge sync shop")
    assert judged("bridge", "mysql") is False
    assert judged("far", "php") is False and judged("app@", "php") is False


def test_foreign_keys_to_others() -> None:
    a, b, c = (TableName("shop", name) for name in "abc")
    groups = {a: "one", b: "two"}
    found = list(spanning([(a, b), (b, a), (a, c), (b, c), (a, a)], groups, "one"))
    assert [span.groups for span in found] == [("one", "two"), ("two", "one"), ("one", "none")]


def test_a_gate_says_why() -> None:
    with pytest.raises(ValueError, match="says why"):
        Gate("lag", False)
    with pytest.raises(ValueError, match="no gate"):
        Gate("luck", True)


SWITCHED = replace(STATE, stage="switched")


def after_it(proof: Proof | None = PROOF, state: TableState | None = SWITCHED) -> Facts:
    """While the target has authority."""
    return replace(GOOD, evidence=(Evidence(SHOP, state, proof, "print", "v1"),))


@pytest.mark.parametrize(
    ("facts", "passed", "word"),
    [
        (after_it(), True, ""),
        (after_it(replace(PROOF, differences=3)), True, ""),
        (after_it(replace(PROOF, open=(("7",),))), True, ""),
        (after_it(state=replace(SWITCHED, quarantined=1)), True, ""),
        (after_it(replace(PROOF, obstacle="the log was purged")), False, "the log was purged"),
        (after_it(state=None), False, "does not follow it"),
        (after_it(state=replace(SWITCHED, version="v2")), False, "its mapping"),
        (after_it(None), False, "never verified"),
        (after_it(state=replace(SWITCHED, fault=Fault("ddl", "changed", "x"))), False, "changed"),
    ],
)
def test_proofs_before_a_reverse(facts: Facts, passed: bool, word: str) -> None:
    found = kept_up(facts)
    assert found.passed is passed and word in found.missing and bool(found.command) is not passed


@pytest.mark.parametrize(
    ("facts", "back", "passed", "word"),
    [
        (GOOD, 0.1, True, ""),
        (GOOD, None, False, "the stream back does not run"),
        (GOOD, 9.0, False, "the stream back is behind by 9.0 s"),
        (replace(GOOD, position=""), 0.1, False, "is not read any more"),
        (replace(GOOD, daemon=None), 0.1, False, "has not told its lag"),
    ],
)
def test_both_streams_are_near_before_a_reverse(
    facts: Facts, back: float | None, passed: bool, word: str
) -> None:
    found = lag_back(facts, LIMITS, back)
    assert found.passed is passed and word in found.missing
