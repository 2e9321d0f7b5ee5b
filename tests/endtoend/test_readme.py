"""Every command that the documents show is run, in its order, between two real databases."""

from __future__ import annotations

import re
import shlex
from contextlib import closing

from compose.local.servers import Server
from tests.endtoend.dual import drop_application, grant_dual_writes, has_dual_writes
from tests.endtoend.project import CHECKOUT, Project

TABLE = "orders"
INTERRUPT = """UPDATE dbbridge.verifications SET finished_at = NULL, verdict = NULL
    WHERE id = (SELECT max(id) FROM dbbridge.verifications) RETURNING id"""
"""The newest verification is one that did not come to its end."""
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(dbbridge [^`]+)`")


def commands(text: str) -> list[str]:
    """The `dbbridge` commands of fenced blocks and of sentences, in the order of the text."""
    found: list[tuple[int, str]] = []
    for block in FENCED.finditer(text):
        if block[1]:  # yaml, xml: no command line
            continue
        lines = block[2].replace("\\\n", " ").splitlines()
        shown = [line.partition("  #")[0].strip() for line in lines if line.startswith("dbbridge ")]
        found += [(block.start(), line) for line in shown]
    found += [(match.start(), match[1]) for match in INLINE.finditer(text)]
    return [command for _, command in sorted(found, key=lambda pair: pair[0])]


def test_the_commands_of_the_readme_work(project: Project, redis: Server) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {TABLE} (id int PRIMARY KEY, note varchar(20))")
        cursor.execute(f"INSERT INTO {TABLE} VALUES (1, 'one'), (2, 'two')")
    shown = commands((CHECKOUT / "README.md").read_text())
    assert [c.split()[1] for c in shown[:8]] == [
        "init", "check", "schema", "schema", "sync", "status", "verify", "cutover",
    ]  # fmt: skip
    for command in shown:
        _run(project, redis, shlex.split(command)[1:])
    project.wait_until(project.streaming)
    if project.source.server.kind == "mariadb":  # what is shown nowhere else does with one source
        for command in _further(shown):
            _run(project, redis, shlex.split(command)[1:])
        drop_application(project)


def _further(shown: list[str]) -> list[str]:
    """The commands of docs/ that README.md does not show, each once; a cutover's have a test."""
    paths = sorted((CHECKOUT / "docs").glob("*.md"))
    texts = [path.read_text() for path in paths if not path.name.startswith("cutover")]
    found = [command for text in texts for command in commands(text)]
    assert "dbbridge config show" in found and "dbbridge verify --resume" in found
    moving = ("dbbridge cutover switch", "dbbridge cutover cancel")  # they belong to cutover.md
    return [c for c in dict.fromkeys(found) if c not in shown and not c.startswith(moving)]


def _init(project: Project, redis: Server) -> None:
    """With a broker in the settings, for the commands that need one."""
    project.init()
    settings = project.folder / "bridge.yaml"
    written = settings.read_text()
    if "celery:" not in written:
        settings.write_text(f"{written}\ncelery: {{broker: {redis.url('0')}}}\n")


def _run(project: Project, redis: Server, words: list[str]) -> None:
    words = [TABLE if word == "TABLE" else word for word in words]
    if words[0] == "init":
        _init(project, redis)
    elif words[0] == "worker":
        project.worker(*words[1:])
    elif words[:2] == ["schema", "apply"]:
        project.apply_schema()
    elif words == ["sync"]:
        if not any(daemon.running for daemon in project.daemons):
            project.sync()
            project.wait_until(project.streaming)
    else:
        if words[0] == "cutover" and not has_dual_writes(project):
            grant_dual_writes(project)
        if "--resume" in words:
            project.ask(INTERRUPT)
        gated = words[:2] == ["cutover", "plan"]  # which are closed here is not the README's matter
        done = project.run(*words, code=None if gated else 0)
        assert done.code in (0, 1), done
    if words[:2] == ["tables", "resync"]:  # what is verified while it is replaced is inconclusive
        project.wait_until(lambda: {*project.stages().values()} == {"streaming"})
