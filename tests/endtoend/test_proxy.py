"""Rows that callers write and read over HTTP."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.proxy_calls import READER, Answer, Proxy, at, streaming_proxy

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
ORDERS, LINES = "/v1/tables/orders/rows", "/v1/tables/line/rows"
REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/v1/tables/orderz/rows", {"rows": [{}]}, 404, "unknown-table"),
    ("POST", "/v1/tables/_bridge_op/rows", {"rows": [{}]}, 404, "unknown-table"),
    ("POST", "/v1/tables/orders`%20--/rows", {"rows": [{}]}, 404, "unknown-table"),
    ("POST", ORDERS, {"rows": [{"cod": 1}]}, 422, "unknown-column"),
    ("POST", ORDERS, {"rows": [{"id`=1 #": 1}]}, 422, "unknown-column"),
    ("POST", ORDERS, {"rows": [{"amount": "1; x"}]}, 422, "wrong-value"),
    ("POST", ORDERS, {"rows": [{"amount": True}]}, 422, "wrong-value"),
    ("POST", ORDERS, {"rows": [{"at": "2026-01-01T00:00Z"}]}, 422, "wrong-value"),
    ("POST", ORDERS, {"rows": [{"seen": "2026-01-01T00:00"}]}, 422, "wrong-value"),
    ("POST", ORDERS, {"rows": [{"id": "-1"}]}, 422, "value-refused"),
    ("POST", ORDERS, {"rows": [{"code": "x" * 61}]}, 422, "value-refused"),
    ("POST", ORDERS, {"rows": [{"state": "lost"}]}, 422, "value-refused"),
    ("POST", ORDERS, {"rows": [{"year": 3000}]}, 422, "value-refused"),
    ("POST", ORDERS, {"rows": []}, 422, "wrong-request"),
    ("POST", ORDERS, b'{"rows": [{"ratio": NaN}]}', 422, "wrong-request"),
    ("POST", ORDERS, b'{"rows": [{"code": "\\ud800"}]}', 422, "wrong-request"),
    ("POST", ORDERS, b"[" * 100_000, 422, "wrong-request"),
    ("POST", ORDERS, b"\xff", 422, "wrong-request"),
    ("POST", ORDERS, {"rows": [{"id": "5"}]}, 409, "unique-conflict"),
    ("POST", LINES, {"rows": [{"order_id": 77, "name": "x"}]}, 409, "foreign-key-conflict"),
    ("DELETE", "/v1/tables/orders/rows/5", None, 409, "foreign-key-conflict"),
    ("PATCH", "/v1/tables/orders/rows/78", {"values": {"flag": 1}}, 404, "no-such-row"),
    ("PATCH", "/v1/tables/orders/rows/5", {"values": {}}, 422, "wrong-request"),
    ("PATCH", "/v1/tables/orders/rows/5", {"values": {"id": 6}}, 422, "key-in-values"),
    ("PATCH", "/v1/tables/orders/rows/5%20OR%201=1", {"values": {"flag": 1}}, 422, "wrong-value"),
    ("PATCH", "/v1/tables/line/rows/5", {"values": {"n": 1}}, 422, "wrong-key"),
    ("DELETE", "/v1/tables/loose/rows/5", None, 422, "no-key"),
    ("DELETE", "/v1/tables/loose/rows/[]", None, 422, "no-key"),
    ("GET", "/v1/tables/orders/rows/78", None, 404, "no-such-row"),
    ("GET", "/v1/tables/orders/rows/5?prefer=both", None, 422, "wrong-request"),
    ("PUT", "/v1/tables/orders/rows", {"values": {}}, 405, "no-such-method"),
    ("GET", "/nowhere", None, 404, "no-such-path"),
]  # fmt: skip


@pytest.fixture
def proxy(project: Any) -> Any:
    """A proxy before a pipeline that streams."""
    yield from streaming_proxy(project)


@pytest.fixture
def patient(project: Any) -> Any:
    """One that waits as long as it takes until a write has arrived that a read names."""
    yield from streaming_proxy(project, wait_seconds=60.0)


def results(answer: Answer) -> list[tuple[str, Any]]:
    """What was done to which keys."""
    return [(each["do"], each["key"]) for each in answer.json["results"]]


def seen(proxy: Proxy, table: str, key: object, after: str) -> Any:
    """The row as both sides have it, None for none, once a write has arrived."""
    found: list[Any] = []
    for side in ("source", "target"):
        answer = proxy.call("GET", at(table, key) + f"?prefer={side}", X_Bridge_After=after)
        if answer.status == 404:
            found.append(None)
            continue
        assert answer.json["side"] == side, proxy.daemon.log
        found.append(answer.json["values"])
    assert found[0] == found[1]
    return found[0]


def test_rows_over_http(patient: Proxy) -> None:
    proxy = patient
    made = proxy.call("POST", ORDERS, {"rows": [{"id": 5}, NASTY, {}]})
    assert made.status == 201, made
    assert [key for _, key in results(made)] == [
        {"id": "5"}, {"id": NASTY["id"]}, {"id": "9007199254740994"},
    ]  # fmt: skip
    after = made.json["after"]
    assert seen(proxy, "orders", NASTY["id"], after) == NASTY
    assert seen(proxy, "orders", 5, after)["state"] == "new"

    several = proxy.call(
        "POST",
        "/v1/transactions",
        {
            "operations": [
                {"do": "upsert", "table": "orders", "key": {"id": 6}, "values": {"code": "six"}},
                {"do": "insert", "table": "line", "values": {"order_id": 6, "name": "[a", "n": 1}},
                {"do": "upsert", "table": "orders", "key": {"id": 6}, "values": {"amount": 1.25}},
                {"do": "insert", "table": "line", "values": {"order_id": 5, "name": "b"}},
                {"do": "update", "table": "orders", "key": {"id": 5}, "values": {"flag": True}},
            ]
        },
    )
    assert several.status == 200, several
    after = several.json["after"]
    assert seen(proxy, "orders", 6, after)["amount"] == "1.2500000000"
    assert seen(proxy, "line", [6, "[a"], after) == {"order_id": "6", "name": "[a", "n": 1}

    for method, path, body in (
        ("PATCH", at("line", [6, "[a"]), {"values": {"n": 2}}),
        ("PATCH", at("line", [6, "[a"]), {"values": {"n": 2}}),
        ("PUT", at("line", [6, "/c"]), {"values": {}}),
    ):
        answer = proxy.call(method, path, body)
        assert answer.status == 200, (method, answer)
    made = proxy.call("PUT", at("line", [6, "/c"]), {"values": {}})
    assert seen(proxy, "line", [6, "/c"], made.json["after"])["n"] is None
    gone = proxy.call("DELETE", at("line", [6, "/c"]))
    assert seen(proxy, "line", [6, "/c"], gone.json["after"]) is None
    assert seen(proxy, "line", [6, "[a"], gone.json["after"])["n"] == 2
    with closing(proxy.project.source.connect()) as conn, conn.cursor() as cursor:
        # A group without a row is the source's.
        assert cursor.execute("DELETE FROM _bridge_authority WHERE grp = 'loose'") == 1
    assert proxy.call("POST", "/v1/tables/loose/rows", {"rows": [{"n": 1}]}).status == 201

    before = everything(proxy)
    for method, path, body, status, code in REFUSED:
        answer = proxy.call(method, path, body)
        assert (answer.status, answer.code) == (status, code), (
            path,
            body,
            answer,
            proxy.daemon.log,
        )
    broken = [
        {"do": "insert", "table": "orders", "values": {"id": 70}},
        {
            "do": "update",
            "table": "line",
            "key": {"order_id": 70, "name": "no"},
            "values": {"n": 1},
        },
    ]
    answer = proxy.call("POST", "/v1/transactions", {"operations": broken})
    assert (answer.status, answer.code) == (404, "no-such-row") and "operation 1" in answer.json[
        "detail"
    ]
    assert everything(proxy) == before
    proxy.stop()
    proxy.project.daemons[0].stop()
    proxy.project.catch_up()
    assert_same(proxy.project.source, proxy.project.target, tables=["orders", "line", "loose"])


def everything(proxy: Proxy) -> list[Any]:
    """What the source holds."""
    found: list[Any] = []
    with closing(proxy.project.source.connect()) as conn, conn.cursor() as cursor:
        for table in ("orders", "line", "loose", "_bridge_op"):
            cursor.execute(
                f"SELECT * FROM {table} ORDER BY 1, 2"
                if table != "loose"
                else "SELECT * FROM loose"
            )
            found.append(cursor.fetchall())
    return found


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_who_is_read(proxy: Proxy) -> None:
    project = proxy.project
    authority = proxy.call("GET", "/authority/orders", token=READER)
    expected = {"group": "orders", "epoch": 1, "authority": "source", "mode": "provisional"}
    assert authority.json == {**expected, "reads_percent": 0}
    known = authority.headers["etag"]
    again = proxy.call("GET", "/authority/orders", If_None_Match=f'"x", W/{known}')
    assert (again.status, again.raw, again.headers["etag"]) == (304, b"", known)
    assert proxy.call("GET", "/authority/none").code == "unknown-group"

    after = proxy.call("PUT", at("orders", 1), {"values": {"code": "one"}}).json["after"]

    def side(**headers: str) -> str:
        return str(proxy.call("GET", at("orders", 1), token=READER, **headers).json["side"])

    assert side() == "source"
    project.run("cutover", "reads", "50", "--group", "orders")
    written = proxy.call("PATCH", at("orders", 1), {"values": {"code": "two"}})
    assert written.status == 200
    changed = proxy.call("GET", "/authority/orders", If_None_Match=known)
    assert (changed.status, changed.json["epoch"], changed.json["reads_percent"]) == (200, 2, 50)
    there = at("orders", 1) + "?prefer=target"
    project.wait_until(
        lambda: proxy.call("GET", there, X_Bridge_After=after).json["side"] == "target"
    )
    drawn = {pin: side(X_Bridge_Pin=pin, X_Bridge_After=after) for pin in map(str, range(20))}
    assert set(drawn.values()) == {"source", "target"}
    assert all(side(X_Bridge_Pin=pin) == known for pin, known in drawn.items())
    assert proxy.call("GET", there, X_Bridge_After="1.x").code == "wrong-after"
    unknown = f"{10**12}.{'0' * 32}"  # nothing that comes: after `wait_seconds` the source answers
    assert proxy.call("GET", there, X_Bridge_After=unknown).json["side"] == "source"

    pausing = "UPDATE dbbridge.tables SET paused = %s WHERE source_table = 'orders' RETURNING 1"

    def goes_to(side: str) -> None:
        project.wait_until(lambda: proxy.call("GET", there).json["side"] == side)

    project.ask(pausing, True)
    goes_to("source")
    project.ask(pausing, False)
    goes_to("target")
    project.daemons[0].kill()
    silence = "UPDATE dbbridge.daemon SET renewed_at = now() - interval '11 s' RETURNING 1"

    def silent() -> bool:
        """Its last word may still be under way."""
        project.ask(silence)
        return bool(proxy.call("GET", there).json["side"] == "source")

    project.wait_until(silent)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_a_side_that_is_away(proxy: Proxy) -> None:
    project, account = proxy.project, proxy.project.accounts.name
    project.daemons[0].stop()
    proxy.call("PUT", at("orders", 1), {"values": {}})
    with project.target.connect() as conn:
        conn.execute(f'ALTER ROLE "{account}" NOLOGIN'.encode())
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [account]
        )
        ended = "SELECT FROM pg_stat_activity WHERE usename = %s"
        project.wait_until(lambda: not project.ask(ended, account))
        assert proxy.call("PUT", at("orders", 2), {"values": {}}).status == 200
        found = proxy.call("GET", at("orders", 2) + "?prefer=target")
        assert found.json["side"] == "source"
        ready = proxy.call("GET", "/health/ready", token=None)
        assert (ready.status, ready.json["target"], ready.json["source"]) == (503, "away", "ok")
        assert proxy.call("GET", "/metrics").status == 200
        conn.execute(f'ALTER ROLE "{account}" LOGIN'.encode())
    writer = proxy.writer
    with closing(project.source.connect()) as there, there.cursor() as cursor:
        cursor.execute(f"ALTER USER '{writer}'@'%' ACCOUNT LOCK")
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (writer,))
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")
        away = proxy.call("PUT", at("orders", 3), {"values": {}})
        assert away.status == 503, away
        assert proxy.call("GET", at("orders", 2)).status == 503
        cursor.execute(f"ALTER USER '{writer}'@'%' ACCOUNT UNLOCK")
    assert proxy.call("PUT", at("orders", 3), {"values": {}}).status == 200
