"""Writers of many kinds against a fence, and what tells whether one got through."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from bridge.cutover.fences.accounts import Account
from bridge.cutover.fences.base import Evidence, Limits, Proof, SourceFence, Subject
from bridge.cutover.fences.holding import engage, release
from bridge.names import TableName
from tests.fix_servers import SourceDatabase
from tests.integration.cutover.killing import Filed, dies_at

PASSWORD = "x8!Kq"
TABLES = ("orders", "lines")
LIMITS = Limits(seconds=60, lock_seconds=1)


@dataclass
class Kept:
    """Notes in memory, as JSON has them."""

    text: str = "null"
    writes: int = 0

    def read(self) -> Evidence | None:
        found: Evidence | None = json.loads(self.text)
        return found

    def write(self, evidence: Evidence) -> None:
        self.text = json.dumps(evidence)
        self.writes += 1

    def clear(self) -> None:
        self.text = "null"


@dataclass
class Shop:
    """A database with an application's account and the one that fences; both least in rights."""

    db: SourceDatabase
    app: Account
    admin: Account
    bridge: Account
    notes: Kept = field(default_factory=Kept)

    @property
    def tables(self) -> tuple[TableName, ...]:
        return tuple(TableName(self.db.name, table) for table in TABLES)

    @property
    def mariadb(self) -> bool:
        return self.db.server.kind == "mariadb"

    @property
    def subject(self) -> Subject:
        return Subject(self.tables, None, (self.bridge, self.admin))

    def connect(self, account: Account, **options: Any) -> pymysql.Connection[Any]:
        server = self.db.server
        given: dict[str, Any] = {"autocommit": True, "database": self.db.name, **options}
        return pymysql.connect(
            host=server.host, port=server.port, user=account.user, password=PASSWORD, **given
        )

    def root(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs statements as the administrator of the server; returns the last one's rows."""
        with closing(self.db.connect()) as conn, conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def grants(self, account: Account | None = None) -> list[str]:
        who = account or self.app
        lines = [str(row[0]) for row in self.root(f"SHOW GRANTS FOR {who.quoted}")]
        # MariaDB lists columns in an order that changes with every grant.
        return [re.sub(r"\(([^)]*)\)", _sorted, line) for line in lines] if self.mariadb else lines

    def counts(self) -> list[int]:
        """Rows, and the sum of what updates count up."""
        rows = self.root(
            "SELECT (SELECT COUNT(*) FROM orders), (SELECT COALESCE(SUM(n), 0) FROM orders),"
            " (SELECT COUNT(*) FROM `lines`)"
        )
        return [int(value) for value in rows[0]]

    @contextmanager
    def fencing(self) -> Iterator[pymysql.Connection[Any]]:
        """A session of the account that fences."""
        with closing(self.connect(self.admin, database=None)) as conn:
            yield conn

    def allow(self, fence: SourceFence) -> None:
        """Grants the account exactly what `check` asks for, until it asks for nothing more."""
        lines: list[str] = []
        for _ in range(4):
            with self.fencing() as conn:
                lines = [
                    line
                    for problem in fence.check(conn)
                    if problem.code.startswith("account-") or problem.code == "bridge-not-exempt"
                    for line in problem.statements
                ]
            if not lines:
                return
            self.root(*lines)
        raise AssertionError(f"it never has enough: {lines}")

    def engage(self, fence: SourceFence, limits: Limits = LIMITS) -> Proof:
        with self.fencing() as conn:
            return engage(conn, fence, self.notes, limits)

    def release(self) -> list[str]:
        with self.fencing() as conn:
            return release(conn, self.notes)


def _sorted(columns: re.Match[str]) -> str:
    return f"({', '.join(sorted(columns[1].split(', ')))})"


@contextmanager
def shop(db: SourceDatabase, grants: Sequence[str]) -> Iterator[Shop]:
    """Tables and accounts; `grants` may name {db}, {app}, {role}."""
    mark = secrets.token_hex(4)
    app, admin, bridge = (Account(f"{name}_{mark}", "%") for name in ("app", "fence", "bridge"))
    found = Shop(db, app, admin, bridge)
    found.root(
        "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL DEFAULT 0, t TEXT)",
        "CREATE TABLE `lines` (id INT AUTO_INCREMENT PRIMARY KEY, order_id INT)",
        "INSERT INTO orders (n) VALUES (0), (0), (0), (0), (0), (0), (0), (0)",
        *(f"CREATE USER {each.quoted} IDENTIFIED BY '{PASSWORD}'" for each in (app, admin, bridge)),
        *(line.format(db=f"`{db.name}`", app=app.quoted) for line in grants),
    )
    try:
        yield found
    finally:
        found.root(*(f"DROP USER IF EXISTS {each.quoted}" for each in (app, admin, bridge)))


PER_TABLE = (
    "GRANT SELECT, INSERT, UPDATE, DELETE, DROP ON {db}.orders TO {app}",
    "GRANT SELECT, INSERT (id, order_id), UPDATE (id) ON {db}.`lines` TO {app} WITH GRANT OPTION",
    "GRANT EXECUTE ON {db}.* TO {app}",
)
WHOLE = ("GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON {db}.* TO {app}",)


@dataclass
class Writers:
    """Threads of an application that writes all the time, and connects again when it has to."""

    shop: Shop
    acknowledged: int = 0
    refused: int = 0
    surprises: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def autocommit(self, cursor: Any) -> None:
        cursor.execute("INSERT INTO orders (n) VALUES (1)")

    def prepared(self, cursor: Any) -> None:
        cursor.execute("PREPARE w FROM 'UPDATE orders SET n = n + 1 WHERE id = 1'")
        for _ in range(20):
            cursor.execute("EXECUTE w")
            self._count()

    def transaction(self, cursor: Any) -> None:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO `lines` (order_id) VALUES (1)")
        cursor.execute("SELECT SLEEP(0.2)")
        cursor.execute("INSERT INTO orders (n) VALUES (2)")
        cursor.execute("COMMIT")

    def _count(self) -> None:
        with self._lock:
            self.acknowledged += 1

    def _run(self, kind: str) -> None:
        while not self._stop.is_set():
            try:
                with closing(self.shop.connect(self.shop.app)) as conn, conn.cursor() as cursor:
                    while not self._stop.is_set():
                        try:
                            getattr(self, kind)(cursor)
                            self._count()
                        except pymysql.err.MySQLError as error:
                            self._judge(error)
                            conn.rollback()
            except pymysql.err.MySQLError as error:
                self._judge(error)

    def _judge(self, error: pymysql.err.MySQLError) -> None:
        code = error.args[0]
        with self._lock:
            self.refused += 1
            if code not in EXPECTED:
                self.surprises.append(str(error))
        self._stop.wait(0.002)

    @contextmanager
    def running(self, each: int = 2) -> Iterator[None]:
        kinds = ("autocommit", "prepared", "transaction")
        threads = [
            threading.Thread(target=self._run, args=(k,)) for k in kinds for _ in range(each)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def await_more(self, seconds: float = 60) -> None:
        """Until some more writes were acknowledged."""
        before, deadline = self.acknowledged, time.monotonic() + seconds
        while self.acknowledged < before + 10:
            assert time.monotonic() < deadline, f"nothing is written: {self.surprises[-3:]}"
            time.sleep(0.005)

    def await_refusals(self, count: int = 20, seconds: float = 60) -> None:
        """Until some more attempts were refused."""
        before, deadline = self.refused, time.monotonic() + seconds
        while self.refused < before + count:
            assert time.monotonic() < deadline, "nobody tries to write"
            time.sleep(0.005)


EXPECTED = frozenset(
    {0, 1053, 1142, 1143, 1146, 1205, 1213, 1290, 1317, 1836, 1927, 2006, 2013, 2055, 3118, 4151}
)
"""How a fence shows to an application. Who is ended in the middle of a statement may be told so, by
1053 or 1317 on MySQL and by 1927 on MariaDB, before his connection breaks."""


def assert_holds(shop: Shop, writers: Writers) -> None:
    """Nothing changes while everybody tries."""
    before = shop.counts()
    writers.await_refusals()
    assert shop.counts() == before


def errors(problems: Sequence[Any]) -> list[str]:
    return [each.code for each in problems if each.severity == "error"]


def assert_survives_kills(shop: Shop, fence: SourceFence, folder: Path) -> int:
    """Whoever dies wherever while he sets it or takes it off, another one takes it off."""
    before, path = shop.grants(), folder / "notes.json"

    def on(notes: Filed) -> None:
        with shop.fencing() as conn:
            assert engage(conn, fence, notes, LIMITS).holds

    def off(notes: Filed) -> None:
        with shop.fencing() as conn:
            assert release(conn, notes) == []

    def again(number: int) -> bool:
        on(Filed(path))
        return dies_at(number, path, off)

    kills = 0
    for attempt in (lambda number: dies_at(number, path, on), again):
        number = 1
        while attempt(number):
            if number % 2:
                on(Filed(path))
            off(Filed(path))
            _assert_open(shop, before)
            number += 1
        off(Filed(path))
        _assert_open(shop, before)
        kills += number - 1
    return kills


def _assert_open(shop: Shop, grants: list[str]) -> None:
    assert shop.grants() == grants
    with closing(shop.connect(shop.app)) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO orders (n) VALUES (1)")
        cursor.execute("INSERT INTO `lines` (order_id) VALUES (1)")
