"""Verification by workers gives what it gives in one process, by itself as well."""

from __future__ import annotations

import itertools
import signal
from contextlib import closing
from datetime import timedelta

import pytest

from compose.local.servers import Server
from tests.endtoend.project import Project
from tests.endtoend.spread import assert_alike, copied, plant

ROWS = 20_000
LEAVE_SECONDS = 30.0
"""In which SIGTERM must be obeyed: what a worker gives itself, and what a busy machine needs."""
BY_WORKERS = ("verify", "--via", "celery")
AS_JSON = ("--certify", "--format", "json")


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_workers_say_what_one_process_says(project: Project, redis: Server) -> None:
    copied(project, redis, ROWS, part_rows=4000)
    refuse_a_bad_broker(project, redis)
    waiting = project.background(*BY_WORKERS, *AS_JSON)
    daemon = project.sync()
    project.wait_streaming(daemon)
    project.wait_until(lambda: "started by: dbbridge worker" in waiting.log, daemon=waiting)
    waiting.send(signal.SIGINT)
    assert waiting.wait(LEAVE_SECONDS) == 130

    worker = project.worker("--concurrency", "2")
    there = project.run(*BY_WORKERS, *AS_JSON, "--resume").json
    parts = project.ask("SELECT count(*) FROM dbbridge.verification_parts")
    assert parts[0][0] > 4, "a large table is not cut"
    assert there["verdict"] == "match"
    assert len(there["certificates"]) == 3

    plant(
        project,
        "UPDATE {}.big SET v = -1 WHERE id IN (7, 19000)",
        "DELETE FROM {}.named WHERE code = 'c77'",
        "INSERT INTO {}.loose VALUES (1000001, 'extra')",
    )
    here = project.run("verify", *AS_JSON, code=1).json
    there = project.run(*BY_WORKERS, *AS_JSON, code=1).json
    assert_alike(there, here)
    assert [t["differing"] for t in there["tables"]] == [2, 1, 1]
    worker.stop(LEAVE_SECONDS)
    daemon.stop()


def refuse_a_bad_broker(project: Project, redis: Server) -> None:
    """None, one that does not answer, and one with another password."""
    settings = project.folder / "bridge.yaml"
    text = settings.read_text()

    def refused(text: str, verb: tuple[str, ...], code: int) -> tuple[str, str]:
        settings.write_text(text)
        error, hint = project.run(*verb, code=code).err.splitlines()
        assert error.startswith("error: ") and hint.startswith("hint: ")
        assert redis.password not in error + hint
        return error, hint

    error, _ = refused(text[: text.index("celery:")], BY_WORKERS, 2)
    assert "names no broker" in error
    error, hint = refused(text.replace(str(redis.port), "1"), ("worker",), 4)
    assert "the broker redis://127.0.0.1:1/0 does not answer" in error
    assert "start Redis" in hint
    error, hint = refused(text.replace(redis.password, "wrong"), BY_WORKERS, 4)
    assert "refused us" in error and "password" in hint
    settings.write_text(text)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_workers_verify_by_themselves(project: Project, redis: Server) -> None:
    more = "  schedule: {verify: 2s, level: values, follow: 1}\n"
    copied(project, redis, 1000, part_rows=400, more=more)
    daemon = project.sync()
    project.wait_streaming(daemon)
    workers = [project.worker("--beat", "--concurrency", "1") for _ in range(2)]
    project.wait_until(lambda: "match" in verdicts(project), daemon=workers[0])
    assert "mismatch" not in verdicts(project)

    # Past the stream, so that no round over what changed could find it.
    plant(project, "UPDATE {}.big SET v = -1 WHERE id = 7")
    project.wait_until(lambda: "mismatch" in verdicts(project), daemon=workers[0])
    found = project.ask("SELECT source_table, key, kind FROM dbbridge.differences")
    assert found == [("big", ["7"], "differs")]

    with closing(project.source.connect()) as conn:
        conn.cursor().execute("UPDATE big SET v = 5 WHERE id = 7")
    project.wait_until(lambda: not project.ask("SELECT FROM dbbridge.differences"))
    for worker in workers:
        worker.stop(LEAVE_SECONDS)
    daemon.stop()
    rows = project.ask("SELECT started_at FROM dbbridge.verifications ORDER BY id")
    begun = [at for (at,) in rows]
    assert all(b - a >= timedelta(seconds=2) for a, b in itertools.pairwise(begun))


def verdicts(project: Project) -> list[str]:
    """Of the runs that workers began, in their order."""
    rows = project.ask("SELECT verdict FROM dbbridge.verifications WHERE scheduled ORDER BY id")
    return [verdict for (verdict,) in rows if verdict]
