"""The whole server read_only, on servers that are nobody else's."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from bridge.cutover.fences.base import Limits
from bridge.cutover.fences.choose import FENCES, choose
from compose.local import servers
from compose.local.errors import Unavailable
from tests.fix_servers import UNAVAILABLE, SourceDatabase
from tests.integration.cutover.fencing import (
    WHOLE,
    Shop,
    Writers,
    assert_holds,
    assert_survives_kills,
    errors,
    shop,
)


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    try:
        server = servers.start(request.param, tmp_path_factory.mktemp(request.param) / "data")
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: {request.param} ({reason})")
    try:
        database = SourceDatabase(server, f"t_{secrets.token_hex(5)}")
        with closing(SourceDatabase(server, "mysql").connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {database.name}")
        with shop(database, WHOLE) as found:
            yield found
    finally:
        server.stop()


def test_nobody_but_the_bridge_writes(own: Shop) -> None:
    fence = FENCES["read_only"](own.subject)
    own.allow(fence)
    own.root(f"GRANT INSERT ON *.* TO {own.bridge.quoted}")
    with own.fencing() as conn:
        assert not errors(fence.check(conn))
        choice = choose(conn, own.subject, "auto")
        assert (choice.fence.kind, "all that there is" in choice.reason) == ("read_only", True)
    writers = Writers(own)
    with writers.running():
        writers.await_more()
        assert own.engage(fence).holds
        assert_holds(own, writers)
        with closing(own.connect(own.bridge)) as conn, conn.cursor() as cursor:
            cursor.execute("INSERT INTO orders (n) VALUES (9)")
        with own.fencing() as conn:
            evidence = own.notes.read()
            assert evidence and fence.stands(conn, evidence)
        assert own.release() == []
        writers.await_more()
    assert not writers.surprises


def test_a_transaction_refused_at_its_commit_cannot_commit_later(own: Shop) -> None:
    fence = FENCES["read_only"](own.subject)
    own.allow(fence)
    with closing(own.connect(own.app, autocommit=False)) as conn:
        with conn.cursor() as cursor:
            cursor.execute("INSERT INTO orders (n) VALUES (77)")
        proof = own.engage(fence, Limits(seconds=60, lock_seconds=1, end=False))
        assert proof.holds
        assert [each.user for each in proof.ended] == [own.app.user]
        assert own.release() == []
        with pytest.raises(pymysql.err.MySQLError):
            conn.commit()
    assert own.root("SELECT COUNT(*) FROM orders WHERE n = 77") == [(0,)]


def test_it_is_for_the_whole_server_and_known_accounts_only(own: Shop) -> None:
    fence = FENCES["read_only"](own.subject)
    own.allow(fence)
    own.root(
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DO DELETE FROM `lines`",
    )
    privilege = "READ ONLY ADMIN" if own.mariadb else "CONNECTION_ADMIN"
    own.root(f"REVOKE {privilege} ON *.* FROM {own.bridge.quoted}")
    with own.fencing() as conn:
        assert errors(fence.check(conn)) == [
            "not-the-whole-server",
            "bridge-not-exempt",
            "goes-around",
        ]
        assert choose(conn, own.subject, "auto").fence.kind == "revoke"
    own.root("DROP TABLE other", "DROP EVENT tick")


@pytest.mark.crash
def test_it_comes_off_whoever_was_killed(own: Shop, tmp_path: Path) -> None:
    fence = FENCES["read_only"](own.subject)
    own.allow(fence)
    assert assert_survives_kills(own, fence, tmp_path) >= 8
    own.root("SET GLOBAL read_only = 0")
