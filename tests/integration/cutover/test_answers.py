"""Answers of the HTTP service are copied to the source before it has authority again."""

from __future__ import annotations

import uuid
from contextlib import closing

from bridge.cutover.answers import carry
from bridge.replicate.ops import ANSWERS_TABLE, definitions
from bridge.store.migrate import migrate
from tests.fix_servers import SourceDatabase, TargetDatabase


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

        assert carry(source, target, source_db.name, None) is None
        answer(names[:1200])
        since = carry(source, target, source_db.name, None)
        assert there() == dict.fromkeys(names[:1200], (b"\xff" * 32, b'{"id": 1}'))
        answer(names[1200:])
        assert (carry(source, target, source_db.name, since) or since) >= since  # type: ignore[operator]
        assert there().keys() == set(names)
