"""Gates through the command line: each refuses its case by name, and only some can be waived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from tests.endtoend.dual import app_name, drop_application, fence_name
from tests.endtoend.moves import OTHERS, move, plan_of, prepare, start
from tests.endtoend.project import Project

OURS = OTHERS.replace("max_transaction_seconds: 600", "max_transaction_seconds: 1")
REFUSED = {
    "certificate": "never verified",
    "quarantine": "1 rows of",
    "long-transactions": "transaction open for",
    "in-doubt": "is prepared in the source",
    "schema": "numeric(12,2) in the target",
    "instances": "the current one is",
    "reverse": "may not replicate",
    "representable": "do not fit into",
    "fence": "",
}
"""The cases that are made together, and what each gate says of its own."""
KEPT_OUT = "SELECT count(*) FROM dbbridge.quarantine"


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_gates_refuse(project: Project) -> None:
    prepare(project, OURS)
    daemon = start(project, certify=False)
    project.run("cutover", "reads", "1")
    with ExitStack() as made:
        for case in CASES:
            made.enter_context(case(project))
        refused(project)
    path = project.folder / "bridge.yaml"
    path.write_text(path.read_text().replace(OURS, OTHERS))
    # The rows were mended when the cases ended, which comes through the stream.
    project.wait_until(lambda: project.ask(KEPT_OUT) == [(0,)], daemon=daemon)
    project.run("verify", "--certify")
    waived(project)
    daemon.stop()
    found = plan_of(project)
    assert "daemon" in found["refused_by"], found
    assert "daemon" in move(project, "switch", code=1).err
    drop_application(project)


def refused(project: Project) -> None:
    missing: dict[str, str] = {}

    def all_of_them() -> bool:
        found = plan_of(project)
        missing.update({gate["gate"]: gate["missing"] for gate in found["gates"]})
        return set(REFUSED) <= set(found["refused_by"])

    project.wait_until(all_of_them, 60)
    other = {name: missing[name] for name, said in REFUSED.items() if said not in missing[name]}
    assert not other
    result = move(project, "switch", code=1)
    named = result.err.partition("refused by ")[2].partition(":")[0].split(", ")
    assert set(REFUSED) <= set(named), result
    assert project.ask("SELECT state FROM dbbridge.cutovers") in ([], [("source-primary",)])


def waived(project: Project) -> None:
    """With its evidence alone; and not what cannot be."""
    for name in ("certificate", "daemon", "nonsense"):
        result = project.run("cutover", "waive", name, "--reason", "I know better", code=2)
        assert f"the gate {name} cannot be waived" in result.err
    assert (
        "needs a reason"
        in project.run("cutover", "waive", "quarantine", "--reason", " ", code=2).err
    )
    assert "is open" in project.run("cutover", "waive", "quarantine", "--reason", "x", code=2).err
    with a_row_in_quarantine(project, 11):
        project.wait_until(lambda: "quarantine" in plan_of(project)["refused_by"])
        project.run("cutover", "waive", "quarantine", "--reason", "a test order")
        found = plan_of(project)
        assert "quarantine" not in found["refused_by"], found
        (gate,) = [gate for gate in found["gates"] if gate["gate"] == "quarantine"]
        assert gate["waived"] and gate["passed"] is False
        with a_row_in_quarantine(project, 12):
            project.wait_until(lambda: "quarantine" in plan_of(project)["refused_by"])


def on_source(project: Project, *statements: str) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def on_target(project: Project, *statements: str) -> None:
    with project.target.connect() as conn:
        for statement in statements:
            conn.execute(statement.encode())


@contextmanager
def a_row_in_quarantine(project: Project, number: int = 10) -> Iterator[None]:
    """A text that PostgreSQL cannot hold."""
    on_source(project, f"UPDATE purchase SET note = CHAR(0) WHERE id = {number}")
    try:
        yield
    finally:
        on_source(project, f"UPDATE purchase SET note = '' WHERE id = {number}")


@contextmanager
def a_transaction(project: Project) -> Iterator[None]:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE customer SET name = 'x' WHERE id = 9")
        try:
            yield
        finally:
            conn.rollback()


@contextmanager
def one_in_doubt(project: Project) -> Iterator[None]:
    on_source(project, "CREATE TABLE elsewhere (id int PRIMARY KEY)")
    xid = f"'{app_name(project)}'"
    on_source(
        project, f"XA START {xid}", "INSERT INTO elsewhere VALUES (1)", f"XA END {xid}",
        f"XA PREPARE {xid}",
    )  # fmt: skip
    try:
        yield
    finally:
        on_source(project, f"XA ROLLBACK {xid}")


@contextmanager
def another_type(project: Project) -> Iterator[None]:
    """And a number that the source's type does not have."""
    table = f'"{project.source.name}".purchase'
    on_target(
        project,
        f"UPDATE {table} SET amount = 'NaN' WHERE id = 20",
        f"ALTER TABLE {table} ALTER amount TYPE numeric(12,2)",
    )
    try:
        yield
    finally:
        on_target(
            project,
            f"ALTER TABLE {table} ALTER amount TYPE numeric(10,2)",
            f"UPDATE {table} SET amount = 4.75 WHERE id = 20",
        )


@contextmanager
def an_instance(project: Project) -> Iterator[None]:
    on_target(
        project,
        "INSERT INTO dbbridge.instances (pipeline, instance, host, pid, kind, seen_at,"
        " epochs) VALUES"
        f" ('{project.source.name}', gen_random_uuid(), 'web', 1, 'layer',"
        f" now() + interval '1 h', '{{\"customer\": 0}}')",
    )
    try:
        yield
    finally:
        on_target(project, "DELETE FROM dbbridge.instances")


@contextmanager
def without_rights(project: Project) -> Iterator[None]:
    """Whoever fences may not grant, and nobody may replicate."""
    role, who = f'"{project.accounts.name}"', f"'{fence_name(project)}'@'%'"
    name = project.source.name
    on_target(project, f"ALTER ROLE {role} NOREPLICATION")
    on_source(project, f"REVOKE GRANT OPTION ON `{name}`.* FROM {who}")
    try:
        yield
    finally:
        on_target(project, f"ALTER ROLE {role} REPLICATION")
        on_source(project, f"GRANT SELECT ON `{name}`.* TO {who} WITH GRANT OPTION")


CASES: tuple[Any, ...] = (
    a_row_in_quarantine, a_transaction, one_in_doubt, another_type, an_instance, without_rights,
)  # fmt: skip
