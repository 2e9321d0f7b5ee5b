"""Memory stays the same however much a chunk holds."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.copied import create_target, plan_of, run, session

MB = 1 << 20
COPY = """
import resource, sys
from contextlib import closing
from types import SimpleNamespace
import psycopg
from bridge.capture.snapshot import read_chunk
from bridge.sink.copy import copy_blocks
from tests.integration.copied import plan_of, session

database = SimpleNamespace(url=sys.argv[1], name=sys.argv[2])
plan = plan_of(database, sys.argv[4])
with closing(session(database)) as source, psycopg.connect(sys.argv[3]) as target:
    target.execute("SELECT 1")
    copy_blocks(target, plan, plan.target, read_chunk(source, plan, None, None, []), [])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak(source_db: Any, target_db: Any, table: str) -> int:
    """Bytes that a process takes at most that copies the table as one chunk."""
    with closing(target_db.connect()) as target:
        create_target(target, plan_of(source_db, table))
    done = subprocess.run(
        [sys.executable, "-c", COPY, source_db.url, source_db.name, target_db.url, table],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) * 1024


@pytest.mark.parametrize("length", [200, 3_000_000])
def test_ten_times_the_rows(source_db: Any, target_db: Any, length: int) -> None:
    with closing(session(source_db)) as conn:
        rows = 8 * MB // length + 1
        for name, times in (("little", 1), ("much", 10)):
            run(conn, f"CREATE TABLE {name} (id int AUTO_INCREMENT PRIMARY KEY, v longtext)")
            values = f"REPEAT('x', {length})"
            run(conn, f"INSERT INTO {name} (v) VALUES ({values})")
            count = 1
            while count < rows * times:
                more = min(count, rows * times - count)
                run(conn, f"INSERT INTO {name} (v) SELECT v FROM {name} LIMIT {more}")
                count += more
    # Once the pieces of a COPY are kept, to find refused rows, nothing more is.
    much, little = (_peak(source_db, target_db, name) for name in ("much", "little"))
    growth = much - little
    print(f"{little / MB:.0f} MB, {much / MB:.0f} MB")
    assert growth < 40 * MB
