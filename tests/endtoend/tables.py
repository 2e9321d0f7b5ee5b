"""The suite's own schema: each table stands for something that has broken such moves before."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from pymysql.connections import Connection

from tests.fix_servers import SourceDatabase

KEYLESS = "keyless"

TABLES = {
    # A row of many types, an integer key, values that move between rows never collide here.
    "item": """
        id        bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
        kind      tinyint unsigned NOT NULL,
        small     smallint NOT NULL,
        medium    mediumint unsigned,
        big       bigint unsigned,
        flag      tinyint(1) NOT NULL,
        amount    decimal(12,3) NOT NULL,
        huge      decimal(40,20),
        name      varchar(60) NOT NULL,
        note      text,
        latin     varchar(40) CHARACTER SET latin1,
        cyrillic  varchar(40) CHARACTER SET cp1251,
        japanese  varchar(40) CHARACTER SET sjis,
        wide      varchar(40) CHARACTER SET ucs2,
        old_utf   varchar(40) CHARACTER SET utf8,
        state     enum('new','paid','sent','it''s back') NOT NULL,
        tags      set('red','green','blue','x y') NOT NULL,
        doc       json,
        payload   blob,
        fixed     binary(5),
        bits      bit(11),
        single    float,
        twice     double,
        born      date,
        at        datetime(6),
        changed   timestamp(3) NULL,
        span      time(2),
        since     year,
        KEY item_name (name, kind), KEY item_amount (amount)""",
    "composite": """
        a int NOT NULL, b varchar(20) NOT NULL, c smallint NOT NULL, v int, w varchar(30),
        PRIMARY KEY (a, b, c), KEY composite_v (v)""",
    # 'abc' and 'ABC' are one key in the source.
    "folded": """
        code varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY,
        v int NOT NULL, label varchar(50)""",
    "uuid_key": """
        id binary(16) NOT NULL PRIMARY KEY, v varbinary(30), n int NOT NULL""",
    # Slots are handed from row to row inside transactions.
    "slot": """
        id int NOT NULL PRIMARY KEY, place int NOT NULL, email varchar(50), v int NOT NULL,
        UNIQUE KEY slot_place (place), UNIQUE KEY slot_email (email)""",
    "parent": "id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int NOT NULL",
    "child_of": """
        id int NOT NULL AUTO_INCREMENT PRIMARY KEY, parent int NOT NULL, v int NOT NULL,
        CONSTRAINT child_of_parent FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE""",
    "guest_of": """
        id int NOT NULL AUTO_INCREMENT PRIMARY KEY, parent int NULL, v int NOT NULL,
        CONSTRAINT guest_of_parent FOREIGN KEY (parent) REFERENCES parent (id)
            ON DELETE SET NULL""",
    "emptied": "id int NOT NULL PRIMARY KEY, v int NOT NULL",
    KEYLESS: "a int, b varchar(20), c datetime NOT NULL",
    # Wide, so that the copy takes several chunks; large transactions go here.
    "bulk": """
        id int NOT NULL PRIMARY KEY, v int NOT NULL, filler varchar(250) NOT NULL,
        KEY bulk_v (v)""",
}
"""Name → body of CREATE TABLE, in an order that foreign keys allow."""


def create(database: SourceDatabase, *, bulk: int, seed: int) -> None:
    """Makes the tables, and fills `bulk` with that many rows."""
    with closing(database.connect()) as conn, conn.cursor() as cursor:
        for name, body in TABLES.items():
            cursor.execute(f"CREATE TABLE {name} ({body}) ENGINE=InnoDB CHARSET=utf8mb4")
        _fill_bulk(conn, bulk, seed)


def _fill_bulk(conn: Connection[Any], rows: int, seed: int) -> None:
    with conn.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE digit (d int)")
        cursor.execute("INSERT INTO digit VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")
        for name in ("d2", "d3", "d4", "d5", "d6"):
            # A temporary table can be named only once in a statement.
            cursor.execute(f"CREATE TEMPORARY TABLE {name} SELECT d FROM digit")
        cursor.execute(
            "INSERT INTO bulk SELECT n, (n * 7919 + %s) %% 1000, RPAD(n, 200 + n %% 50, 'x')"
            " FROM (SELECT 1 + digit.d + 10*d2.d + 100*d3.d + 1000*d4.d + 10000*d5.d + 100000*d6.d"
            " AS n FROM digit, d2, d3, d4, d5, d6) AS numbers WHERE n <= %s",
            (seed, rows),
        )
        for name in ("digit", "d2", "d3", "d4", "d5", "d6"):
            cursor.execute(f"DROP TEMPORARY TABLE {name}")
    conn.commit()
