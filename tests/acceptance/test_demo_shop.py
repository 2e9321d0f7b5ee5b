"""The demo: the same shop each time, the mappings that `init` proposes, a tour that ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymysql.connections import Connection

from bridge.cli.main import main
from compose.demo import databases, shop
from compose.demo.writers import Writers
from compose.local import places
from compose.local.servers import Server
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import until

MAPPINGS = places.CHECKOUT / "mappings"
SMALL = 5_000
TOUR_ROWS = 150_000
LAST_CHARACTERS = 4_000
"""What is shown of a tour that went wrong: how it ended."""


@pytest.fixture
def own_shop(mariadb: Server) -> Iterator[str]:
    """The URL of a source on which the database `shop` is this test's, empty and removed later."""
    url = mariadb.url()
    with closing(databases.hold(url)) as conn:
        databases.make_source(url)
        yield url
        run(conn, "DROP DATABASE shop")


def run(conn: Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def checksums(database: SourceDatabase) -> dict[str, int]:
    """Fills the database, and empties it again."""
    shop.fill(database.url, SMALL)
    with closing(databases.connect_source(database.url)) as conn:
        names = shop.tables(conn)
        found = {name: int(run(conn, f"CHECKSUM TABLE {name}")[0][1]) for name in names}
        run(conn, "SET foreign_key_checks = 0")
        run(conn, f"DROP TABLE {', '.join(names)}")
    return found


def test_the_shop_is_the_same_each_time(source_db: SourceDatabase) -> None:
    first = checksums(source_db)
    assert len(first) >= 12
    assert checksums(source_db) == first


def test_it_is_as_large_as_it_is_said_to_be(own_shop: str) -> None:
    rows = shop.fill(databases.shop_url(own_shop))
    assert rows >= 300_000
    assert abs(rows - shop.ROWS) < shop.ROWS / 50
    with closing(databases.connect_source(databases.shop_url(own_shop))) as conn:
        counted = sum(run(conn, f"SELECT COUNT(*) FROM {t}")[0][0] for t in shop.tables(conn))
    assert counted == rows


def test_the_mappings_are_what_init_proposes(
    own_shop: str, target_db: TargetDatabase, tmp_path: Path
) -> None:
    source = databases.shop_url(own_shop)
    shop.fill(source)
    words = ["init", "--source", source, "--target", target_db.url, "--dir", str(tmp_path)]
    assert main(words) == 0
    proposed, checked_in = texts(tmp_path / "mappings"), texts(MAPPINGS)
    assert sorted(proposed) == sorted(checked_in)
    assert proposed == checked_in


def texts(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text("utf-8") for p in folder.glob("**/*.yaml")}


def test_writers_write_until_they_are_stopped(source_db: SourceDatabase) -> None:
    shop.fill(source_db.url, SMALL)
    writers = Writers(source_db.url, seed=7, rate=400)
    with writers:
        deadline = time.monotonic() + 60
        while writers.counts.transactions < 200 or writers.counts.rollbacks == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    done = writers.counts
    assert done.conflicts < done.transactions / 5


def test_a_source_that_is_not_the_demos_is_left_alone(own_shop: str) -> None:
    with closing(databases.connect_source(databases.shop_url(own_shop))) as conn:
        run(conn, "CREATE TABLE mine (id int PRIMARY KEY)")
        with pytest.raises(databases.NotOurs, match="shop"):
            databases.make_source(own_shop)
        assert shop.tables(conn) == ["mine"]


def test_a_target_that_is_not_the_demos_is_left_alone(target_db: TargetDatabase) -> None:
    with target_db.connect() as conn:
        conn.execute("CREATE SCHEMA shop CREATE TABLE mine (id int)")
        with pytest.raises(databases.NotOurs, match="shop"):
            databases.make_target(target_db.url)
        assert conn.execute("SELECT count(*) FROM shop.mine").fetchone() == (0,)


def test_its_own_target_is_made_anew(target_db: TargetDatabase) -> None:
    databases.make_target(target_db.url)
    with target_db.connect() as conn:
        conn.execute("CREATE TABLE shop.old (id int)")
        databases.make_target(target_db.url)
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("SELECT FROM shop.old")


def environment(mariadb: Server, target_db: TargetDatabase) -> dict[str, str]:
    return {**os.environ, "LEGACY_URL": mariadb.url(), "MAIN_URL": target_db.url}


@pytest.mark.timeout(600)
def test_the_tour_ends_with_a_match(mariadb: Server, target_db: TargetDatabase) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "compose.demo", "--rows", str(TOUR_ROWS), "--rate", "80"],
        cwd=places.CHECKOUT,
        env=environment(mariadb, target_db),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith("demo: match, 15 tables, "), done.stdout[-LAST_CHARACTERS:]
    assert ", 2 kills, " in last
    assert done.returncode == 0
    verbs = ("init", "check", "schema apply", "sync", "verify", "cutover switch", "cutover reverse")
    for verb in verbs:
        assert f"$ dbbridge {verb}" in done.stdout


def test_an_interrupt_leaves_nothing_running(mariadb: Server, target_db: TargetDatabase) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "compose.demo", "--rows", str(SMALL)],
        cwd=places.CHECKOUT,
        env=environment(mariadb, target_db),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if line.startswith("$ dbbridge sync"):
                process.send_signal(signal.SIGINT)
                break
        rest = lines.read()
    assert process.wait(60) == 130, rest
    with target_db.connect() as conn:
        mine = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dbbridge%'"
            " AND datname = current_database()"
        )
        # A server shows a session for a moment after whoever had it is gone.
        until(lambda: conn.execute(mine).fetchone() == (0,))
