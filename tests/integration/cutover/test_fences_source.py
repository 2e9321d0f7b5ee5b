"""Fences of the source against writers under way: nothing gets through, everything comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pymysql
import pytest

from bridge.cutover.fences.base import Limits, SourceFence, Subject
from bridge.cutover.fences.choose import FENCES, choose
from bridge.names import TableName
from tests.fix_servers import SourceDatabase
from tests.integration.cutover.fencing import (
    PER_TABLE,
    WHOLE,
    Shop,
    Writers,
    assert_holds,
    errors,
    shop,
)


@pytest.fixture
def per_table(source_db: SourceDatabase) -> Iterator[Shop]:
    with shop(source_db, PER_TABLE) as found:
        yield found


@pytest.fixture
def whole(source_db: SourceDatabase) -> Iterator[Shop]:
    with shop(source_db, WHOLE) as found:
        yield found


@pytest.mark.parametrize("kind", ["revoke", "lock_account"])
def test_no_write_gets_through_until_the_fence_is_off(per_table: Shop, kind: str) -> None:
    fence = FENCES[kind](per_table.subject)  # type: ignore[index]
    per_table.allow(fence)
    before = per_table.grants()
    writers = Writers(per_table)
    with writers.running():
        writers.await_more()
        _set_and_release(per_table, fence, writers)
        writers.await_more()
    assert not writers.surprises
    assert per_table.grants() == before


def _set_and_release(shop: Shop, fence: SourceFence, writers: Writers) -> None:
    with shop.fencing() as conn:
        assert errors(fence.check(conn)) == []
    for _ in range(2):
        assert shop.engage(fence).holds
    with shop.fencing() as conn:
        evidence = shop.notes.read()
        assert evidence and fence.stands(conn, evidence)
        assert_holds(shop, writers)
        assert shop.release() == []
        assert not fence.stands(conn, evidence)
        for _ in range(2):
            assert fence.release(conn, evidence) == []
        assert shop.release() == []


def test_rights_on_a_whole_database_go_with_their_sessions(whole: Shop) -> None:
    fence = FENCES["revoke"](whole.subject)
    whole.allow(fence)
    before = whole.grants()
    writers = Writers(whole)
    with writers.running():
        writers.await_more()
        _set_and_release(whole, fence, writers)
        writers.await_more()
    assert not writers.surprises
    assert whole.grants() == before


def test_rights_that_reach_beyond_the_group_are_replaced_by_lines_that_work(whole: Shop) -> None:
    whole.root("CREATE TABLE other (id INT PRIMARY KEY)")
    fence = FENCES["revoke"](whole.subject)
    whole.allow(fence)
    with whole.fencing() as conn:
        (problem,) = [each for each in fence.check(conn) if each.severity == "error"]
    assert problem.code == "database-wide"
    whole.root(*problem.statements)
    with whole.fencing() as conn:
        assert not errors(fence.check(conn))
    writers = Writers(whole)
    with writers.running():
        writers.await_more()
        assert whole.engage(fence).holds
        assert_holds(whole, writers)
        with closing(whole.connect(whole.app)) as conn, conn.cursor() as cursor:
            cursor.execute("INSERT INTO other VALUES (1)")
        whole.release()
        writers.await_more()


@pytest.mark.parametrize("end", [True, False])
def test_a_transaction_in_the_way_is_named_and_ended_or_waited_for(
    per_table: Shop, end: bool
) -> None:
    fence = FENCES["revoke"](per_table.subject)
    per_table.allow(fence)
    with closing(per_table.connect(per_table.app, autocommit=False)) as conn:
        with conn.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            ((session_id,),) = cursor.fetchall()
            cursor.execute("INSERT INTO orders (n) VALUES (77)")
        limits = Limits(seconds=60 if end else 1.2, lock_seconds=1, end=end)
        proof = per_table.engage(fence, limits)
        assert proof.holds == end
        # Who takes his time to end is ended again.
        found = proof.ended if end else proof.blockers
        assert {(each.id, each.user) for each in found} == {(session_id, per_table.app.user)}
        if not per_table.mariadb:
            assert found[0].table == f"{per_table.db.name}.orders"
        if end:
            with pytest.raises(pymysql.err.MySQLError):
                conn.commit()
        else:
            conn.commit()
    assert per_table.engage(fence).holds
    count = per_table.root("SELECT COUNT(*) FROM orders WHERE n = 77")
    assert count == [(0 if end else 1,)]
    per_table.release()


def test_nobody_is_ended_when_there_is_no_time_left_to_try_again(per_table: Shop) -> None:
    fence = FENCES["revoke"](per_table.subject)
    per_table.allow(fence)
    with closing(per_table.connect(per_table.app, autocommit=False)) as conn:
        with conn.cursor() as cursor:
            cursor.execute("INSERT INTO orders (n) VALUES (77)")
        proof = per_table.engage(fence, Limits(seconds=1, lock_seconds=1))
        assert not proof.holds
        assert [each.user for each in proof.blockers] == [per_table.app.user]
        assert proof.ended == ()
        conn.commit()
    per_table.release()


def test_auto_takes_what_is_possible_and_says_why(per_table: Shop) -> None:
    with per_table.fencing() as conn:
        assert choose(conn, per_table.subject, "lock_account").fence.kind == "lock_account"
        assert "yet" in choose(conn, per_table.subject, "auto").reason
    per_table.allow(FENCES["revoke"](per_table.subject))
    per_table.root("CREATE TABLE other (id INT PRIMARY KEY)")
    with per_table.fencing() as conn:
        choice = choose(conn, per_table.subject, "auto")
    assert (choice.fence.kind, choice.reason) == (
        "revoke",
        "the server has tables that are not of the group",
    )


def test_what_goes_around_is_found(per_table: Shop) -> None:
    per_table.root(
        "CREATE PROCEDURE sneak() INSERT INTO orders (n) VALUES (5)",
        "CREATE PROCEDURE honest() SQL SECURITY INVOKER INSERT INTO orders (n) VALUES (5)",
        "CREATE PROCEDURE looks() SELECT COUNT(*) FROM orders",
        "CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DO DELETE FROM `lines`",
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "CREATE TRIGGER also AFTER INSERT ON other FOR EACH ROW UPDATE orders SET n = n + 1",
        "CREATE VIEW seen AS SELECT * FROM orders",
    )
    fence = FENCES["revoke"](per_table.subject)
    per_table.allow(fence)
    with per_table.fencing() as conn:
        found = [each for each in fence.check(conn) if each.code in ("goes-around", "unreadable")]
        assert sorted(each.message.split()[1].split(".")[1] for each in found) == [
            "also",
            "seen",
            "sneak",
            "tick",
        ]
    assert per_table.engage(fence).holds
    before = per_table.counts()
    with closing(per_table.connect(per_table.app)) as conn, conn.cursor() as cursor:
        with pytest.raises(pymysql.err.MySQLError, match="denied"):
            cursor.execute("CALL honest()")
        assert per_table.counts() == before
        cursor.execute("CALL sneak()")
        assert per_table.counts() != before
    per_table.release()
    per_table.root(*(line for each in found for line in each.statements), "DROP TRIGGER also")
    with per_table.fencing() as conn:
        assert not errors(fence.check(conn))


def test_roles_several_accounts_and_grants_made_meanwhile(per_table: Shop) -> None:
    role = f"role_{per_table.app.user}"[:32]
    quoted = f"`{role}`"
    name = per_table.db.name
    second = f"`{per_table.app.user}`@`127.0.0.%`"
    per_table.root(
        f"CREATE ROLE {quoted}",
        f"CREATE USER {second} IDENTIFIED BY 'x'",
        f"GRANT INSERT, UPDATE ON `{name}`.orders TO {quoted}",
        f"GRANT DELETE ON `{name}`.orders TO {second}",
        f"GRANT {quoted} TO {per_table.app.quoted}",
    )
    try:
        fence = FENCES["revoke"](per_table.subject)
        per_table.allow(fence)
        with per_table.fencing() as conn:
            assert not errors(fence.check(conn))
            assert len(fence.plan(fence.survey(conn))) >= 4
        before = [per_table.root(f"SHOW GRANTS FOR {each}") for each in (quoted, second)]
        assert per_table.engage(fence).holds
        per_table.root(f"GRANT INSERT ON `{name}`.`lines` TO {second}")
        assert per_table.engage(fence).holds
        assert per_table.release() == []
        per_table.root(f"REVOKE INSERT ON `{name}`.`lines` FROM {second}")
        assert before == [per_table.root(f"SHOW GRANTS FOR {each}") for each in (quoted, second)]
    finally:
        per_table.root(f"DROP ROLE {quoted}", f"DROP USER {second}")


def test_whom_no_revoke_reaches_is_named(per_table: Shop) -> None:
    fence = FENCES["revoke"](per_table.subject)
    per_table.allow(fence)
    with per_table.fencing() as conn:
        assert "writes-everywhere" not in errors(fence.check(conn))
    per_table.root(f"GRANT INSERT ON *.* TO {per_table.app.quoted}")
    with per_table.fencing() as conn:
        assert "writes-everywhere" in errors(fence.check(conn))
    per_table.root(f"REVOKE INSERT ON *.* FROM {per_table.app.quoted}")
    # Not every server's administrator may GRANT PROXY; DROP USER takes the row along.
    per_table.root(
        "INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, Grantor)"
        f" VALUES ('%', '{per_table.bridge.user}', '%', '{per_table.app.user}', '')",
        "FLUSH PRIVILEGES",
    )
    with per_table.fencing() as conn:
        assert errors(fence.check(conn)) == ["proxied"]


def test_what_is_no_more_is_told_when_the_fence_comes_off(per_table: Shop) -> None:
    fence = FENCES["revoke"](per_table.subject)
    per_table.allow(fence)
    assert per_table.engage(fence).holds
    per_table.root("DROP TABLE `lines`")
    (lost,) = per_table.release()
    assert "lines" in lost
    assert per_table.notes.read() is None
    assert per_table.engage(FENCES["none"](_only_orders(per_table))).holds
    assert per_table.release() == []


def _only_orders(shop: Shop) -> Subject:
    return replace(shop.subject, tables=(TableName(shop.db.name, "orders"),))
