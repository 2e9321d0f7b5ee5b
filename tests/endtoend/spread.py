"""A table in many parts, verified by workers over a Redis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from compose.local.servers import Server
from tests.endtoend.project import Project

VARYING = {
    *("id", "verification", "issued_at", "finished_at", "seconds"),
    *("position", "lag_seconds", "rechecked"),
}
"""What two runs may say differently. Known differences are looked at again every 20 s of a run."""


def fill(project: Project, rows: int) -> None:
    """Tables `big` with an integer key, `named` with another one, `loose` with none."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE big (id int PRIMARY KEY, v int NOT NULL, note varchar(40))")
        cursor.execute("CREATE TABLE named (code varchar(20) PRIMARY KEY, v int)")
        cursor.execute("CREATE TABLE loose (v int, note varchar(20))")
        cursor.execute("INSERT INTO big VALUES (1, 1, 'first')")
        have = 1
        while have < rows:
            cursor.execute(
                "INSERT INTO big SELECT id + %s, (id * 7919) %% 1000, CONCAT('note ', id * 31)"
                " FROM big WHERE id + %s <= %s",
                (have, have, rows),
            )
            have *= 2
        cursor.execute("INSERT INTO named SELECT CONCAT('c', id), v FROM big WHERE id <= 500")
        cursor.execute("INSERT INTO loose SELECT v, 'same' FROM big WHERE id <= 500")
        cursor.execute("ANALYZE TABLE big")


def copied(project: Project, redis: Server, rows: int, *, part_rows: int, more: str = "") -> None:
    """Init to caught-up, with a broker in the settings; `more` goes under celery."""
    fill(project, rows)
    project.init()
    if project.source.server.kind == "mysql":
        project.consent_to_lock("loose")
    settings = project.folder / "bridge.yaml"
    text = f"celery:\n  broker: {redis.url('0')}\n  part_rows: {part_rows}\n{more}"
    settings.write_text(settings.read_text() + text)
    project.apply_schema()
    project.catch_up()


def by_workers(project: Project, redis: Server) -> None:
    """From now on workers shall copy."""
    settings = project.folder / "bridge.yaml"
    text = settings.read_text().replace("pipeline:\n", "pipeline:\n  copy_via: celery\n")
    settings.write_text(text + f"celery:\n  broker: {redis.url('0')}\n")


def plant(project: Project, *statements: str) -> None:
    """Writes into the target past the stream; `{}` is the schema."""
    with project.target.connect() as conn:
        for statement in statements:
            conn.execute(statement.format(f'"{project.source.name}"').encode())


def assert_alike(found: Any, expected: Any) -> None:
    """Fails, naming the places, if two documents differ in what may not vary."""
    apart = list(_apart(found, expected, ""))
    assert not apart, "\n".join(apart)


def _apart(found: Any, expected: Any, place: str) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted((found.keys() | expected.keys()) - VARYING):
            yield from _apart(found.get(name), expected.get(name), f"{place}.{name}")
    elif isinstance(found, list) and isinstance(expected, list):
        for number, (one, other) in enumerate(itertools.zip_longest(found, expected)):
            yield from _apart(one, other, f"{place}[{number}]")
    elif found != expected:
        yield f"{place}: {found!r}, expected {expected!r}"
