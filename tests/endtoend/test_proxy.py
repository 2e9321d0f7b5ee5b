"""Rows that callers write and read over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.endtoend.project import Project
from tests.endtoend.proxy_calls import Proxy, at, prepared

TABLES = """
CREATE TABLE orders (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, code varchar(60) UNIQUE,
    amount decimal(30,10), state enum('new','paid') NOT NULL DEFAULT 'new', tags set('a','b','c'),
    flag tinyint(1), bits bit(10), ratio double, day date, at datetime(3), seen timestamp(6) NULL,
    span time, year year, raw varbinary(20), doc json, body text);
CREATE TABLE line (order_id bigint unsigned NOT NULL, name varchar(20) NOT NULL, n int,
    PRIMARY KEY (order_id, name), FOREIGN KEY (order_id) REFERENCES orders (id));
CREATE TABLE loose (n int)"""
NASTY: dict[str, Any] = {
    "id": "9007199254740993",
    "code": "'; DROP TABLE orders; -- \\ \t\n\u2603",
    "amount": "12345678901234567890.0123456789",
    "state": "paid",
    "tags": ["a", "c"],
    "flag": 1,
    "bits": "513",
    "ratio": 0.1,
    "day": "2026-02-28",
    "at": "2026-01-31T10:00:00.125",
    "seen": "2026-01-31T10:00:00.123456Z",
    "span": "-100:00:01",
    "year": 1999,
    "raw": "AAH/Jw==",
    "doc": {"a": [1, None, "x"], "b": {"c": 1.5}},
    "body": "",
}


@pytest.fixture
def proxy(project: Project) -> Iterator[Proxy]:
    """A proxy before a pipeline that streams."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES.split(";"):
            cursor.execute(statement)
    project.init()
    project.consent_to_lock("loose")
    project.apply_schema()
    daemon = project.sync()
    project.wait_streaming(daemon)
    proxy = prepared(project)
    proxy.start()
    yield proxy
    proxy.stop()


def test_rows_over_http(proxy: Proxy) -> None:
    made = proxy.call("POST", "/v1/tables/orders/rows", {"rows": [NASTY, {"code": "two"}]})
    assert made.status == 201, (made, proxy.daemon.log)
    print(made.json, proxy.daemon.log)
    for side in ("source", "target"):
        found = proxy.call(
            "GET", at("orders", NASTY["id"]) + f"?prefer={side}", X_Bridge_After=made.json["after"]
        )
        assert found.json == {"table": "orders", "side": side, "values": NASTY}
