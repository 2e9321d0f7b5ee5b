"""Random load on the source: seeded writers in threads, each with its own connection.

What a writer chooses follows from its seed; how the writers' transactions interleave does not.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pymysql
from pymysql.connections import Connection

from tests.endtoend.tables import KEYLESS
from tests.fix_servers import SourceDatabase

Cursor = pymysql.cursors.Cursor

EXPECTED = {
    1062,  # duplicate key
    1205,  # lock wait timeout
    1213,  # deadlock
    1451,  # a child row exists
    1452,  # no parent row
    3572,  # no wait
}
"""What random statements run into; the transaction is rolled back and another one begun."""
GONE = {1053, 1927, 2003, 2006, 2013}
"""What a server says, or the driver, when the server goes away."""

KEYS = 400
"""Keys are chosen among so few that writers meet each other's rows all the time."""
LARGE = 50_000

Act = Callable[[random.Random, Cursor], None]
"""Some statements of a transaction."""

_TEXT = "abcäöß žЖ漢字€😀 \\ \t\n\r'\"%;,{}|"
_LATIN = "abc äöüß€ÿ"
_CYRILLIC = "абв Жё abc"
_JAPANESE = "日本語カナ abc"


class Traffic:
    """Writers over the tables of `tables`; `stop` raises what none of them expected.

    `rate`: transactions a second of all writers together (0: as fast as it goes). `large`:
    sometimes a transaction of 50,000 rows. `survives`: the server may go away and come back.
    `acts`: others than those over `tables`, by name with how often.
    """

    def __init__(
        self,
        database: SourceDatabase,
        seed: int,
        *,
        writers: int = 3,
        rate: float = 0.0,
        large: bool = False,
        truncates: bool = True,
        survives: bool = False,
        acts: Mapping[str, tuple[float, Act]] | None = None,
    ) -> None:
        self._database = database
        self._pause = writers / rate if rate else 0.0
        self._stopping = threading.Event()
        self._survives = survives
        self.done: Counter[str] = Counter()
        """Committed transactions by what they were."""
        self.failures: list[BaseException] = []
        self._acts = list((ACTS if acts is None else acts).items())
        if large:
            self._acts += list(LARGE_ACTS.items())
        if truncates and acts is None:
            self._acts += list(TRUNCATES.items())
        self._threads = [
            threading.Thread(target=self._run, args=(f"{seed}/{number}",), daemon=True)
            for number in range(writers)
        ]

    def start(self) -> Traffic:
        """Lets the writers begin."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Counter[str]:
        """Ends the writers at a commit; what they did."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.check()
        return self.done

    def check(self) -> None:
        """Raises what none of the writers expected."""
        if self.failures:
            raise self.failures[0]

    def __enter__(self) -> Traffic:
        return self.start()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: str) -> None:
        chance = random.Random(seed)
        try:
            while not self._stopping.is_set():
                try:
                    self._write(chance)
                except (pymysql.Error, OSError) as error:
                    if not (self._survives and _gone(error)):
                        raise
                    self._stopping.wait(0.1)
        except BaseException as error:  # noqa: BLE001 (handed over to `stop`)
            self.failures.append(error)

    def _write(self, chance: random.Random) -> None:
        """Transaction after transaction over one connection."""
        conn = self._database.connect(autocommit=False)
        try:
            with conn.cursor() as cursor:
                cursor.execute("SET SESSION innodb_lock_wait_timeout = 5, sql_mode = ''")
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                while not self._stopping.is_set():
                    began = time.monotonic()
                    self._transact(chance, conn, cursor)
                    if self._pause:
                        rest = self._pause * 2 * chance.random() - (time.monotonic() - began)
                        if rest > 0:
                            self._stopping.wait(rest)
        finally:
            with suppress(Exception):
                conn.close()

    def _transact(self, chance: random.Random, conn: Connection[Any], cursor: Cursor) -> None:
        names = [name for name, _ in self._acts]
        weights = [weight for _, (weight, _) in self._acts]
        chosen = chance.choices(names, weights, k=chance.choice((1, 1, 2, 5)))
        acts = dict(self._acts)
        try:
            for name in chosen:
                acts[name][1](chance, cursor)
            if chance.random() < 0.05:
                conn.rollback()
                self.done["rollback"] += 1
            else:
                conn.commit()
                self.done.update(chosen)
        except (pymysql.err.IntegrityError, pymysql.err.OperationalError) as error:
            if error.args[0] not in EXPECTED:
                raise
            conn.rollback()
            self.done[f"error {error.args[0]}"] += 1


