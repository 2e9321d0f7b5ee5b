"""Random changes over columns of every type; the same seed gives the same statements."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pymysql

from bridge.names import TableName, quote_mysql

Maker = Callable[[random.Random], str]

TEXTS = ("", "a", "tab\there", "line\nbreak\r", "back\\slash", "\\N", "ä€ß", "😀", "x" * 40, "'\"`")


def _text(limit: int, *, latin: bool = False) -> Maker:
    def make(rng: random.Random) -> str:
        text = rng.choice(TEXTS)[:limit]
        if latin:
            text = text.encode("cp1252", "ignore").decode("cp1252")
        return f"_utf8mb4 0x{text.encode().hex()}" if text else "''"

    return make


def _whole(low: int, high: int) -> Maker:
    return lambda rng: str(rng.choice((low, high, 0, 1, rng.randint(low, high))))


def _bytes(limit: int) -> Maker:
    def make(rng: random.Random) -> str:
        size = rng.choice((0, 1, limit, rng.randint(0, limit)))
        data = bytes(rng.choice((0, 9, 10, 92, 0xFF, rng.randrange(256))) for _ in range(size))
        return f"0x{data.hex()}" if data else "''"

    return make


def _moment(digits: int) -> Maker:
    def make(rng: random.Random) -> str:
        day = f"20{rng.randint(10, 35)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
        return f"'{day} {clock}.{rng.randint(0, 10**digits - 1) if digits else 0}'"

    return make


def _time(digits: int) -> Maker:
    def make(rng: random.Random) -> str:
        sign = rng.choice(("", "-"))
        clock = f"{rng.randint(0, 838)}:{rng.randint(0, 59):02}:{rng.randint(0, 58):02}"
        return f"'{sign}{clock}.{rng.randint(0, 10**digits - 1) if digits else 0}'"

    return make


def _one_of(*values: str) -> Maker:
    return lambda rng: rng.choice(values)


COLUMNS: dict[str, Maker] = {
    "tinyint": _whole(-128, 127),
    "tinyint(1)": _whole(-1, 2),
    "tinyint unsigned": _whole(0, 255),
    "smallint": _whole(-32768, 32767),
    "mediumint": _whole(-(2**23), 2**23 - 1),
    "mediumint unsigned": _whole(0, 2**24 - 1),
    "int": _whole(-(2**31), 2**31 - 1),
    "int unsigned": _whole(0, 2**32 - 1),
    "bigint": _whole(-(2**63), 2**63 - 1),
    "bigint unsigned": _whole(0, 2**64 - 1),
    "decimal(10,2)": lambda rng: f"{rng.randint(-(10**10) + 1, 10**10 - 1)}e-2",
    "decimal(31,11)": lambda rng: f"{rng.choice('-+')}{rng.randint(0, 10**31 - 1)}e-11",
    "decimal(5,0)": _whole(-99999, 99999),
    "float": lambda rng: repr(rng.uniform(-1e6, 1e6)),
    "double": lambda rng: repr(rng.uniform(-1e300, 1e300)),
    "bit(1)": _whole(0, 1),
    "bit(12)": _whole(0, 4095),
    "bit(64)": _whole(0, 2**64 - 1),
    "year": _one_of("0", "1901", "2024", "2155"),
    "date": _one_of("'2024-02-29'", "'1000-01-01'", "'9999-12-31'", "'0000-00-00'"),
    "time": _time(0),
    "time(3)": _time(3),
    "datetime": _moment(0),
    "datetime(6)": _moment(6),
    "timestamp NULL": _moment(0),
    "timestamp(3) NULL": _moment(3),
    "char(5)": _text(5),
    "char(80)": _text(80),
    "varchar(20)": _text(20),
    "varchar(300)": _text(300),
    "varchar(50) CHARACTER SET latin1": _text(50, latin=True),
    "binary(4)": _bytes(4),
    "varbinary(10)": _bytes(10),
    "varbinary(300)": _bytes(300),
    "tinyblob": _bytes(30),
    "blob": _bytes(300),
    "longblob": _bytes(1000),
    "text": _text(100),
    "mediumtext": _text(100),
    "enum('one','t\\\\wo','','ä')": _one_of("1", "2", "'ä'", "3"),
    "set('p','q','r s')": _one_of("''", "'p'", "'p,r s'", "7"),
    "json": _one_of("'{}'", "'[1, 2.5, \"a\\\\\\\\tb\", null]'", '\'{"k": {"ä": true}}\''),
}
"""Each column type with what makes a literal for it."""


class Workload:
    """One table and random transactions on it.

    The key is a number and a text; new keys come from a small range, so that keys are used again.
    """

    def __init__(self, name: TableName, types: list[str], seed: int) -> None:
        self.name = name
        self._rng = random.Random(seed)
        self._makers = {f"c {place}": COLUMNS[kind] for place, kind in enumerate(types)}
        columns = ", ".join(
            f"{quote_mysql(f'c {place}')} {kind}" for place, kind in enumerate(types)
        )
        self.definition = (
            f"CREATE TABLE {name.mysql} (`first` int NULL, `k``1` varchar(20) COLLATE utf8mb4_bin"
            f" NOT NULL, {columns}, `k2` mediumint unsigned NOT NULL,"
            f" double_k2 bigint AS (k2 * 2) {self._rng.choice(('VIRTUAL', 'STORED'))},"
            f" PRIMARY KEY (`k2`, `k``1`)) CHARACTER SET utf8mb4"
        )

    def run(self, source: pymysql.Connection[Any], transactions: int) -> None:
        """Commits (or rolls back) that many transactions."""
        rng = self._rng
        with source.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = ''")
            for _ in range(transactions):
                cursor.execute("BEGIN")
                for _ in range(rng.randint(1, 4)):
                    cursor.execute(self._statement())
                    if rng.random() < 0.1:
                        cursor.execute("SAVEPOINT s")
                        cursor.execute(self._statement())
                        cursor.execute("ROLLBACK TO s")
                cursor.execute(rng.choices(("COMMIT", "ROLLBACK"), (9, 1))[0])

    def _statement(self) -> str:
        rng = self._rng
        kind = rng.random()
        if kind < 0.45:
            rows = ", ".join(self._row() for _ in range(rng.choice((1, 1, 3, 30))))
            return f"INSERT IGNORE INTO {self.name.mysql} VALUES {rows}"
        if kind < 0.85:
            chosen = rng.sample(sorted(self._makers), min(len(self._makers), rng.randint(1, 3)))
            changes = [f"{quote_mysql(column)} = {self._value(column)}" for column in chosen]
            if rng.random() < 0.2:
                changes.append(f"k2 = {rng.randint(0, 60)}")
            return f"UPDATE IGNORE {self.name.mysql} SET {', '.join(changes)} WHERE {self._some()}"
        return f"DELETE FROM {self.name.mysql} WHERE {self._some()}"

    def _some(self) -> str:
        low = self._rng.randint(0, 60)
        return f"k2 BETWEEN {low} AND {low + self._rng.choice((0, 1, 10))}"

    def _row(self) -> str:
        key = self._rng.choice(("''", "'a'", "'A'", "'\\\\'", "'t\\tb'", "'ä'"))
        values = [self._value(column) for column in self._makers]
        return (
            f"({self._null('1')}, {key}, {', '.join(values)}, {self._rng.randint(0, 60)}, DEFAULT)"
        )

    def _value(self, column: str) -> str:
        return self._null(self._makers[column](self._rng))

    def _null(self, value: str) -> str:
        return "NULL" if self._rng.random() < 0.12 else value
