"""A request under an Idempotency-Key is carried out once, whatever happens to its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import create_engine

from bridge.dualwrite.http.answers import forget
from tests.endtoend.dual import give_to_target
from tests.endtoend.project import Project
from tests.endtoend.proxy_calls import ALL, ORDERS, Answer, Proxy, at, streaming_proxy

ROWS = "/v1/tables/orders/rows"


@pytest.fixture
def proxy(project: Project) -> Iterator[Proxy]:
    """A proxy before a pipeline that streams."""
    yield from streaming_proxy(project, wait_seconds=60.0)


def count(proxy: Proxy, condition: str) -> int:
    """Rows of the source's orders."""
    with closing(proxy.project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM orders WHERE {condition}")
        row: Any = cursor.fetchone()
        return int(row[0])


def put(proxy: Proxy, key: str, code: str | None, **options: Any) -> Answer:
    """A row without a key of its own: each request that is carried out makes one."""
    body = {"rows": [{"body": key, "code": code}]}
    return proxy.call("POST", ROWS, body, Idempotency_Key=key, **options)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_once(proxy: Proxy) -> None:
    first, again = put(proxy, "a", None), put(proxy, "a", None)
    assert (first.status, again.status) == (201, 201) and first.json == again.json
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert count(proxy, "body = 'a'") == 1
    assert put(proxy, "a", "other").code == "key-of-another-request"
    assert put(proxy, "a", None, token=ORDERS).status == 201  # another caller's key
    assert count(proxy, "body = 'a'") == 2

    assert put(proxy, "b", "x").status == 201
    assert put(proxy, "c", "x").code == "unique-conflict"
    proxy.call("DELETE", at("orders", 3))
    assert put(proxy, "c", "x").status == 201  # what was refused left nothing behind

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: put(proxy, f"d{n % 3}", f"d{n % 3}"), range(36)))
    assert [each.status for each in answers] == [201] * 36, answers
    assert len({each.raw for each in answers}) == 3
    assert count(proxy, "body LIKE 'd%'") == 3

    changes = [{"do": "delete", "table": "orders", "key": {"id": 1}}]
    asked = {"operations": changes}
    gone = [proxy.call("POST", "/v1/transactions", asked, Idempotency_Key="e") for _ in range(2)]
    assert [each.status for each in gone] == [200, 200]

    _killed(proxy)
    _after_the_switch(proxy)
    _forgotten(proxy)


def _forgotten(proxy: Proxy) -> None:
    """Answers of a day ago; no proxy forgets them, as each does once a minute."""
    proxy.stop()
    with closing(proxy.project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "UPDATE _bridge_answer SET made = made - INTERVAL 1 DAY ORDER BY op_id LIMIT 2"
        )
    proxy.project.ask("UPDATE dbbridge.answers SET made = made - interval '1 day' RETURNING 1")
    here, there = proxy.project.source, proxy.project.target
    for dialect, connect, side, number in (
        ("mysql+pymysql", lambda: here.connect(autocommit=False), "source", 2),
        ("postgresql+psycopg", lambda: there.connect(autocommit=False), "target", 1),
    ):
        engine = create_engine(f"{dialect}://", creator=connect)
        assert forget(engine, side, 24) == number
        assert forget(engine, side, 24) == 0
        engine.dispose()


def _killed(proxy: Proxy) -> None:
    """SIGKILL after the commit, while the early write waits for a lock."""
    for number in range(3):
        key = f"killed {number}"
        with proxy.project.target.connect(autocommit=False) as lock:
            lock.execute(f'LOCK TABLE "{proxy.project.source.name}".orders'.encode())
            with closing(proxy.connection()) as conn:  # nobody reads the answer
                headers = {
                    "Authorization": f"Bearer {proxy.tokens[ALL]}",
                    "Content-Type": "application/json",
                    "Idempotency-Key": key,
                }
                body = json.dumps({"rows": [{"body": key, "code": key}]})
                conn.request("POST", ROWS, body, headers)
                proxy.project.wait_until(lambda key=key: count(proxy, f"body = '{key}'") == 1)  # type: ignore[misc]
                proxy.daemon.kill()
        proxy.start()
        again = put(proxy, key, key)
        assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
        assert count(proxy, f"body = '{key}'") == 1
        made = again.json["results"][0]["key"]["id"]
        found = proxy.call(
            "GET", at("orders", made) + "?prefer=target", X_Bridge_After=again.json["after"]
        )
        assert found.json["side"] == "target" and found.json["values"]["body"] == key


def _after_the_switch(proxy: Proxy) -> None:
    """Once the target has authority, it remembers; what the source remembers counts on."""
    project = proxy.project
    project.daemons[0].stop()
    give_to_target(project)
    with project.target.connect() as there:
        name = f'"{project.source.name}".orders'.encode()
        there.execute(b"ALTER TABLE %b ALTER id RESTART 1000" % name)
    proxy.project.wait_until(
        lambda: proxy.call("GET", "/authority/orders").json["authority"] == "target"
    )
    before = count(proxy, "true")
    old = put(proxy, "b", "x")
    assert (old.status, old.headers["idempotency-replayed"]) == (201, "true")
    new = [proxy.call("POST", ROWS, _full("new"), Idempotency_Key="new") for _ in range(2)]
    assert [each.status for each in new] == [201, 201], (new, proxy.daemon.log[-2000:])
    assert new[0].json == new[1].json
    assert new[0].json["results"][0]["key"] == {"id": "1000"} and new[0].json["after"] is None
    assert project.ask(
        f'SELECT count(*) FROM "{project.source.name}".orders WHERE code = %s', "new"
    ) == [(1,)]
    found = proxy.call("GET", at("orders", 1000))
    assert found.json["side"] == "target" and found.json["values"] == {
        **VALUES,
        "id": "1000",
        "code": "new",
    }
    assert proxy.call("PUT", at("orders", 1000), {"values": {"flag": 0}}).status == 200
    assert proxy.call("PUT", at("orders", 1001), {"values": _full("more")["rows"][0]}).status == 200
    assert proxy.call("POST", ROWS, _full("new")).code == "unique-conflict"
    assert proxy.call("POST", ROWS, {"rows": [{"state": "lost"}]}).status == 422
    assert proxy.call("DELETE", at("orders", 1001)).status == 200
    assert proxy.call("DELETE", at("orders", 1001)).status == 404
    assert count(proxy, "true") == before


VALUES: dict[str, Any] = {
    "amount": "1.5000000000", "state": "paid", "tags": ["b"], "flag": 1, "bits": "513",
    "ratio": 0.5, "day": "2026-02-28", "at": "2026-01-31T10:00:00.125",
    "seen": "2026-01-31T10:00:00.123456Z", "span": "-100:00:01", "year": 1999, "raw": "AAH/Jw==",
    "body": "x", "doc": {"a": [1.5, None]},
}  # fmt: skip


def _full(code: str) -> dict[str, Any]:
    return {"rows": [{**VALUES, "code": code}]}
