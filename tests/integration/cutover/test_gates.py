"""Each gate refuses a case that was made for it, by its name, and passes without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from bridge.cutover.gates.base import ORDER, Gate, Problem
from bridge.cutover.gates.judge import refusing
from bridge.names import TableName
from tests.endtoend.project import Project
from tests.integration.cutover.gating import ROWS, Gated, gated, permit

PASSING = [name for name in ORDER if name != "writers"]


@pytest.fixture
def found(project: Project) -> Iterator[Gated]:
    found = gated(project)
    yield found
    if found.daemon.running:
        found.daemon.stop(timeout=60)


def test_gates(found: Gated) -> None:
    without_rights(found)
    permit(found)
    never_verified(found)
    everything_passes(found)
    rows_in_quarantine(found)
    changed_since(found)
    somebody_has_a_transaction_open(found)
    somebody_prepared_one(found)
    rows_that_differ(found)
    the_target_is_another(found)
    the_planner_is_not_ready(found)
    an_instance_is_behind(found)
    seams(found)
    another_group(found)
    a_table_is_paused(found)
    the_definition_changes(found)
    what_is_prepared_is_not_followed(found)
    nobody_syncs(found)


def refused(gate: Gate, *words: str, passed: bool | None = False) -> None:
    """Says so with all of these words; what can be waived is, for this evidence alone."""
    assert gate.passed is passed, gate
    for word in words:
        assert word in gate.missing, gate
    assert gate.command, gate
    held = refusing([gate], {gate.name: gate.evidence_hash()})
    assert held == (() if gate.waivable else (gate,))
    assert refusing([gate], {gate.name: "another"}) == (gate,)


def without_rights(found: Gated) -> None:
    gates = found.gates()
    refused(gates["reverse"], "may not replicate", "may not insert, update, delete")
    if found.project.source.server.kind == "mysql":
        refused(gates["in-doubt"], "does not tell its prepared", passed=None)
    refused(gates["long-transactions"], "PROCESS", passed=None)
    refused(gates["writers"], passed=None)  # later the census may have seen somebody


def never_verified(found: Gated) -> None:
    gates = found.gates()
    refused(gates["certificate"], "it was never verified")
    refused(gates["final-check"], "not every table is proven", passed=None)


def everything_passes(found: Gated) -> None:
    found.project.run("verify", "--certify")
    wanting: list[dict[str, str]] = []

    def all_pass() -> bool:
        gates = found.gates()
        wanting.append({n: gates[n].missing for n in PASSING if not gates[n].passed})
        return not wanting[-1]

    found.passing(all_pass, lambda: str(wanting[-1]))
    assert found.gates()["certificate"].evidence["certificates"]
    with found.sessions() as (source, target):
        began = time.perf_counter()
        for _ in range(3):
            found.inspector.gates(source, target)
        print(f"\n{(time.perf_counter() - began) / 3 * 1000:.0f} ms for all gates")


def rows_in_quarantine(found: Gated) -> None:
    found.on_source("SET sql_mode = ''", "UPDATE customer SET born = '0000-00-00' WHERE id = 3")
    gate = found.becomes("quarantine", False)
    refused(gate, "1 rows of", "customer are in quarantine")
    found.becomes("certificate", True)
    found.on_source("SET sql_mode = ''", "UPDATE customer SET born = '0000-00-00' WHERE id = 4")
    found.passing(lambda: "2 rows" in found.gates()["quarantine"].missing)
    assert found.gates()["quarantine"].evidence_hash() != gate.evidence_hash()
    found.on_source("UPDATE customer SET born = '1980-01-01' WHERE id IN (3, 4)")
    found.becomes("quarantine", True)


def changed_since(found: Gated) -> None:
    found.on_source("UPDATE orders SET total = total + 1")
    found.passing(lambda: found.gates()["final-check"].evidence["keys_at_position"] >= ROWS)
    refused(found.gates(pause=0.45)["final-check"], "keys changed since they were proven")
    found.becomes("final-check", True, pause=60.0)
    found.project.run("verify", "--certify")
    found.becomes("final-check", True, pause=0.45)


def somebody_has_a_transaction_open(found: Gated) -> None:
    with closing(found.project.source.connect()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE customer SET name = 'x' WHERE id = 9")
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone() or (0,)
        gate = open_session(found, "source", number)
        refused(gate, "of root@", "transaction open for")
        later = open_session(found, "source", number)
        if numbers(gate) == numbers(later):
            assert later.evidence_hash() == gate.evidence_hash()
        other.rollback()
    with found.project.target.connect() as there:
        there.autocommit = False
        there.execute(f'SELECT FROM "{found.project.source.name}".customer LIMIT 1'.encode())
        refused(open_session(found, "target", there.info.backend_pid))
        there.rollback()
    found.becomes("long-transactions", True)


def numbers(gate: Gate) -> set[tuple[str, int]]:
    """The sessions that a gate names: others may come and go."""
    return {(one["side"], one["session"]) for one in gate.evidence["sessions"]}


def open_session(found: Gated, side: str, number: int) -> Gate:
    """The gate, once it names the session."""
    seen: list[Gate] = []

    def named() -> bool:
        seen.append(found.gates(transaction=0.5)["long-transactions"])
        return (side, number) in numbers(seen[-1])

    found.passing(named)
    return seen[-1]


def somebody_prepared_one(found: Gated) -> None:
    found.on_source(
        "CREATE TABLE elsewhere (id int PRIMARY KEY)",
        "XA START 'one', 'branch'",
        "INSERT INTO elsewhere VALUES (1)",
        "XA END 'one', 'branch'",
        "XA PREPARE 'one', 'branch'",
    )
    try:
        gate = found.gates()["in-doubt"]
        refused(gate, "is prepared in the source")
    finally:
        found.on_source(gate.command)
    found.becomes("in-doubt", True)
    # An early write that the stream has not brought.
    name = found.project.source.name
    found.on_target(
        "INSERT INTO dbbridge.applied_ops (op_id, pipeline, seq, confirmed, applied_at) VALUES"
        f" (gen_random_uuid(), '{name}', 1, false, now() - interval '1 minute')"
    )
    refused(found.gates()["in-doubt"], "1 operations were written early")
    found.on_target("DELETE FROM dbbridge.applied_ops")


def rows_that_differ(found: Gated) -> None:
    table = f'"{found.project.source.name}".customer'
    found.on_target(f"UPDATE {table} SET name = 'other' WHERE id = 20")
    found.project.run("verify", "customer", "--certify", code=1)
    refused(found.gates()["certificate"], "1 rows differ")
    found.on_source("UPDATE customer SET name = 'healed' WHERE id = 20")
    found.project.run("verify", "--certify")
    found.becomes("certificate", True)


def the_target_is_another(found: Gated) -> None:
    table = f'"{found.project.source.name}".orders'
    found.on_target(f"ALTER TABLE {table} ALTER total TYPE numeric(12,2)")
    refused(found.gates()["schema"], "total", "numeric(12,2) in the target")
    found.on_target(f"ALTER TABLE {table} ALTER total TYPE numeric(10,2)")
    found.becomes("schema", True)
    name = TableName(found.project.source.name, "orders")
    mappings = dict(found.inspector.mappings)
    mappings[name] = replace(mappings[name], where="id > 0")
    edited = replace(found.inspector, mappings=mappings)
    refused(found.gates(edited)["schema"], "its mapping file says otherwise")


def the_planner_is_not_ready(found: Gated) -> None:
    schema = found.project.source.name
    (index,) = found.project.ask(
        "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND indexdef LIKE '%%(total)%%'",
        schema,
    )[0]
    oid = f'\'"{schema}"."{index}"\'::regclass'
    found.on_target(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = {oid}")
    refused(found.gates()["planner"], f"{index} of", "is invalid")
    found.on_target(f'DROP INDEX "{schema}"."{index}"')
    refused(found.gates()["planner"], "is not built")
    found.on_target(f'CREATE INDEX "{index}" ON "{schema}".orders (total)')
    assert not found.gates()["planner"].evidence["tables"][1]["indexes_to_build"]


def an_instance_is_behind(found: Gated) -> None:
    name = found.project.source.name
    found.on_target(
        f"INSERT INTO dbbridge.authority (pipeline, grp, epoch) VALUES ('{name}', 'customer', 7)"
    )
    refused(found.gates()["instances"], "the sides do not agree", "epoch 7 in the target")
    found.on_target("UPDATE dbbridge.authority SET epoch = 7")
    found.on_source(
        "CREATE TABLE _bridge_authority (grp varchar(64) PRIMARY KEY, epoch bigint,"
        " authority varchar(6), mode varchar(11), reads_percent int)",
        "INSERT INTO _bridge_authority VALUES ('customer', 7, 'source', 'cdc', 0)",
    )
    found.becomes("instances", True)
    found.on_target(
        "INSERT INTO dbbridge.instances (pipeline, instance, host, pid, kind, epochs) VALUES"
        f" ('{name}', gen_random_uuid(), 'web1', 11, 'layer', '{{\"customer\": 6}}')"
    )
    refused(found.gates()["instances"], "layer web1:11 knows epoch 6", "the current one is 7")
    # It speaks again: ten seconds may have gone by.
    found.on_target("UPDATE dbbridge.instances SET epochs = '{\"customer\": 7}', seen_at = now()")
    found.becomes("instances", True)
    found.on_target("UPDATE dbbridge.instances SET seen_at = now() - interval '30 s'")
    refused(found.gates()["instances"], "has said nothing for 3")
    found.on_target("UPDATE dbbridge.instances SET seen_at = now() - interval '5 min'")
    found.becomes("instances", True)


def seams(found: Gated) -> None:
    asked = replace(found.inspector, capture="kafka")
    refused(found.gates(asked)["capture"], "Kafka")
    wrong = Problem("one row is too large", "dbbridge explain orders")
    looking = found.inspector
    for name, asked in (
        ("representable", replace(looking, representable=lambda _: [wrong])),
        ("fence", replace(looking, fence=lambda _: [wrong])),
        ("reverse", replace(looking, reverse=lambda _: [wrong])),
    ):
        refused(found.gates(asked)[name], "one row is too large")
    refused(found.gates(replace(found.inspector, fence=None))["fence"], "looked", passed=None)
    assert found.gates()["span"].missing == ""


def another_group(found: Gated) -> None:
    """MyISAM has no transactions; a trigger fires again; and a foreign key leads to others."""
    found.on_source("CREATE TRIGGER noting BEFORE INSERT ON note FOR EACH ROW SET NEW.id = NEW.id")
    who = f"'{found.project.accounts.name}'@'%'"
    found.on_source(f"GRANT TRIGGER ON `{found.project.source.name}`.* TO {who}")
    gates = found.gates(replace(found.inspector, group="note"))
    refused(gates["reverse"], "MyISAM", "trigger noting")
    name = TableName(found.project.source.name, "orders")
    mappings = dict(found.inspector.mappings)
    mappings[name] = replace(mappings[name], group="sales")
    gate = found.gates(replace(found.inspector, mappings=mappings))["span"]
    assert gate.passed and "foreign key over" in gate.missing and "sales" in gate.missing


def a_table_is_paused(found: Gated) -> None:
    found.project.run("tables", "pause", "orders")
    refused(found.gates()["copied"], "orders is paused")
    found.project.run("tables", "resume", "orders")
    found.becomes("copied", True)


def the_definition_changes(found: Gated) -> None:
    found.on_source("ALTER TABLE orders MODIFY total decimal(11,2)")
    gate = found.becomes("stream-errors", False)
    refused(gate, "orders")
    refused(found.gates()["schema"], "orders")


def what_is_prepared_is_not_followed(found: Gated) -> None:
    """It may be rolled back, as here, and must not be in the target then."""
    found.on_source(
        "XA START 'two'",
        "UPDATE customer SET name = 'never' WHERE id = 30",
        "XA END 'two'",
        "XA PREPARE 'two'",
    )
    found.on_source("XA ROLLBACK 'two'")
    found.passing(
        lambda: "xa" in [e["code"] for e in found.gates()["stream-errors"].evidence["stopped"]]
    )
    asked = f'SELECT name FROM "{found.project.source.name}".customer WHERE id = 30'
    assert found.project.ask(asked) == [("name 30",)]


def nobody_syncs(found: Gated) -> None:
    found.daemon.stop(timeout=60)
    gates = found.gates()
    refused(gates["daemon"], "no sync is running")
    refused(gates["lag"], "has not told", passed=None)
