"""Tables and columns of any name are copied, streamed, copied again and verified."""

from __future__ import annotations

import shlex
from contextlib import closing

from bridge.names import quote_mysql
from tests.endtoend.compare import compare
from tests.endtoend.project import Project

LONG = "x" * 60
NAMES = (
    "it's", 'a "b"', "with space", "tick`tick", "100%s", "%(name)s", "back\\slash", "l" * 64,
    "таблица", "表" * 30, "select", "MixedCase", "semi;colon --", "{brace}", "a.b", "_line",
    "co:lon", "#hash", LONG + "aaaa", LONG + "aaab", "x__copy2", "x",
)  # fmt: skip
"""Two agree in their first 63 bytes; one is what the copy of another would be called."""


AGAIN = ("x", "it's", 'a "b"', "l" * 64, "表" * 30, "100%s")


def test_every_name(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for name in NAMES:
            table, key = quote_mysql(name), quote_mysql(name[:20])
            cursor.execute(
                f"CREATE TABLE {table} ({key} varchar(20) PRIMARY KEY, `%` int, KEY {table} (`%`))"
            )
            cursor.execute(f"INSERT INTO {table} VALUES ('a', 1), ('b', 2), ('tab\t', 3)")
        project.begin()
        daemon = project.sync()
        project.wait_streaming(daemon)
        for name in NAMES:
            table, key = quote_mysql(name), quote_mysql(name[:20])
            cursor.execute(f"UPDATE {table} SET `%` = 7 WHERE {key} = 'b'")
            cursor.execute(f"DELETE FROM {table} WHERE {key} = 'a'")
            cursor.execute(f"INSERT INTO {table} VALUES ('back\\\\', NULL)")
        project.run("tables", "resync", *AGAIN)
        project.wait_until(lambda: len(project.ask(COPIED_AGAIN)) == len(AGAIN), daemon=daemon)
        cursor.execute("UPDATE `x` SET `%` = 9")
    ways_on_can_be_pasted(project)
    daemon.stop()
    project.catch_up()
    renamed = dict(project.ask("SELECT source_table, target_table FROM dbbridge.tables"))
    assert len(set(renamed.values())) == len(NAMES)
    compared, differing = compare(project.source, project.target, renamed=renamed)
    assert not differing, "\n".join(map(str, differing))
    assert compared == 3 * len(NAMES)
    found = project.run("verify", "--format", "json").json["tables"]
    assert [table["verdict"] for table in found] == ["match"] * len(NAMES)


def ways_on_can_be_pasted(project: Project) -> None:
    """A shell takes the name in a command for one word."""
    project.run("tables", "pause", *AGAIN)
    found = project.run("verify", "--format", "json", code=3).json["tables"]
    ways = [shlex.split(each["hint"]) for each in found if each["hint"]]
    assert [way[:-1] for way in ways] == [["dbbridge", "tables", "resume"]] * len(AGAIN)
    project.run("tables", "resume", *(way[-1] for way in ways))


COPIED_AGAIN = "SELECT FROM dbbridge.tables WHERE generation > 1 AND stage = 'streaming'"
