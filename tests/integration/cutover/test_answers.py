"""Answers of the HTTP service are copied to the source before it has authority again."""

from __future__ import annotations

import uuid
from contextlib import closing

from bridge.cutover.answers import carry
from bridge.replicate.ops import ANSWERS_TABLE, definitions
from bridge.store.migrate import migrate
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import until

OVER = (
    "SELECT 1 FROM dbbridge.answers WHERE op_id = %s"
    " AND age(xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid)"
)
"""Whether a row's transaction is older than all that are under way."""


def test_answers_go_back_once(source_db: SourceDatabase, target_db: TargetDatabase) -> None:
    with closing(source_db.connect()) as source, target_db.connect() as target:
        migrate(target)
        with source.cursor() as cursor:
            cursor.execute(definitions(source_db.name)[ANSWERS_TABLE])
        names = [uuid.uuid4() for _ in range(1203)]

        def answer(some: list[uuid.UUID]) -> None:
            with target.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO dbbridge.answers (op_id, request, answer) VALUES (%s, %s, %s)",
                    [(name, b"\xff" * 32, b'{"id": 1}') for name in some],
                )

        def there() -> dict[uuid.UUID, tuple[bytes, bytes]]:
            with source.cursor() as cursor:
                cursor.execute(f"SELECT op_id, request, answer FROM {ANSWERS_TABLE}")
                return {uuid.UUID(bytes=op): (asked, told) for op, asked, told in cursor.fetchall()}

        nothing = carry(source, target, source_db.name)
        assert nothing.newest is None
        answer(names[:1200])
        most = carry(source, target, source_db.name, nothing)
        assert there() == dict.fromkeys(names[:1200], (b"\xff" * 32, b'{"id": 1}'))
        answer(names[1200:])
        assert carry(source, target, source_db.name, most).newest >= most.newest  # type: ignore[operator]
        assert there().keys() == set(names)


def test_only_what_was_not_there_is_carried_again(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    """Writers wait meanwhile; and one of them had begun before what was carried first."""
    with (
        closing(source_db.connect()) as source,
        target_db.connect() as target,
        target_db.connect() as late,
    ):
        migrate(target)
        with source.cursor() as cursor:
            cursor.execute(definitions(source_db.name)[ANSWERS_TABLE])
        insert = "INSERT INTO dbbridge.answers (op_id, request, answer) VALUES (%s, %s, %s)"
        first, under_way, new = (uuid.uuid4() for _ in range(3))
        target.execute(insert, (first, b"", b"{}"))
        # Of older transactions there is none left, not even one of autovacuum.
        until(lambda: target.execute(OVER, (first,)).fetchall())
        with late.transaction():
            late.execute(insert, (under_way, b"", b"{}"))
            carried = carry(source, target, source_db.name)
        target.execute(insert, (new, b"", b"{}"))
        with source.cursor() as cursor:
            assert cursor.execute(f"DELETE FROM {ANSWERS_TABLE}") == 1
            carry(source, target, source_db.name, carried)
            cursor.execute(f"SELECT op_id FROM {ANSWERS_TABLE}")
            assert {uuid.UUID(bytes=op) for (op,) in cursor.fetchall()} == {under_way, new}
