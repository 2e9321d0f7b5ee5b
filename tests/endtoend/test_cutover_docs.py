"""docs/cutover.md: its rights suffice, its commands work in their order, its lists are whole."""

from __future__ import annotations

import re
import shlex

from bridge.cutover.gates.base import ORDER, WAIVABLE
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import drop_application
from tests.endtoend.moves import (
    DOCUMENT,
    OTHERS,
    move,
    near,
    plan_of,
    prepare,
    start,
    wait_followed,
    waive_writers,
)
from tests.endtoend.project import Project
from tests.endtoend.test_readme import commands

GROUP = "customer"
STATES = {"plan": (0, 1), "waive": (0, 2)}
"""Exit codes of the document's verbs: gates may be closed, and nothing there to be waived."""


def test_the_commands_of_the_document_work(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    shown = commands(DOCUMENT.read_text())
    verbs = [shlex.split(line)[1:3] for line in shown]
    assert [words[1] for words in verbs if words[0] == "cutover"] == [
        "plan", "waive", "switch", "switch", "status", "switch", "cancel", "plan", "reverse",
        "complete",
    ]  # fmt: skip
    for line in shown:
        _run(project, shlex.split(line.replace("--group orders", f"--group {GROUP}"))[1:])
    daemon.stop()
    assert assert_same(project.source, project.target, tables=["customer", "purchase"]) == 600
    drop_application(project)


def _run(project: Project, words: list[str]) -> None:
    """One command, with the plan's hash where it has HASH, and the group where it must be for it.

    What is announced begins with the source: the group goes back before it, and to the target when
    that is called off. What is completed is in the target.
    """
    if "complete" in words:
        _go(project, "switch")
        near(project)
    if "--at" in words:
        _go(project, "reverse")
    if "HASH" in words:
        words[words.index("HASH")] = _hash(project, words)
    if "--at" in words:
        project.start(*words)
        announced = "SELECT 1 FROM dbbridge.cutovers WHERE scheduled_at IS NOT NULL"
        project.wait_until(lambda: bool(project.ask(announced)))
    else:
        codes = STATES.get(words[1], (0,)) if words[0] == "cutover" else (0,)
        done = project.run(*words, code=None)
        while "refused by writers:" in done.err:  # somebody else's, on the same server
            waive_writers(project)
            done = project.run(*words, code=None)
        assert done.code in codes, done
    if words[:2] == ["cutover", "switch"] and "--plan" in words and "--at" not in words:
        near(project)
    if words[:2] == ["cutover", "reverse"]:
        wait_followed(project)
    if words[:2] == ["cutover", "cancel"]:
        _go(project, "switch")
        near(project)


def _go(project: Project, direction: str) -> None:
    waive_writers(project)
    move(project, direction)


def _hash(project: Project, words: list[str]) -> str:
    if "complete" not in words:
        back = ("--reverse",) if "reverse" in words else ()
        return str(plan_of(project, *back)["plan"])
    done = project.run(*words[: words.index("--plan")], code=2)
    found = re.search(r"--plan (\w+)", done.err)
    assert found, done
    return found[1]


def test_all_gates_are_told() -> None:
    text = DOCUMENT.read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| ", text, re.MULTILINE)
    assert [name for name in rows if name in ORDER] == list(ORDER)
    assert all(f"`{name}`" in text.partition("can be waived")[2] for name in WAIVABLE)
