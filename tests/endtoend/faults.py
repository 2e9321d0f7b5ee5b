"""Faults planted in the target, in rows that no traffic touches, and what verify has to say.

A fault is one change by hand: a row gone, a row too many, one value of any type family changed, two
changes that cancel each other in a sum, two rows swapped, NULL for an empty text, a space at the
end, one character inside of a large document.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bridge.names import quote_postgres
from tests.fix_servers import SourceDatabase, TargetDatabase

ROWS = 20_000
DOCUMENTS = 4
DOCUMENT_CHARACTERS = 5_000_000
MARK = 2_345_678
"""Where in a document the one character is changed."""

TABLES = """\
CREATE TABLE still (
  id int PRIMARY KEY, tiny tinyint NOT NULL, small smallint unsigned NOT NULL,
  med mediumint NOT NULL, num int NOT NULL, big bigint unsigned NOT NULL,
  flag tinyint(1) NOT NULL, bits bit(5) NOT NULL, exact decimal(20,6) NOT NULL,
  single float NOT NULL, dbl double NOT NULL, day date NOT NULL, at datetime(6) NOT NULL,
  ts timestamp(3) NULL, took time(2) NOT NULL, yr year NOT NULL, ch char(10) NOT NULL,
  words varchar(40), body text NOT NULL, latin varchar(40) CHARACTER SET latin1 NOT NULL,
  fixed binary(4) NOT NULL, bytes varbinary(20) NOT NULL, lump blob NOT NULL,
  kind enum('a','b','c') NOT NULL, tags set('x','y','z') NOT NULL, doc json NOT NULL);
CREATE TABLE pair (a int, b varchar(20) COLLATE utf8mb4_general_ci, v int, PRIMARY KEY (a, b));
CREATE TABLE word (w varchar(30) COLLATE utf8mb4_general_ci PRIMARY KEY, v int NOT NULL);
CREATE TABLE loose (x int NOT NULL, y varchar(20));
CREATE TABLE page (id int PRIMARY KEY, doc json NOT NULL)"""

NUMBERS = "SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n AS n FROM " + ",".join(
    "(SELECT 0 AS n" + "".join(f" UNION ALL SELECT {n}" for n in range(1, digits)) + f") AS {t}"
    for t, digits in zip("abcde", (10, 10, 10, 10, ROWS // 10_000), strict=True)
)
FILL = (
    (
        "INSERT INTO still SELECT n, n % 100, n % 60000, n, n * 7, 18446744073709551615 - n, n % 2,"
        " n % 32, n / 7, n / 4, n / 3, DATE_ADD('2001-01-01', INTERVAL n DAY),"
        " DATE_ADD('2010-05-05 05:05:05.123456', INTERVAL n MINUTE),"
        " DATE_ADD('2011-01-01 00:00:00.125', INTERVAL n HOUR), SEC_TO_TIME(n % 80000),"
        " 1970 + n % 100, CONCAT('c', n), IF(n % 5 = 0, '', CONCAT('wörds ', n)),"
        " REPEAT(CONCAT('body ', n, ' '), 5),"
        " CONCAT('latin é', n), UNHEX(LPAD(HEX(n), 8, '0')),"
        " UNHEX(LEFT(SHA2(n, 256), 40)), UNHEX(SHA2(n, 512)),"
        " ELT(1 + n % 3, 'a', 'b', 'c'), 1 + n % 7, JSON_OBJECT('n', n, 'text', CONCAT('text ', n))"
        f" FROM ({NUMBERS}) AS numbers"
    ),
    "INSERT INTO pair SELECT num % 50, CONCAT('B', id), num FROM still WHERE id <= 4000",
    "INSERT INTO word SELECT CONCAT('Wörd ', id), num FROM still WHERE id <= 4000",
    "INSERT INTO loose SELECT id, CONCAT('row ', id) FROM still WHERE id <= 2000",
    *(
        f"INSERT INTO page VALUES ({n}, JSON_OBJECT('n', {n}, 'text',"
        f" REPEAT('{chr(96 + n)}bcdefghij', {DOCUMENT_CHARACTERS // 10})))"
        for n in range(1, DOCUMENTS + 1)
    ),
)
KEYS = {"still": "id", "page": "id", "word": "w"}
_LETTER = "CASE WHEN left({0},1)='Q' THEN 'R' ELSE 'Q' END || substr({0},2)"
_OTHER = {
    "boolean": "NOT {0}",
    "bit": "~{0}",
    "date": "{0} + 1",
    "bytea": "set_byte({0}, 1, (get_byte({0}, 1) + 1) % 256)",
    "json": "jsonb_set({0}::jsonb, '{{n}}', to_jsonb(({0}->>'n')::int + 1))::json",
    "jsonb": "jsonb_set({0}, '{{n}}', to_jsonb(({0}->>'n')::int + 1))",
    "ARRAY": "CASE WHEN 'x' = ANY({0}) THEN array_remove({0}, 'x') ELSE array_append({0}, 'x') END",
    "real": "{0} + 1024",
    "double precision": "{0} + 1024",
    "timestamp without time zone": "{0} + interval '1 millisecond'",
    "timestamp with time zone": "{0} + interval '1 millisecond'",
    "time without time zone": "{0} + interval '10 milliseconds'",
    "interval": "{0} + interval '10 milliseconds'",
}
"""Another value, by the type that the target's column has; of numbers, the next one."""
_SPECIAL = {
    "kind": "(CASE WHEN {0}::text = 'a' THEN 'b' ELSE 'a' END)",
    "tags": "(CASE WHEN {0}::text = 'x' THEN 'y' ELSE 'x' END)",
}


