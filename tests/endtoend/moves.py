"""A project whose group can be switched: accounts, rights and settings as the guide has them."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from tests.endtoend.dual import (
    app_name,
    documented,
    fence_name,
    grant_dual_writes,
    grant_on_target,
)
from tests.endtoend.project import CHECKOUT, Daemon, Project, Result

DOCUMENT = CHECKOUT / "docs" / "cutover.md"

OTHERS = "  max_transaction_seconds: 600\n  max_lag_seconds: 60\n"
"""Settings for tests that are not about others, who use the same servers meanwhile."""
STREAMING = "status ->> 'phase' = 'streaming'"
"""For `wait_said`."""


def make_tables(project: Project) -> None:
    """A parent, a child, generated keys, ON UPDATE, and a table without a key."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE customer (id int AUTO_INCREMENT PRIMARY KEY, name varchar(40) NOT NULL,"
            " email varchar(80) UNIQUE, touched timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)"
            " ON UPDATE CURRENT_TIMESTAMP(3))"
        )
        cursor.execute(
            "CREATE TABLE purchase (id bigint AUTO_INCREMENT PRIMARY KEY, customer int NOT NULL,"
            " amount decimal(10,2) NOT NULL, note text,"
            " FOREIGN KEY (customer) REFERENCES customer (id))"
        )
        cursor.executemany(
            "INSERT INTO customer (name, email) VALUES (%s, %s)",
            [(f"name {n}", f"{n}@example.org") for n in range(100)],
        )
        cursor.executemany(
            "INSERT INTO purchase (customer, amount, note) VALUES (%s, %s, %s)",
            [(n % 100 + 1, n / 4, "x" * (n % 50)) for n in range(500)],
        )


def prepare(project: Project, settings: str = "") -> None:
    """Tables, accounts, bridge.yaml and mapping files; the foreign key makes one group."""
    make_tables(project)
    project.begin()
    grant_dual_writes(project)
    grant_cutover(project)
    server, app = project.source.server, app_name(project)
    place = f"{server.host}:{server.port}/{project.source.name}"
    path = project.folder / "bridge.yaml"
    text = path.read_text().replace(
        "databases:",
        f"databases:\n  fence: {{url: 'mysql://{fence_name(project)}:${{SOURCE_PW}}@{place}'}}",
        1,
    )
    own = f"\ncutover:\n  source: fence\n  accounts: ['{app}@%']\n  roles: [{app}]\n"
    path.write_text(text.rstrip("\n") + own + settings)


def grant_cutover(project: Project) -> None:
    """The account that fences, and exactly the rights of the document on both sides."""
    password = project.accounts.password
    blocks = [0, 1 if project.source.server.kind == "mysql" else 2]
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE USER '{fence_name(project)}'@'%' IDENTIFIED BY '{password}'")
        for number in blocks:
            for line in documented(project, DOCUMENT, number):
                cursor.execute(line)
    with project.target.connect() as there:
        for line in documented(project, DOCUMENT, 3):
            there.execute(line.encode())


def start(project: Project, *, certify: bool = True) -> Daemon:
    """The daemon, streaming; the application may write on the target once it has authority.

    Without `certify` nothing is verified yet, nor waived.
    """
    daemon = project.sync()
    project.wait_streaming(daemon)
    grant_on_target(project)
    wait_told(project, daemon)
    if certify:
        project.run("verify", "--certify")
        waive_writers(project)
    return daemon


def wait_told(project: Project, daemon: Daemon) -> None:
    """Waits until a daemon that has begun has told what gates want to know.

    That is its lag and whether it could undo a switch, and who was seen to write on both sides.
    """
    told = (
        "SELECT status ->> 'lag_seconds' IS NOT NULL AND status -> 'settling' IS NOT NULL"
        " AND (SELECT count(*) FROM dbbridge.census) = 2 FROM dbbridge.daemon"
    )
    project.wait_until(lambda: project.ask(told) == [(True,)], daemon=daemon)


def wait_said(project: Project, daemon: Daemon, what: str) -> None:
    """Waits until the daemon says `what` of itself as it is from now on.

    It tells once a second, so that its last words may be about what was before.
    """
    ((now,),) = project.ask("SELECT clock_timestamp()")
    said = f"SELECT renewed_at > %s + interval '1 s' AND {what} FROM dbbridge.daemon"
    project.wait_until(lambda: project.ask(said, now) == [(True,)], daemon=daemon)


def wait_followed(project: Project) -> None:
    """After a reverse: waits until the stream has met its marker, and applies again."""
    project.wait_until(lambda: "switched" not in project.stages().values())


def waive_writers(project: Project) -> str:
    """Where the source counts nobody's statements, nobody can be known not to write.

    Returns the plan's hash.
    """
    found = plan_of(project)
    if "writers" in found["refused_by"]:
        project.run("cutover", "waive", "writers", "--reason", "all accounts are known")
    return str(found["plan"])


def plan_of(project: Project, *words: str) -> Any:
    """The plan as JSON, whether gates refuse or not."""
    found = project.run("cutover", "plan", *words, "--format", "json", code=None)
    assert found.code in (0, 1), found
    return found.json


def move(project: Project, direction: str, *words: str, code: int | None = 0) -> Result:
    """A switch or reverse by its plan's hash; whoever else writes to the server is known.

    After a reverse the stream applies again when this returns.
    """
    back = direction == "reverse"
    while True:
        number = plan_of(project, "--reverse")["plan"] if back else waive_writers(project)
        done = project.run("cutover", direction, "--plan", number, *words, code=None)
        if "refused by writers:" not in done.err:  # else he came between
            assert code is None or done.code == code, done
            if back and done.code == 0:
                wait_followed(project)
            return done


def near(project: Project) -> None:
    """Waits until both streams say how near they are, and the daemon what it could undo.

    What an earlier daemon said of the stream back says nothing of now.
    """
    query = (
        "SELECT (w.status ->> 'lag_seconds')::float8 FROM dbbridge.way_back w"
        " JOIN dbbridge.daemon d USING (pipeline) WHERE d.status -> 'settling' IS NOT NULL"
        " AND d.status ->> 'lag_seconds' IS NOT NULL"
        " AND (w.status ->> 'told_at')::timestamptz > d.started_at"
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = project.ask(query)
        if rows and rows[0][0] is not None and rows[0][0] < 1:
            return
        time.sleep(0.05)
    raise AssertionError(f"no stream back: {project.ask('SELECT * FROM dbbridge.way_back')}")


__all__ = [
    "OTHERS", "STREAMING", "app_name", "move", "near", "plan_of", "prepare", "start",
    "wait_followed", "wait_said", "wait_told",
]  # fmt: skip
