"""Commits that fail: an answer that is lost, an epoch that changed; nothing is done twice."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from unittest import mock

import pymysql
import pytest

from bridge.dualwrite import authority, layer
from bridge.dualwrite.http.answers import Once
from bridge.dualwrite.http.models import Insert
from bridge.dualwrite.http.problems import Problem, problem_of
from bridge.errors import BridgeError
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.layered import Layered, layered

ONE = [Insert(do="insert", table="t", values={"n": 1})]
KEYS = pytest.mark.parametrize("once", [None, Once.of("caller", "key", "asked")])


class Failing:
    """Opens sessions of the source; the first commit of all fails with `error`.

    `durable`: what it was to commit is committed all the same. `lost`: the connection goes, too.
    """

    def __init__(
        self, source_db: SourceDatabase, error: Exception, *, durable: bool, lost: bool = False
    ) -> None:
        self._source_db = source_db
        self._error = error
        self._durable = durable
        self._lost = lost
        self.failed = False

    def __call__(self) -> Any:
        conn = self._source_db.connect(autocommit=False)
        vars(conn)["commit"] = lambda: self._commit(conn)
        return conn

    def _commit(self, conn: Any) -> None:
        if self.failed or self._durable:
            type(conn).commit(conn)
        if self.failed:
            return
        self.failed = True
        if self._lost:
            conn.close()
        raise self._error


@KEYS
@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (pymysql.err.OperationalError(2013, "Lost connection during query"), True),
        (pymysql.err.OperationalError(1317, "Query execution was interrupted"), False),
        (pymysql.err.InternalError(1969, "Query execution was interrupted"), False),
        (pymysql.err.OperationalError(1053, "Server shutdown in progress"), False),
    ],
    ids=["lost", "interrupted", "timeout", "shutdown"],
)
def test_a_commit_without_a_clear_answer(
    source_db: SourceDatabase,
    target_db: TargetDatabase,
    once: Once | None,
    error: Exception,
    lost: bool,
) -> None:
    connect = Failing(source_db, error, durable=True, lost=lost)
    with layered(source_db, target_db, connect=connect) as found:
        found.authority("t", "source", 1)
        if once is None:
            with pytest.raises(Problem) as unknown:
                found.writes.run(ONE, None)
            assert (unknown.value.status, unknown.value.code) == (503, "commit-unknown")
        else:
            outcome = found.writes.run(ONE, once)
            assert outcome.repeated and b'"id":1' in outcome.results
        assert connect.failed and found.count("t") == 1


@KEYS
def test_a_commit_that_lost_a_deadlock_is_run_again(
    source_db: SourceDatabase, target_db: TargetDatabase, once: Once | None
) -> None:
    deadlock = pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock")
    connect = Failing(source_db, deadlock, durable=False)
    with layered(source_db, target_db, connect=connect) as found:
        assert not found.writes.run(ONE, once).repeated
        assert connect.failed and found.count("t") == 1


def test_what_was_lost_before_its_commit_is_run_again(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    with layered(source_db, target_db) as found:
        found.authority("t", "source", 1)
        ended: list[int] = []

        def cut_off(*arguments: Any) -> Any:
            if not ended:
                ended.append(_end_writer(found))
            return authority.record_op(*arguments)

        with mock.patch.object(layer, "record_op", side_effect=cut_off):
            assert found.writes.run(ONE, None).after
        assert ended and found.count("t") == 1


def _end_writer(found: Layered) -> int:
    """Ends the session whose transaction is open in the source."""
    with closing(found.source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT p.id FROM information_schema.processlist p JOIN information_schema.innodb_trx t"
            " ON t.trx_mysql_thread_id = p.id WHERE p.db = %s",
            (found.source_db.name,),
        )
        ((number,),) = cursor.fetchall()
        cursor.execute(f"KILL {number}")
        return int(number)


def test_an_epoch_that_changed(source_db: SourceDatabase, target_db: TargetDatabase) -> None:
    with layered(source_db, target_db) as found:
        found.authority("t", "source", 1)
        assert found.writes.run(ONE, None).after
        found.on_source("UPDATE _bridge_authority SET epoch = epoch + 1")
        assert found.writes.run(ONE, None).after
        found.authority("t", "closed", 3)
        with pytest.raises(BridgeError) as closed:
            found.writes.run(ONE, None)
        problem = problem_of(closed.value)
        assert problem and (problem.status, problem.code, problem.again) == (503, "closed", 1)
        assert found.count("t") == 2


def test_a_group_is_written_while_another_one_has_moved(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    """Also where the key of what was written is not known: all tables are."""
    with layered(
        source_db, target_db, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE loose (n int)"
    ) as found:
        found.authority("t", "target", 3)
        found.authority("loose", "source", 1)
        loose = [Insert(do="insert", table="loose", values={"n": 1})]
        assert found.writes.run(loose, None).after
        assert (found.count("loose"), found.count("_bridge_op")) == (1, 1)
