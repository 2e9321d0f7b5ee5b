"""The proxy as a service: who may call, limits, health, its document, its end."""

from __future__ import annotations

import itertools
import json
import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from pymysql.cursors import Cursor
from ruamel.yaml import YAML
from schemathesis.checks import not_a_server_error

from compose.local import certificates
from tests.endtoend.project import CHECKOUT, Project
from tests.endtoend.proxy_calls import (
    ALL,
    END_SECONDS,
    ORDERS,
    READER,
    Proxy,
    at,
    streaming_proxy,
)
from tests.endtoend.test_readme import FENCED

ROWS = "/v1/tables/orders/rows"
EXAMPLES = 40
"""For each operation of the document."""

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)


@pytest.fixture
def proxy(project: Project) -> Iterator[Proxy]:
    """A proxy before a pipeline that streams."""
    yield from streaming_proxy(project, body_bytes=20_000, operations=50)


def test_the_service(proxy: Proxy) -> None:
    _who_may_call(proxy)
    _commands(proxy)
    _limits(proxy)
    _health(proxy)
    _a_lock_on_the_whole_table(proxy)
    _document(proxy)
    assert not any(token in proxy.daemon.log for token in proxy.tokens.values())
    assert "Traceback" not in proxy.daemon.log, proxy.daemon.log
    assert "hidden" not in proxy.daemon.log
    _end(proxy)
    _rates_and_listening(proxy)


def _who_may_call(proxy: Proxy) -> None:
    for token in (None, "wrong", ""):
        answer = proxy.call("GET", at("orders", 1), token=token)
        assert (answer.status, answer.code) == (401, "unknown-token")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert proxy.call("POST", "/nowhere", b"{", token=None).status == 401
    row = {"rows": [{"id": 1}]}
    line = {"do": "insert", "table": "line", "values": {"order_id": 1, "name": "x"}}
    upsert = {"do": "upsert", "table": "orders", "key": {"id": 1}, "values": {"flag": 1}}
    for token, method, path, body in (
        (READER, "POST", ROWS, row),
        (READER, "DELETE", at("orders", 1), None),
        (ORDERS, "PATCH", at("orders", 1), {"values": {"flag": 1}}),
        (ORDERS, "PUT", at("orders", 1), {"values": {"flag": 1}}),
        (ORDERS, "POST", "/v1/transactions", {"operations": [line]}),
        (ORDERS, "POST", "/v1/transactions", {"operations": [upsert]}),
        (ORDERS, "GET", at("line", [1, "x"]), None),
        (ORDERS, "GET", at("nothing", 1), None),
    ):
        answer = proxy.call(method, path, body, token=token)
        assert (answer.status, answer.code) == (403, "out-of-scope"), (path, answer)
    assert proxy.call("POST", ROWS, row, token=ORDERS).status == 201
    assert proxy.call("GET", at("orders", 1), token=READER).status == 200


def _commands(proxy: Proxy) -> None:
    """Those of docs/proxy.md."""
    text = (CHECKOUT / "docs" / "proxy.md").read_text()
    blocks = [body for language, body in FENCED.findall(text) if language == "sh"]
    verbs, *shown = blocks
    assert verbs.split()[:4] == ["dbbridge", "cutover", "mode", "provisional"]
    variables = {"SHOP_TOKEN": proxy.tokens[ALL], "PROXY": proxy.address, "PATH": "/usr/bin:/bin"}
    failing = [block.replace("curl -sS", "curl -sS --fail-with-body") for block in shown]
    said = [_ran(block, variables) for block in failing]
    assert '"A11"' in said[2], said
    # The proxy waits for the write but a moment, and then asks the source.
    proxy.project.wait_until(lambda: '"side":"target"' in _ran(failing[2], variables))


