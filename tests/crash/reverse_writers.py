"""Random transactions in the target: values that swap, large ones that stay, keys that change."""

from __future__ import annotations

import random
import threading
from typing import Any

import psycopg

from tests.integration.reverse.rig import Rig

TABLES = {
    "slot": """
        id int NOT NULL PRIMARY KEY, place int NOT NULL, v int NOT NULL,
        UNIQUE KEY slot_place (place)""",
    "doc": "id int NOT NULL PRIMARY KEY, n int NOT NULL, body mediumtext, name varchar(30)",
    "pair": "a int NOT NULL, b varchar(20) NOT NULL, v int NOT NULL, PRIMARY KEY (a, b)",
    "log": "a int, b varchar(20)",
    "total": "id int NOT NULL PRIMARY KEY, n bigint NOT NULL",
}
ROWS = 200
THREADS = 3


def fill(rig: Rig) -> None:
    """The rows that there are at first."""
    with rig.target.connect() as conn:
        name = rig.source.name
        conn.execute(f'ALTER TABLE "{name}".doc ALTER body SET STORAGE EXTERNAL'.encode())
    rig.write(
        f"INSERT INTO slot SELECT n, n, 0 FROM generate_series(1, {ROWS}) n",
        f"INSERT INTO doc SELECT n, 0, repeat('x', 4000), 'n' FROM generate_series(1, {ROWS}) n",
        f"INSERT INTO pair SELECT n, 'b' || n, 0 FROM generate_series(1, {ROWS}) n",
        "INSERT INTO total SELECT n, 0 FROM generate_series(0, 4) n",
    )


class Writers:
    """Threads that write until `stop`; each transaction counts itself in `total`."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self._rig = rig
        self._stopping = threading.Event()
        self.committed = 0
        self.failed: Exception | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed + n),), daemon=True)
            for n in range(THREADS)
        ]

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> int:
        """Ends; how many transactions were committed. Fails with what failed."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self.failed is not None:
            raise self.failed
        return self.committed

    def _run(self, chance: random.Random) -> None:
        try:
            with self._rig.target.connect() as conn:
                conn.execute(f'SET search_path = "{self._rig.source.name}"'.encode())
                while not self._stopping.wait(chance.expovariate(100)):
                    try:
                        with conn.transaction():
                            self._act(conn, chance)
                            conn.execute("UPDATE total SET n = n + 1 WHERE id = 0")
                    except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                        continue
                    self.committed += 1
        except Exception as error:  # noqa: BLE001 (shown by stop)
            self.failed = error

    def _act(self, conn: psycopg.Connection[Any], chance: random.Random) -> None:
        for act in chance.sample((swap, edit, rename, append, leave, come), chance.randint(1, 3)):
            act(conn, chance)


def swap(conn: psycopg.Connection[Any], chance: random.Random) -> None:
    """Two rows change places, by way of a third."""
    one, two = sorted(chance.sample(range(1, ROWS + 1), 2))
    rows = dict(
        conn.execute(
            "SELECT id, place FROM slot WHERE id IN (%s, %s) ORDER BY id FOR UPDATE", (one, two)
        ).fetchall()
    )
    if len(rows) == 2:
        place = "UPDATE slot SET place = %s, v = v + 1 WHERE id = %s"
        conn.execute(place, (-one, one))
        conn.execute(place, (rows[one], two))
        conn.execute(place, (rows[two], one))


def edit(conn: psycopg.Connection[Any], chance: random.Random) -> None:
    """Rows with large values, which mostly stay; sometimes under another key."""
    key = chance.randint(1, ROWS)
    conn.execute("UPDATE doc SET n = n + 1 WHERE id BETWEEN %s AND %s", (key, key + 3))
    if chance.random() < 0.2:
        body = chance.choice("äxyz'\\") * chance.randint(1, 9000)
        conn.execute("UPDATE doc SET body = %s, n = n + 1 WHERE id = %s", (body, key))
    if chance.random() < 0.2:
        conn.execute("UPDATE doc SET id = id + %s WHERE id = %s", (chance.randint(1, 999), key))


def rename(conn: psycopg.Connection[Any], chance: random.Random) -> None:
    """Keys change, and change back."""
    key = chance.randint(1, ROWS)
    conn.execute("UPDATE pair SET b = b || 'x', v = v + 1 WHERE a = %s AND length(b) < 9", (key,))
    conn.execute("UPDATE pair SET b = 'b' || a WHERE a = %s AND length(b) > 7", (key,))


def append(conn: psycopg.Connection[Any], chance: random.Random) -> None:
    """Rows without a key, many of them equal."""
    for _ in range(chance.randint(1, 4)):
        values = (chance.randint(1, 5), chance.choice(("x", "X", None)))
        conn.execute("INSERT INTO log VALUES (%s, %s)", values)
    if chance.random() < 0.5:
        conn.execute("DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log)")
    if chance.random() < 0.02:
        conn.execute("TRUNCATE log")


def leave(conn: psycopg.Connection[Any], chance: random.Random) -> None:
    """Rows go."""
    for table in ("slot", "doc"):
        conn.execute(f"DELETE FROM {table} WHERE id = %s".encode(), (chance.randint(1, ROWS),))


def come(conn: psycopg.Connection[Any], chance: random.Random) -> None:
    """Rows come back, a place among them that another row had."""
    key = chance.randint(1, ROWS)
    conn.execute(
        "INSERT INTO slot SELECT %s, %s, 0 WHERE NOT EXISTS"
        " (SELECT FROM slot WHERE id = %s OR place = %s)", (key, key, key, key),
    )  # fmt: skip
    conn.execute(
        "INSERT INTO doc VALUES (%s, 0, repeat('new', 2000), 'n') ON CONFLICT DO NOTHING", (key,)
    )
