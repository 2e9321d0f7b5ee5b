"""Every command that README.md shows is run, in its order, between two real databases."""

from __future__ import annotations

import re
import shlex
from contextlib import closing

from tests.endtoend.project import CHECKOUT, Project

TABLE = "orders"
FENCED = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(dbbridge [^`]+)`")


def commands(text: str) -> list[str]:
    """The `dbbridge` commands of fenced blocks and of sentences, in the order of the text."""
    found: list[tuple[int, str]] = []
    for block in FENCED.finditer(text):
        lines = block[1].replace("\\\n", " ").splitlines()
        shown = [line.partition("  #")[0].strip() for line in lines if line.startswith("dbbridge ")]
        found += [(block.start(), line) for line in shown]
    found += [(match.start(), match[1]) for match in INLINE.finditer(text)]
    return [command for _, command in sorted(found, key=lambda pair: pair[0])]


def test_the_commands_of_the_readme_work(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {TABLE} (id int PRIMARY KEY, note varchar(20))")
        cursor.execute(f"INSERT INTO {TABLE} VALUES (1, 'one'), (2, 'two')")
    shown = commands((CHECKOUT / "README.md").read_text())
    assert [c.split()[1] for c in shown[:8]] == [
        "init", "check", "schema", "schema", "sync", "status", "verify", "quarantine",
    ]  # fmt: skip
    for command in shown:
        _run(project, shlex.split(command)[1:])
    project.wait_until(project.streaming)


def _run(project: Project, words: list[str]) -> None:
    words = [TABLE if word == "TABLE" else word for word in words]
    if words[0] == "init":
        project.init()
    elif words[:2] == ["schema", "apply"]:
        project.apply_schema()
    elif words == ["sync"]:
        if not any(daemon.running for daemon in project.daemons):
            project.sync()
            project.wait_until(project.streaming)
    else:
        project.run(*words)