def _ran(block: str, variables: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/bash", "-ec", block], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout


def _limits(proxy: Proxy) -> None:
    large = b'{"rows": [{"body": "' + b"x" * 20_000 + b'"}]}'
    assert proxy.call("POST", ROWS, large).code == "too-large"
    chunks = iter([large[:10_000], large[10_000:]])
    with closing(proxy.connection()) as conn:
        headers = {"Authorization": f"Bearer {proxy.tokens[ALL]}"}
        conn.request("POST", ROWS, chunks, headers, encode_chunked=True)
        assert conn.getresponse().status == 413
    many: dict[str, Any] = {"rows": [{}] * 51}
    assert proxy.call("POST", ROWS, many).code == "too-many-operations"
    with closing(proxy.connection()) as conn:  # which is kept after a refusal
        for status in (201, 409, 409):
            raw = json.dumps({"rows": [{"id": 2, "body": "hidden"}]})
            conn.request("POST", ROWS, raw, {**headers, "Content-Type": "application/json"})
            response = conn.getresponse()
            assert (response.status, response.will_close) == (status, False), response.read()
            response.read()
    given_id = proxy.call("GET", "/authority/orders", X_Request_ID="mine-1")
    assert given_id.headers["x-request-id"] == "mine-1"
    proxy.project.wait_until(lambda: '"id": "mine-1"' in proxy.daemon.log)
    odd = proxy.call("GET", "/authority/orders", X_Request_ID="a b\tc")
    assert re.fullmatch(r"[0-9a-f]{32}", odd.headers["x-request-id"])


def _health(proxy: Proxy) -> None:
    assert proxy.call("GET", "/health/live", token=None).json == {"status": "ok"}
    ready = proxy.call("GET", "/health/ready", token=None)
    assert ready.json == dict.fromkeys(("status", "source", "target", "authority"), "ok")
    assert proxy.call("GET", "/metrics", token=None).status == 401
    text = proxy.call("GET", "/metrics").raw.decode()
    made = 'requests_total{method="POST",route="/v1/tables/{table}/rows",status="201"} '
    assert made in text
    early = 'dbbridge_proxy_operations_total{outcome="applied"} '
    sync = proxy.project.daemons[0]
    sync.send(signal.SIGSTOP)  # it may be quicker than early writes
    numbers = itertools.count(900)

    def written_early() -> bool:
        """One of several will be; a busy server may leave single ones to the stream."""
        assert proxy.call("POST", ROWS, {"rows": [{"id": next(numbers)}]}).status == 201
        return early in proxy.call("GET", "/metrics").raw.decode()

    try:
        proxy.project.wait_until(written_early)
    finally:
        sync.send(signal.SIGCONT)
    assert re.search(r"^dbbridge_unconfirmed_operations \d+$", text, re.MULTILINE)
    assert re.search(
        r'^dbbridge_proxy_request_seconds_bucket\{le="\+Inf"\} \d+$', text, re.MULTILINE
    )


def _document(proxy: Proxy) -> None:
    """Whatever the document allows, and much that it does not, gives no 5xx."""
    document = proxy.call("GET", "/openapi.json", token=None).json
    assert document["components"]["securitySchemes"] == {
        "token": {"type": "http", "scheme": "bearer"}
    }
    schema = schemathesis.openapi.from_dict(document)
    told: set[int] = set()
    operations: list[Any] = list(schema.get_all_operations())
    for each in operations:
        told |= _called(proxy, each.ok())
    assert told > {200, 404, 422}


def _called(proxy: Proxy, operation: Any) -> set[int]:
    """The statuses of `EXAMPLES` calls of one operation."""
    headers = {"Authorization": f"Bearer {proxy.tokens[ALL]}"}
    told: set[int] = set()

    @seed(20261122)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        for name, known in (("table", "orders"), ("key", "7")):  # else hardly any is found
            if name in (case.path_parameters or {}) and len(case.path_parameters[name]) % 2:
                case.path_parameters[name] = known
        response = case.call(base_url=proxy.address, headers=headers)
        case.validate_response(response, checks=[not_a_server_error])
        assert str(response.status_code) in operation.definition.raw["responses"]
        told.add(response.status_code)

    call()
    return told


def _a_lock_on_the_whole_table(proxy: Proxy) -> None:
    """What is answered as not written is not written later either, when nobody waits any more."""
    with closing(proxy.project.source.connect()) as lock, lock.cursor() as cursor:
        cursor.execute("LOCK TABLES orders WRITE")
        answer = proxy.call("POST", ROWS, {"rows": [{"id": 4711}]})
        assert (answer.status, answer.code) == (503, "busy")
        cursor.execute("UNLOCK TABLES")
        assert proxy.call("POST", ROWS, {"rows": [{"id": 4712}]}).status == 201
        cursor.execute("SELECT id FROM orders WHERE id > 4710")
        assert cursor.fetchall() == ((4712,),)


def _end(proxy: Proxy) -> None:
    """SIGTERM while a request waits for a lock that is let go a little later."""
    with closing(proxy.project.source.connect(autocommit=False)) as lock, lock.cursor() as cursor:
        cursor.execute("SELECT * FROM orders WHERE id = 1 FOR UPDATE")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                proxy.call, "PATCH", at("orders", 1), {"values": {"body": "last"}}
            )
            proxy.project.wait_until(lambda: _waits(proxy, cursor))
            proxy.daemon.send(signal.SIGTERM)
            proxy.project.wait_until(lambda: _refused(proxy))
            lock.rollback()
            assert waiting.result().status == 200
    assert proxy.daemon.wait(END_SECONDS) == 0


def _waits(proxy: Proxy, cursor: Cursor) -> bool:
    """Asked of what is so now: INNODB_TRX stays as it was while it is looked at often."""
    query = (
        "SELECT 1 FROM performance_schema.data_locks WHERE object_schema = %s"
        " AND object_name = 'orders' AND lock_status = 'WAITING'"
    )
    return bool(cursor.execute(query, (proxy.project.source.name,)))


def _refused(proxy: Proxy) -> bool:
    try:
        proxy.call("GET", "/health/live", token=None)
    except OSError:
        return True
    return False


def _rates_and_listening(proxy: Proxy) -> None:
    path = proxy.project.folder / "bridge.yaml"
    yaml = YAML()
    document = yaml.load(path)
    document["proxy"]["limits"] = {"requests_per_second": 3}
    document["proxy"]["listen"] = "0.0.0.0:0"
    yaml.dump(document, path)
    variables = {f"TOKEN_{name.upper()}": token for name, token in proxy.tokens.items()}
    refused = proxy.project.background("proxy", **variables)
    assert refused.wait(60) == 2
    assert "plain text" in refused.log and "hint: give proxy.tls" in refused.log

    authority = certificates.authority(proxy.project.folder / "tls")
    mine = authority.issue("proxy", "localhost")
    document["proxy"]["tls"] = {"cert": "tls/proxy.crt", "key": "tls/proxy.key"}
    assert mine.key == proxy.project.folder / "tls" / "proxy.key"
    yaml.dump(document, path)
    proxy.start()
    proxy.address = f"https://localhost:{proxy.address.rpartition(':')[2]}"
    proxy.context = ssl.create_default_context(cafile=str(authority.certificate))
    assert proxy.call("GET", "/health/live", token=None).status == 200
    answers = (proxy.call("GET", "/authority/orders") for _ in range(200))
    assert [next(answers).status for _ in range(3)] == [200] * 3
    late = next(each for each in answers if each.status != 200)  # sooner or later: 3 a second
    assert (late.code, late.headers["retry-after"]) == ("too-many-requests", "1")
