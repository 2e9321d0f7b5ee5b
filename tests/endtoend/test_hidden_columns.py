"""MariaDB's hidden hash columns, which no catalogue shows and every table map has."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.fixtures import NewProject
from tests.fix_servers import SourceDatabase, TargetDatabase


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_a_unique_key_over_long_text_stops_nothing(
    source_db: SourceDatabase, target_db: TargetDatabase, new_project: NewProject
) -> None:
    project = new_project(source_db, target_db)
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE pages (id int PRIMARY KEY, url longtext, n int, UNIQUE KEY by_url (url))"
        )
        cursor.execute("INSERT INTO pages VALUES (1, 'a', 1), (2, NULL, 2)")
        project.begin()
        daemon = project.sync()
        project.wait_streaming(daemon)
        cursor.execute("INSERT INTO pages VALUES (3, REPEAT('u', 5000), 3)")
        cursor.execute("UPDATE pages SET n = n + 1, url = CONCAT('x', url)")
    daemon.stop()
    project.catch_up()
    assert assert_same(source_db, target_db) == 3