def _gone(error: Exception) -> bool:
    if isinstance(error, OSError | pymysql.err.InterfaceError):
        return True
    return bool(error.args) and error.args[0] in GONE


# -- values ------------------------------------------------------------------------------------


def _word(chance: random.Random, letters: str, most: int) -> str:
    return "".join(chance.choice(letters) for _ in range(chance.randint(0, most)))


def _maybe(chance: random.Random, value: Any) -> Any:
    return None if chance.random() < 0.2 else value


def _json(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randint(0, 5 if depth > 2 else 7)
    if kind == 6:
        return {_word(chance, _TEXT, 5): _json(chance, depth + 1) for _ in range(3)}
    if kind == 7:
        return [_json(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return chance.choice(
        (
            None,
            chance.random() < 0.5,
            chance.randint(-(2**63), 2**64 - 1),
            chance.choice((0.5, 1e100, -2.5e-7, 3.0, 1 / 3)),
            _word(chance, _TEXT, 12),
            "",
        )
    )


def item(chance: random.Random) -> dict[str, Any]:
    """Random values for all columns of `item` but the key."""
    day = date(1970, 1, 2) + timedelta(days=chance.randint(0, 24_000))
    moment = datetime(1971, 1, 1) + timedelta(microseconds=chance.randint(0, 10**15))  # noqa: DTZ001
    early = datetime(1000, 1, 1) + timedelta(days=chance.randint(0, 3_000_000))  # noqa: DTZ001
    span = timedelta(seconds=chance.randint(-3_020_399, 3_020_399), microseconds=250_000)
    values = {
        "medium": chance.randint(0, 2**24 - 1),
        "big": chance.choice((0, 2**63, 2**64 - 1, chance.randint(0, 2**64 - 1))),
        "huge": Decimal(chance.randint(-(10**39), 10**39)).scaleb(-20),
        "note": _word(chance, _TEXT, 300),
        "latin": _word(chance, _LATIN, 30),
        "cyrillic": _word(chance, _CYRILLIC, 30),
        "japanese": _word(chance, _JAPANESE, 15),
        "wide": _word(chance, _CYRILLIC, 30),
        "old_utf": _word(chance, _JAPANESE, 30),
        "doc": json.dumps(_json(chance)),
        "payload": chance.randbytes(chance.randint(0, 200)),
        "fixed": chance.randbytes(chance.randint(0, 5)),
        "bits": chance.randint(0, 2**11 - 1),
        "single": chance.choice((0.1, 16777217.0, -1.5e30, 3.25)),
        "twice": chance.choice((0.1, 1e-300, -1.7976931348623157e308, 1 / 3)),
        "born": day,
        "at": chance.choice((moment, early)),
        "changed": moment.replace(microsecond=moment.microsecond // 1000 * 1000),
        "span": span,
        "since": chance.choice((0, 1901, 2155, 2024)),
    }
    return {
        **{name: _maybe(chance, value) for name, value in values.items()},
        "kind": chance.randint(0, 255),
        "small": chance.randint(-32768, 32767),
        "flag": chance.randint(0, 1),
        "amount": Decimal(chance.randint(-(10**12) + 1, 10**12 - 1)).scaleb(-3),
        "name": _word(chance, _TEXT, 60),
        "state": chance.choice(("new", "paid", "sent", "it's back", "")),
        "tags": ",".join(t for t in ("red", "green", "blue", "x y") if chance.random() < 0.5),
    }


# -- acts --------------------------------------------------------------------------------------


def _write_item(verb: str, chance: random.Random, cursor: Cursor, values: dict[str, Any]) -> None:
    names = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    tail = ""
    if verb == "UPSERT":
        verb, tail = "INSERT", " ON DUPLICATE KEY UPDATE small = small + 1, name = VALUES(name)"
    cursor.execute(f"{verb} INTO item ({names}) VALUES ({marks}){tail}", list(values.values()))


def insert_item(chance: random.Random, cursor: Cursor) -> None:
    """A new row under a generated key."""
    _write_item("INSERT", chance, cursor, item(chance))


def replace_item(chance: random.Random, cursor: Cursor) -> None:
    """REPLACE: the log holds a delete and an insert, or an update."""
    _write_item("REPLACE", chance, cursor, {"id": chance.randint(1, KEYS), **item(chance)})


def upsert_item(chance: random.Random, cursor: Cursor) -> None:
    """INSERT … ON DUPLICATE KEY UPDATE."""
    _write_item("UPSERT", chance, cursor, {"id": chance.randint(1, KEYS), **item(chance)})


def update_item(chance: random.Random, cursor: Cursor) -> None:
    """A few columns of a few rows."""
    values = item(chance)
    names = chance.sample(list(values), 4)
    setting = ", ".join(f"{name} = %s" for name in names)
    first = chance.randint(1, KEYS)
    cursor.execute(
        f"UPDATE item SET {setting} WHERE id BETWEEN %s AND %s",
        [*(values[name] for name in names), first, first + chance.randint(0, 5)],
    )


def delete_item(chance: random.Random, cursor: Cursor) -> None:
    """One row, or none."""
    cursor.execute("DELETE FROM item WHERE id = %s", (chance.randint(1, KEYS),))


def move_item(chance: random.Random, cursor: Cursor) -> None:
    """Another key for the same row."""
    cursor.execute(
        "UPDATE item SET id = %s WHERE id = %s", (chance.randint(1, KEYS), chance.randint(1, KEYS))
    )


def reborn_item(chance: random.Random, cursor: Cursor) -> None:
    """Deleted, and inserted again under the same key in the same transaction."""
    key = chance.randint(1, KEYS)
    cursor.execute("DELETE FROM item WHERE id = %s", (key,))
    _write_item("INSERT", chance, cursor, {"id": key, **item(chance)})


def composite(chance: random.Random, cursor: Cursor) -> None:
    """Rows of a composite key: written, moved, deleted by a part of the key."""
    a, b, c = chance.randint(1, 20), _word(chance, "aAäßb ", 3), chance.randint(-5, 5)
    what = chance.randint(0, 5)
    if what == 0:
        cursor.execute("DELETE FROM composite WHERE a = %s AND c = %s", (a, c))
    elif what == 1:
        cursor.execute(
            "UPDATE composite SET b = %s, v = v + 1 WHERE a = %s AND c = %s LIMIT 1", (b, a, c)
        )
    else:
        cursor.execute(
            "REPLACE INTO composite VALUES (%s, %s, %s, %s, %s)",
            (a, b, c, chance.randint(0, 9999), _maybe(chance, _word(chance, _TEXT, 30))),
        )


def folded(chance: random.Random, cursor: Cursor) -> None:
    """Keys that the source holds for equal although they are spelled differently."""
    code = "".join(chance.choice((x, x.upper())) for x in _word(chance, "abcé", 4))
    what = chance.randint(0, 4)
    if what == 0:
        cursor.execute("DELETE FROM folded WHERE code = %s", (code,))
    elif what == 1:
        cursor.execute("UPDATE folded SET code = %s WHERE code = %s", (code, code.swapcase()))
    elif what == 2:
        cursor.execute(
            "REPLACE INTO folded VALUES (%s, %s, %s)", (code, chance.randint(0, 9), None)
        )
    else:
        cursor.execute(
            "INSERT INTO folded VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE v = v + 1",
            (code, chance.randint(0, 9), _word(chance, _TEXT, 20)),
        )


def uuid_key(chance: random.Random, cursor: Cursor) -> None:
    """Binary keys, some of which end in zero bytes or are shorter than the column."""
    key = bytes([chance.randint(0, 30)]) + chance.choice((b"", b"\0\0", b"\n\\", bytes(15)))
    if chance.random() < 0.3:
        cursor.execute("DELETE FROM uuid_key WHERE id = CAST(%s AS BINARY(16))", (key,))
    else:
        cursor.execute(
            "REPLACE INTO uuid_key VALUES (%s, %s, %s)",
            (key, _maybe(chance, chance.randbytes(chance.randint(0, 30))), chance.randint(0, 99)),
        )


def swap_slots(chance: random.Random, cursor: Cursor) -> None:
    """Two rows exchange both of their unique values."""
    one, other = chance.sample(range(1, 60), 2)
    cursor.execute(
        "SELECT id, place, email FROM slot WHERE id IN (%s, %s) ORDER BY id FOR UPDATE",
        (one, other),
    )
    rows = cursor.fetchall()
    if len(rows) < 2:
        return
    (a, place_a, email_a), (b, place_b, email_b) = rows
    change = "UPDATE slot SET place = %s, email = %s, v = v + 1 WHERE id = %s"
    cursor.execute(change, (-a, None, a))
    cursor.execute(change, (place_a, email_a, b))
    cursor.execute(change, (place_b, email_b, a))


def fill_slot(chance: random.Random, cursor: Cursor) -> None:
    """A row that may take a unique value that another one has just given up."""
    key, place = chance.randint(1, 60), chance.randint(1, 60)
    email = _maybe(chance, f"{chance.randint(1, 60)}@example.org")
    what = chance.randint(0, 3)
    if what == 0:
        cursor.execute("DELETE FROM slot WHERE place = %s", (place,))
        cursor.execute("INSERT INTO slot VALUES (%s, %s, %s, 0)", (key, place, email))
    elif what == 1:
        # REPLACE removes every row that is in its way, by whichever index.
        cursor.execute("REPLACE INTO slot VALUES (%s, %s, %s, 1)", (key, place, email))
    elif what == 2:
        cursor.execute("UPDATE slot SET place = %s WHERE id = %s", (place, key))
    else:
        cursor.execute("DELETE FROM slot WHERE id = %s", (key,))


def families(chance: random.Random, cursor: Cursor) -> None:
    """Parents with children in one transaction."""
    cursor.execute("INSERT INTO parent (v) VALUES (%s)", (chance.randint(0, 99),))
    parent = cursor.lastrowid
    for _ in range(chance.randint(0, 3)):
        cursor.execute("INSERT INTO child_of (parent, v) VALUES (%s, 0)", (parent,))
        cursor.execute("INSERT INTO guest_of (parent, v) VALUES (%s, 0)", (parent,))


def change_families(chance: random.Random, cursor: Cursor) -> None:
    """Deletes that reach children, and children that change and move meanwhile."""
    for _ in range(chance.randint(1, 3)):
        cursor.execute("SELECT id FROM parent ORDER BY id DESC LIMIT 30")
        parents = [key for (key,) in cursor.fetchall()]
        if not parents:
            return
        one = chance.choice(parents)
        what = chance.randint(0, 4)
        if what == 0:
            cursor.execute("DELETE FROM parent WHERE id = %s", (one,))
        elif what == 1:
            cursor.execute("UPDATE child_of SET v = v + 1 WHERE parent = %s", (one,))
        elif what == 2:
            cursor.execute(
                "UPDATE child_of SET parent = %s WHERE parent = %s LIMIT 1",
                (chance.choice(parents), one),
            )
        elif what == 3:
            cursor.execute("UPDATE guest_of SET v = v + 1 WHERE parent = %s", (one,))
        else:
            cursor.execute("DELETE FROM guest_of WHERE parent IS NULL LIMIT 5")


def emptied(chance: random.Random, cursor: Cursor) -> None:
    """Rows for the table that is emptied now and then."""
    cursor.execute(
        "INSERT INTO emptied VALUES (%s, 1) ON DUPLICATE KEY UPDATE v = v + 1",
        (chance.randint(1, KEYS),),
    )


def keyless(chance: random.Random, cursor: Cursor) -> None:
    """Equal rows, of which one goes or changes."""
    row = (
        _maybe(chance, chance.randint(1, 4)),
        _maybe(chance, chance.choice("xyz")),
        f"2024-01-0{chance.randint(1, 3)}",
    )
    same = "a <=> %s AND b <=> %s AND c = %s LIMIT 1"
    what = chance.randint(0, 3)
    if what == 0:
        cursor.execute(f"DELETE FROM {KEYLESS} WHERE {same}", row)
    elif what == 1:
        cursor.execute(f"UPDATE {KEYLESS} SET a = %s WHERE {same}", (chance.randint(1, 4), *row))
    else:
        cursor.execute(f"INSERT INTO {KEYLESS} VALUES (%s, %s, %s)", row)


def savepoints(chance: random.Random, cursor: Cursor) -> None:
    """Work that is partly undone before the commit."""
    emptied(chance, cursor)
    cursor.execute("SAVEPOINT here")
    delete_item(chance, cursor)
    emptied(chance, cursor)
    cursor.execute("ROLLBACK TO SAVEPOINT here")
    emptied(chance, cursor)


def touch_bulk(chance: random.Random, cursor: Cursor) -> None:
    """Single rows of the large table, some of them new or moved."""
    key = chance.randint(1, 3 * LARGE)
    what = chance.randint(0, 3)
    if what == 0:
        cursor.execute("DELETE FROM bulk WHERE id = %s", (key,))
    elif what == 1:
        cursor.execute("UPDATE bulk SET v = v + 1 WHERE id BETWEEN %s AND %s", (key, key + 20))
    elif what == 2:
        cursor.execute("REPLACE INTO bulk VALUES (%s, 0, 'again')", (key,))
    else:
        cursor.execute("UPDATE bulk SET id = %s WHERE id = %s", (chance.randint(1, 4 * LARGE), key))


def large_update(chance: random.Random, cursor: Cursor) -> None:
    """Up to 50,000 rows in one transaction."""
    first = chance.randint(1, LARGE)
    cursor.execute(
        "UPDATE bulk SET v = v + 1 WHERE id BETWEEN %s AND %s", (first, first + LARGE - 1)
    )


def large_turnover(chance: random.Random, cursor: Cursor) -> None:
    """Many rows deleted and others inserted in one transaction."""
    first = chance.randint(1, 3 * LARGE)
    cursor.execute("DELETE FROM bulk WHERE id BETWEEN %s AND %s", (first, first + LARGE // 5))
    cursor.execute(
        "INSERT INTO bulk SELECT * FROM (SELECT id + %s AS n, v AS w, filler AS f FROM bulk"
        " WHERE id <= %s) AS moved ON DUPLICATE KEY UPDATE v = v + 1",
        (first, LARGE // 5),
    )


def _truncate(table: str) -> Act:
    def act(chance: random.Random, cursor: Cursor) -> None:
        cursor.execute(f"TRUNCATE TABLE {table}")

    return act


ACTS: dict[str, tuple[float, Act]] = {
    act.__name__: (weight, act)
    for weight, act in (
        (6, insert_item),
        (8, replace_item),
        (4, upsert_item),
        (8, update_item),
        (4, delete_item),
        (3, move_item),
        (4, reborn_item),
        (6, composite),
        (8, folded),
        (5, uuid_key),
        (6, swap_slots),
        (8, fill_slot),
        (4, families),
        (6, change_families),
        (4, emptied),
        (5, keyless),
        (3, savepoints),
        (6, touch_bulk),
    )
}
"""Name → how often, and what."""
LARGE_ACTS: dict[str, tuple[float, Act]] = {
    act.__name__: (weight, act) for weight, act in ((0.02, large_update), (0.01, large_turnover))
}
TRUNCATES: dict[str, tuple[float, Act]] = {
    f"truncate {table}": (0.06, _truncate(table)) for table in ("emptied", "composite")
}
