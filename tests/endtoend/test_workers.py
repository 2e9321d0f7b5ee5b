"""Verification by workers gives what it gives in one process, by itself as well."""

from __future__ import annotations

import pytest

from compose.local.servers import Server
from tests.endtoend.project import Project
from tests.endtoend.spread import alike, copied, plant

ROWS = 20_000
LEAVE_SECONDS = 10.0
"""In which SIGTERM must be obeyed."""


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_workers_say_what_one_process_says(project: Project, redis: Server) -> None:
    copied(project, redis, ROWS, part_rows=4000)
    daemon = project.sync()
    project.wait_streaming(daemon)
    worker = project.worker("--concurrency", "2")
    words = ("verify", "--certify", "--format", "json")
    here = project.run(*words).json
    there = project.run(*words, "--via", "celery").json
    assert there["verdict"] == "match"
    assert alike(there) == alike(here)
    parts = project.ask("SELECT count(*) FROM dbbridge.verification_parts WHERE verification = 2")
    assert parts[0][0] > 4, "a large table is not cut"

    plant(
        project,
        "UPDATE {}.big SET v = -1 WHERE id IN (7, 19000)",
        "DELETE FROM {}.named WHERE code = 'c77'",
        "INSERT INTO {}.loose VALUES (1000001, 'extra')",
    )
    here = project.run(*words, code=1).json
    there = project.run(*words, "--via", "celery", code=1).json
    assert alike(there) == alike(here)
    assert [t["differing"] for t in there["tables"]] == [2, 1, 1]
    worker.stop(LEAVE_SECONDS)
    daemon.stop()
