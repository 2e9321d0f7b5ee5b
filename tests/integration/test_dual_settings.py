"""What dual writes rest on holds whatever a role or a database has set."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from bridge.databases.endpoint import parse_url
from bridge.dualwrite.http.serve import target_engine
from bridge.dualwrite.opening import open_sides
from bridge.store.state import Q
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.layered import PIPELINE, layered

pytestmark = pytest.mark.parametrize("source", ["mariadb"], indirect=True)
HOLD = "SELECT dbbridge.hold('p', 't', 3)"
CLAIM = (
    "SELECT dbbridge.claim_all('p', '{t}', '{1}', %s::uuid[], '{7}', ARRAY[]::text[],"
    " ARRAY[]::text[])"
)


def test_what_is_acknowledged_is_durable(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    with layered(source_db, target_db) as found:
        found.authority("t", "target", 3)
        for before, after in (
            ("off", "on"),
            ("local", "on"),
            ("on", "on"),
            ("remote_write", "remote_write"),
        ):
            with target_db.connect(autocommit=False) as conn:
                conn.execute(f"SET synchronous_commit = {before}".encode())
                conn.commit()
                conn.execute(HOLD.encode())
                assert conn.execute("SHOW synchronous_commit").fetchone() == (after,)
                conn.commit()
                assert conn.execute("SHOW synchronous_commit").fetchone() == (before,)


def test_at_another_level_nothing_is_claimed(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    with layered(source_db, target_db) as found:
        found.authority("t", "source", 1, "provisional")
        with target_db.connect(autocommit=False) as conn:
            conn.execute("INSERT INTO dbbridge.ops (pipeline) VALUES ('p')")
            conn.commit()
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with pytest.raises(psycopg.Error, match="READ COMMITTED") as refused:
                conn.execute(CLAIM.encode(), ([uuid4()],))
            assert refused.value.sqlstate == "DBW05"
            conn.rollback()
            conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            claimed = uuid4()
            assert conn.execute(CLAIM.encode(), ([claimed],)).fetchall() == [(claimed,)]


def test_the_layer_has_its_own_level(source_db: SourceDatabase, target_db: TargetDatabase) -> None:
    with target_db.connect() as conn:
        level = "SET default_transaction_isolation = 'repeatable read'"
        conn.execute(f'ALTER DATABASE "{target_db.name}" {level}'.encode())
    with layered(source_db, target_db) as found:
        found.authority("t", "target", 3)
        engine = target_engine(parse_url(target_db.url), 1)
        with engine.begin() as there:
            there.exec_driver_sql(HOLD)
        engine.dispose()
        sides = open_sides(PIPELINE, parse_url(source_db.url), parse_url(target_db.url))
        with sides.open_target() as conn:
            assert conn.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_claims_stay_while_a_table_is_behind(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    with layered(source_db, target_db), target_db.connect() as conn:
        conn.execute(
            "INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema,"
            " target_table, stage, mapping, version, frontier_kind, frontier)"
            " VALUES ('p', 's', 't', 'public', 't', 'catching-up', '{}', '1', 'file', 'a:4')"
        )
        conn.execute(
            "INSERT INTO dbbridge.applied_ops (op_id, pipeline, seq, confirmed, applied_at)"
            " VALUES (gen_random_uuid(), 'p', 7, true, now() - interval '1 h')"
        )
        names = {"pipeline": PIPELINE, "seconds": 600}
        assert conn.execute(Q["prunable_ops"], names).fetchone() == (None,)
        conn.execute("UPDATE dbbridge.tables SET frontier_kind = NULL, frontier = NULL")
        assert conn.execute(Q["prunable_ops"], names).fetchone() == (7,)