@dataclass
class Faults:
    """Plants faults; `expected` says which difference each key has to show."""

    source: SourceDatabase
    target: TargetDatabase
    chance: random.Random
    expected: dict[tuple[str, str], tuple[str, frozenset[str]]] = field(default_factory=dict)
    """By table and key: kind, and the columns that differ."""
    loose: Counter[str] = field(default_factory=Counter)
    """Rows of the table without a key, by kind."""
    planted: Counter[str] = field(default_factory=Counter)
    """Faults, by what they are."""
    _types: dict[str, str] = field(default_factory=dict)
    _added: int = 0

    def create(self) -> None:
        """Makes and fills the tables in the source."""
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            for statement in (*TABLES.split(";\n"), *FILL):
                cursor.execute(statement)

    def plant(self, faults: int) -> None:
        """So many more, by turns of every sort."""
        with self.target.connect() as conn:
            self._types = self._types or self._known(conn)
            acts = [self._missing, self._extra, self._cancelling, self._swapped, self._spaced]
            acts += [self._emptied, self._composite, self._word, self._keyless, self._lettered]
            acts += [self._changed] * len(self._types)
            for number in range(sum(self.planted.values()), sum(self.planted.values()) + faults):
                act = acts[number % len(acts)]
                if act == self._lettered and self.planted["lettered"] == DOCUMENTS - 1:
                    act = self._missing
                act(conn)
                self.planted[act.__name__.strip("_")] += 1

    def found(self, document: Any) -> dict[tuple[str, str], tuple[str, frozenset[str]]]:
        """What verify says of the tables, in the form of `expected`."""
        said: dict[tuple[str, str], tuple[str, frozenset[str]]] = {}
        for table in document["tables"]:
            name = table["table"].partition(".")[2]
            for one in table["differences"]:
                columns = frozenset(c["name"] for c in one["columns"])
                kind = one["kind"]
                if name == "loose":
                    continue
                key = ",".join(one["key"].values())
                said[name, key] = (kind, columns if kind == "differs" else frozenset())
        return said

    # -- the faults --------------------------------------------------------------------------

    def _missing(self, conn: psycopg.Connection[Any]) -> None:
        number = self._row("still")
        self._run(conn, "DELETE FROM {}.still WHERE id = %s", number)
        self.expected["still", str(number)] = ("missing", frozenset())

    def _extra(self, conn: psycopg.Connection[Any]) -> None:
        self._added += 1
        number, new = self._row("still"), 1_000_000 + self._added
        names = ",".join(map(quote_postgres, self._types))
        copied = f"SELECT %s,{names} FROM {{0}}.still WHERE id = %s"
        self._run(conn, f"INSERT INTO {{0}}.still (id,{names}) {copied}", new, number)
        self._forget("still", number)
        self.expected["still", str(new)] = ("extra", frozenset())

    def _changed(self, conn: psycopg.Connection[Any]) -> None:
        """One value, of each column in turn."""
        names = list(self._types)
        column = names[self.planted["changed"] % len(names)]
        number = self._row("still")
        self._update(conn, "still", number, column, self._other(column))
        self.expected["still", str(number)] = ("differs", frozenset({column}))

    def _cancelling(self, conn: psycopg.Connection[Any]) -> None:
        for step in ("+ 1", "- 1"):
            number = self._row("still")
            self._update(conn, "still", number, "num", f"num {step}")
            self.expected["still", str(number)] = ("differs", frozenset({"num"}))

    def _swapped(self, conn: psycopg.Connection[Any]) -> None:
        one, two = self._row("still"), self._row("still")
        names = ",".join(map(quote_postgres, self._types))
        self._run(
            conn,
            f"UPDATE {{0}}.still AS t SET ({names}) = (SELECT {names} FROM {{0}}.still AS o"
            " WHERE o.id = %s::int + %s::int - t.id) WHERE id IN (%s, %s)",
            one, two, one, two,
        )  # fmt: skip
        columns = self._unlike(one, two)
        for number in (one, two):
            self.expected["still", str(number)] = ("differs", columns)

    def _spaced(self, conn: psycopg.Connection[Any]) -> None:
        number = self._row("still")
        self._update(conn, "still", number, "body", "body || ' '")
        self.expected["still", str(number)] = ("differs", frozenset({"body"}))

    def _emptied(self, conn: psycopg.Connection[Any]) -> None:
        number = self._row("still", lambda n: n % 5 == 0)
        self._update(conn, "still", number, "words", "NULL")
        self.expected["still", str(number)] = ("differs", frozenset({"words"}))

    def _composite(self, conn: psycopg.Connection[Any]) -> None:
        number = self._row("pair", lambda n: n <= 4000)
        a, b = number * 7 % 50, f"B{number}"
        self._run(conn, "UPDATE {}.pair SET v = v + 1 WHERE a = %s AND b = %s", a, b)
        self.expected["pair", f"{a},{b}"] = ("differs", frozenset({"v"}))

    def _word(self, conn: psycopg.Connection[Any]) -> None:
        number = self._row("word", lambda n: n <= 4000)
        self._run(conn, "DELETE FROM {}.word WHERE w = %s", f"Wörd {number}")
        self.expected["word", f"Wörd {number}"] = ("missing", frozenset())

    def _keyless(self, conn: psycopg.Connection[Any]) -> None:
        number = self._row("loose", lambda n: n <= 2000)
        self._run(conn, "UPDATE {}.loose SET y = y || ' ' WHERE x = %s", number)
        self.loose.update(("missing", "extra"))

    def _lettered(self, conn: psycopg.Connection[Any]) -> None:
        """One character of a large document."""
        number = self.planted["lettered"] + 1
        text = f"overlay(doc->>'text' placing 'Z' from {MARK} for 1)"
        self._update(
            conn,
            "page",
            number,
            "doc",
            f"jsonb_set(doc::jsonb, '{{text}}', to_jsonb({text}))::{self._types['doc']}",
        )
        self.expected["page", str(number)] = ("differs", frozenset({"doc"}))

    # -- how ---------------------------------------------------------------------------------

    def _row(self, table: str, fit: Any = lambda _: True) -> int:
        """A row that nobody has changed yet; it is taken."""
        while True:
            number = self.chance.randint(1, ROWS)
            if fit(number) and number not in self._taken.setdefault(table, set()):
                self._taken[table].add(number)
                return number

    _taken: dict[str, set[int]] = field(default_factory=dict)

    def _forget(self, table: str, number: int) -> None:
        self._taken[table].discard(number)

    def _run(self, conn: psycopg.Connection[Any], sql: str, *values: object) -> None:
        done = conn.execute(sql.format(quote_postgres(self.source.name)).encode(), values)
        assert done.rowcount > 0, sql

    def _update(
        self, conn: psycopg.Connection[Any], table: str, number: int, column: str, value: str
    ) -> None:
        schema = quote_postgres(self.source.name)
        sql = f"UPDATE {schema}.{table} SET {quote_postgres(column)} = {value} WHERE id = {number}"
        assert conn.execute(sql.encode()).rowcount == 1, sql

    def _other(self, column: str) -> str:
        kind, name = self._types[column], quote_postgres(column)
        if column in _SPECIAL and kind != "ARRAY":
            label = _SPECIAL[column].format(name)
            return f"{label}::{kind}" if kind.startswith('"') else label
        if kind in _OTHER:
            return _OTHER[kind].format(name)
        if kind in ("text", "character varying", "character"):
            return _LETTER.format(name)
        return f"{name} + 1"

    def _known(self, conn: psycopg.Connection[Any]) -> dict[str, str]:
        """The type of each column of `still` but the key; enums by their quoted name."""
        rows = conn.execute(
            "SELECT column_name, CASE data_type WHEN 'USER-DEFINED' THEN format('%%I.%%I',"
            " udt_schema, udt_name) ELSE data_type END FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = 'still' AND column_name <> 'id'"
            " ORDER BY ordinal_position",
            [self.source.name],
        )
        return dict(rows.fetchall())

    def _unlike(self, one: int, two: int) -> frozenset[str]:
        """The columns in which the source's rows differ."""
        names = list(self._types)
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            listed = ",".join(f"`{name}`" for name in names)
            cursor.execute(f"SELECT {listed} FROM still WHERE id IN (%s, %s)", (one, two))
            first, second = cursor.fetchall()
        pairs = zip(names, first, second, strict=True)
        return frozenset(name for name, mine, theirs in pairs if mine != theirs)
