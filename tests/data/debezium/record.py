"""Records what Debezium sends for a short history, in several modes, and what is to come of it.

    python -m tests.data.debezium.record mysql://root:…@127.0.0.1:3307/ [MODE …]

Needs a JDK (17 or later) and Maven, which fetches Debezium's engine into .local/debezium. Makes and
drops a database ``recorded`` on the server. Writes a file of messages for each
mode (the first line is the connector's configuration), the table's columns as the catalogue gives
them, and the COPY lines that the server's own expressions make of its rows. Every row occurs twice,
first as the snapshot reads it and, with a key that is 1000 higher, as it is logged.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pymysql

from bridge.capture.catalog import read_catalog
from bridge.databases.endpoint import Endpoint, parse_url
from bridge.databases.mysql import connect
from bridge.names import TableName, quote_mysql
from bridge.types import family_of
from bridge.types.base import ColumnPlan, SourceColumn

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
JARS = ROOT / ".local" / "debezium"
DATABASE = "recorded"
EVERY = TableName(DATABASE, "every")
LATER = 1000
"""How much higher the keys of rows are that were logged."""
JSON_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"

COLUMNS: tuple[tuple[str, Sequence[str]], ...] = (
    ("tinyint", ("-128", "127", "0")),
    ("tinyint unsigned", ("255", "0")),
    ("tinyint(1)", ("1", "0", "-5")),
    ("smallint", ("-32768", "32767")),
    ("smallint unsigned", ("65535",)),
    ("mediumint", ("-8388608", "8388607")),
    ("mediumint unsigned", ("16777215",)),
    ("int", ("-2147483648", "2147483647")),
    ("int unsigned", ("4294967295", "2147483648")),
    ("int(8) unsigned zerofill", ("42",)),
    ("bigint", ("-9223372036854775808", "9223372036854775807", "9007199254740993")),
    ("bigint unsigned", ("18446744073709551615", "9223372036854775808", "9223372036854775807")),
    ("int DEFAULT 7", ("1",)),
    ("varchar(9) DEFAULT 'unset'", ("''",)),
    ("decimal(10,2)", ("-12345678.90", "0", "0.01", "-0.5", "99999999.99")),
    ("decimal(65,30)", ("-" + "9" * 35 + "." + "9" * 30, "1e-30", "0.5", "100")),
    ("decimal(20,0)", ("-99999999999999999999", "1000000", "0")),
    ("decimal(5,5) unsigned", ("0.00001", "0.99999")),
    ("float", ("1.5", "-0.25", "0", "1e10", "100000")),
    ("float(10,3)", ("1234.5", "-0.125")),
    ("double", ("0.1", "-1e300", "1e-300", "123456789.123456789", "1e15", "-0.0")),
    ("bit(1)", ("1", "0")),
    ("bit(9)", ("b'101010101'", "0", "256")),
    ("bit(64)", ("~0", "1")),
    ("year", ("1901", "2155", "1999")),
    ("date", ("'0100-01-01'", "'1969-12-31'", "'9999-12-31'", "'2024-02-29'")),
    ("datetime", ("'0100-01-01 00:00:00'", "'1969-12-31 23:59:59'", "'9999-12-31 23:59:59'")),
    ("datetime(1)", ("'2024-02-29 12:34:56.7'", "'1969-12-31 23:59:59.9'")),
    ("datetime(3)", ("'2024-02-29 12:34:56.789'", "'2024-02-29 12:34:56.7'")),
    ("datetime(6)", ("'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.000001'")),
    ("timestamp NULL", ("'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-01-01'")),
    ("timestamp(3) NULL", ("'2024-02-29 12:34:56.789'", "'2024-01-01 10:00:00.1'", "'2024-01-01'")),
    ("timestamp(6) NULL", ("'2024-02-29 12:34:56.789012'", "'2024-01-01 10:00:00.1'")),
    ("time", ("'-838:59:59'", "'838:59:59'", "'24:00:00'", "'-00:00:01'", "'12:34:56'")),
    ("time(3)", ("'-838:59:58.999'", "'23:59:59.999'", "'-00:00:00.001'")),
    ("time(6)", ("'838:59:58.999999'", "'-00:00:00.000001'", "'00:00:00'")),
    ("char(8)", ("'ab  '", "''", "'日本'")),
    ("varchar(60)", (r"'a\tb\nc\\d\re'", "'\"quoted\" ''text'''", "'😀 ünï'", "'  '", r"'\\N'")),
    ("varchar(60) CHARACTER SET latin1", ("'wörld €'", "''")),
    ("varchar(60) CHARACTER SET utf16", ("'日本 😀'",)),
    ("varchar(60) CHARACTER SET gbk", ("'中文'",)),
    ("varchar(60) CHARACTER SET sjis", ("'日本'",)),
    ("longtext", ("REPEAT('long ', 20)", "'\u2028'", "'__debezium'")),
    ("binary(16)", ("x'00010203'", "x'ffffffffffffffffffffffffffffffff'", "''")),
    ("varbinary(20)", ("x'00ff5c0a'", "''", "x'fbefff'")),
    ("blob", ("x'5c095c0a00'", "x'3e3f3e3f'")),
    (
        r"enum('a','b,c','it''s','ü','x\\y','q\\\\,')",
        ("'b,c'", "'it''s'", "'ü'", "'a'", r"'x\\y'", r"'q\\\\,'"),
    ),
    (r"set('x','y y','z\\','\'')", ("'x,z\\\\'", "''", "'y y'", r"'x,\''")),
    (
        "json",
        (
            """'{"b": [1, 2.5, "x\\\\ny", null, true], "a": {}}'""",
            "'[1e300, 1.0, 18446744073709551615, -0.0, 1e-7, 0.1, 12345678.9, 1e15]'",
            """'"text: , \\\\" \\\\u00fc \\\\\\\\ /"'""",
            "CAST(12345678901234567890.123 AS JSON)",
            "JSON_OBJECT('d', CAST('2024-01-01' AS DATE))",
            "'null'",
        ),
    ),
)
"""Types, and values as MySQL writes them; rows beyond the last value hold NULL."""
GENERATED = (
    "int GENERATED ALWAYS AS (id + 1) VIRTUAL",
    "int GENERATED ALWAYS AS (id + 2) STORED",
)
"""The last columns."""

BASE = {
    "connector.class": "io.debezium.connector.mysql.MySqlConnector",
    "topic.prefix": "recorded",
    "database.include.list": DATABASE,
    "enable.time.adjuster": "false",
    "skipped.operations": "none",
    "event.converting.failure.handling.mode": "fail",
    "provide.transaction.metadata": "true",
    "heartbeat.interval.ms": "100",
    "signal.data.collection": f"{DATABASE}.signals",
    "key.converter": JSON_CONVERTER,
    "key.converter.schemas.enable": "false",
    "value.converter": JSON_CONVERTER,
    "value.converter.replace.null.with.default": "false",
}
OFF = {"value.converter.schemas.enable": "false"}
LOSING = {"event.converting.failure.handling.mode": "warn"}
"""Else the connector ends at the first time that it cannot represent."""
MODES = {
    "recommended": {**OFF, "decimal.handling.mode": "string", "binary.handling.mode": "base64"},
    "defaults": {},
    "numbers": {
        **OFF,
        "value.converter.decimal.format": "NUMERIC",
        "bigint.unsigned.handling.mode": "precise",
        "binary.handling.mode": "hex",
        "time.precision.mode": "microseconds",
    },
    "printed": {
        "decimal.handling.mode": "string",
        "bigint.unsigned.handling.mode": "precise",
        "binary.handling.mode": "base64-url-safe",
        "time.precision.mode": "isostring",
        **LOSING,
    },
    "milliseconds": {**OFF, **LOSING, "time.precision.mode": "connect"},
}
"""What differs from BASE."""
CHANGES = (
    "UPDATE every SET c0 = 5 WHERE id = 1001",
    "UPDATE every SET id = 3000 WHERE id = 1002",
    "DELETE FROM every WHERE id = 1001",
    "REPLACE INTO keyless VALUES (1, 'one')",
    "UPDATE keyless SET b = 'two'",
    "DELETE FROM keyless",
    "ALTER TABLE keyless ADD c int",
    "TRUNCATE TABLE keyless",
)
"""What happens in the recommended mode besides."""
CONTEXT = "__debezium.context."
"""Headers with the names of connector and task."""
AGAIN = (
    "INSERT INTO signals VALUES ('again', 'execute-snapshot',"
    ' \'{"data-collections": ["recorded.every"], "type": "incremental"}\')'
)
"""Asks for an incremental snapshot."""


def name_of(place: int) -> str:
    """The n-th column; some need quotes."""
    return {3: 'c"3', 5: "c 5", 7: "ü7"}.get(place, f"c{place}")


def create(run: Callable[[str], Any]) -> None:
    """The tables, and the rows that the snapshot finds."""
    kinds = [*(kind for kind, _ in COLUMNS), *GENERATED]
    columns = ", ".join(f"{quote_mysql(name_of(n))} {kind}" for n, kind in enumerate(kinds))
    run(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
    run(f"USE {DATABASE}")
    run("SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'")
    run(f"CREATE TABLE every (id int PRIMARY KEY, {columns})")
    run("CREATE TABLE keyless (a int, b varchar(10))")
    run("CREATE TABLE signals (id varchar(42) PRIMARY KEY, type varchar(32), data varchar(2048))")
    run("CREATE TABLE zz_finished (id int PRIMARY KEY)")
    run("INSERT INTO zz_finished VALUES (0)")
    insert(run, 0)


def insert(run: Callable[[str], Any], more: int) -> None:
    """All rows, with their keys that much higher; the last one is all NULL."""
    names = ", ".join(quote_mysql(name_of(place)) for place in range(len(COLUMNS)))
    for row in range(max(len(values) for _, values in COLUMNS) + 1):
        values = ", ".join(v[row] if row < len(v) else "NULL" for _, v in COLUMNS)
        run(f"INSERT INTO every (id, {names}) VALUES ({row + 1 + more}, {values})")


@contextmanager
def database(endpoint: Endpoint) -> Iterator[pymysql.Connection[Any]]:
    """A connection, and the database while it is needed."""
    with closing(connect(endpoint, database="")) as source, source.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        create(cursor.execute)
        try:
            yield source
        finally:
            cursor.execute(f"DROP DATABASE {DATABASE}")


class Engine:
    """Debezium's engine as a process; the messages that it prints."""

    def __init__(self, settings: dict[str, str]) -> None:
        file = JARS / "settings.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        command = ["java", "-Xmx256m", "-cp", f"{JARS}/*", str(HERE / "Record.java"), str(file)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.messages: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def until(self, reached: Callable[[dict[str, Any]], bool]) -> None:
        """Takes messages until one is reached."""
        while True:
            line = self._lines.get(timeout=120)
            if not line:
                raise RuntimeError("the engine ended")
            topic, key, value, *headers = line.split("\t")
            message = {
                "topic": topic,
                "key": None if key == "null" else key,
                "value": None if value == "null" else value,
                "headers": [one for one in headers if not one.startswith(CONTEXT)],
            }
            self.messages.append(message)
            if reached(message):
                return

    def close(self) -> None:
        """Ends the engine."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def record(endpoint: Endpoint, mode: str) -> list[dict[str, Any]]:
    """The messages of one mode, its configuration first."""
    config = {**BASE, **MODES[mode]}
    private = {
        "name": "recorded",
        "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "schema.history.internal": "io.debezium.relational.history.MemorySchemaHistory",
        "database.hostname": endpoint.host,
        "database.port": str(endpoint.port),
        "database.user": endpoint.user,
        "database.password": endpoint.password.reveal(),
        "database.server.id": "87654",
        "driver.allowPublicKeyRetrieval": "true",
    }
    with database(endpoint) as source, source.cursor() as cursor:
        if mode == "recommended":
            known = columns(source)
            _write("columns", [asdict(column) for column in known])
            _write("expected", expected(endpoint, known))
        engine = Engine({**config, **private})
        engine.until(lambda one: '"snapshot":"last"' in (one["value"] or ""))
        insert(cursor.execute, LATER)
        if mode == "recommended":
            for statement in (*CHANGES, AGAIN):
                cursor.execute(statement)
            engine.until(lambda one: "snapshot-window-close" in (one["value"] or ""))
        cursor.execute("INSERT INTO zz_finished VALUES (1)")
        engine.until(_is_finish)
        engine.close()
    return [{"config": config}, *_chosen(mode, engine.messages)]


def _is_finish(message: dict[str, Any]) -> bool:
    value = message["value"] or ""
    return bool(message["topic"].endswith("zz_finished")) and '"op":"c"' in value


def _chosen(mode: str, messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of `every` from all modes, the rest from one.

    One heartbeat is enough, and the connector tells of the definitions in all databases. Of
    embedded schemas, which are long, two rows of the snapshot and two that were logged.
    """
    most = 1000 if MODES[mode].get("value.converter.schemas.enable") == "false" else 2
    seen: Counter[str] = Counter()
    for message in messages:
        topic = message["topic"]
        logged = '"op":"r"' not in (message["value"] or "")
        kind = f"{topic} {logged}"
        seen[kind] += 1
        rows_of_every = topic == f"recorded.{EVERY}" and seen[kind] <= most
        heartbeat = topic.startswith("__") and seen[kind] > 1
        foreign = topic == "recorded" and f'"{DATABASE}"' not in message["key"]
        if rows_of_every or (mode == "recommended" and not (heartbeat or foreign)):
            yield message


def columns(source: pymysql.Connection[Any]) -> tuple[SourceColumn, ...]:
    """The table's columns in the catalogue."""
    return read_catalog(source, DATABASE, [EVERY.table])[EVERY].columns


def plan_of(column: SourceColumn) -> ColumnPlan:
    """The column with the first type that its family proposes."""
    family = family_of(column)
    assert family is not None
    return ColumnPlan(column, column.name, family.proposals(column)[0].target_type)


def expected(endpoint: Endpoint, known: Sequence[SourceColumn]) -> list[dict[str, Any]]:
    """Each row's fields as the copy would print them, by key; None for NULL."""
    parts = []
    for plan in map(plan_of, known):
        family = family_of(plan.source)
        assert family is not None
        q = quote_mysql(plan.source.name)
        parts.append(f"IF({q} IS NULL, NULL, {family.copy_text(plan, q)})")
    raw = connect(endpoint, database=DATABASE, raw=True)
    with closing(raw) as source, source.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)} FROM every ORDER BY id")
        rows = cursor.fetchall()
    return [{"fields": [f if f is None else f.decode() for f in row]} for row in rows]


def _write(name: str, lines: Sequence[Any]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (HERE / f"{name}.jsonl").write_text(text, encoding="utf-8")


def main() -> None:
    """Fetches the engine and records every mode."""
    JARS.mkdir(parents=True, exist_ok=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
    subprocess.run(["mvn", "-q", "-f", str(HERE / "pom.xml"), *goal], check=True)  # noqa: S607
    endpoint = parse_url(sys.argv[1])
    for mode in sys.argv[2:] or MODES:
        _write(mode, record(endpoint, mode))


if __name__ == "__main__":
    main()
