"""The account that writes for callers in the target, with exactly the rights of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.endtoend.dual import move_to_target
from tests.endtoend.project import Project
from tests.endtoend.proxy_calls import Answer, Proxy, at, documented, streaming_proxy

ORDERS = "/v1/tables/orders/rows"
NEEDED: list[tuple[str, str, str, Any]] = [
    ("USAGE ON SCHEMA shop", "POST", ORDERS, {"rows": [{"code": "no"}]}),
    ("USAGE ON SCHEMA dbbridge", "POST", ORDERS, {"rows": [{"code": "no"}]}),
    ("SELECT ON shop.orders", "GET", at("orders", 1), None),
    ("INSERT ON shop.orders", "POST", ORDERS, {"rows": [{"code": "no"}]}),
    ("UPDATE ON shop.orders", "PATCH", at("orders", 1), {"values": {"code": "no"}}),
    ("DELETE ON shop.orders", "DELETE", at("orders", 1), None),
    ("EXECUTE ON FUNCTION dbbridge.hold", "PATCH", at("orders", 1), {"values": {"code": "no"}}),
    ("SELECT ON dbbridge.answers", "POST", ORDERS, {"rows": [{"code": "no"}]}),
    ("INSERT ON dbbridge.answers", "POST", ORDERS, {"rows": [{"code": "no"}]}),
    ("UPDATE ON dbbridge.answers", "POST", ORDERS, {"rows": [{"code": "no"}]}),
]
"""Rights, each with a request that does not work without it."""

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)


@pytest.fixture
def proxy(project: Project) -> Iterator[Proxy]:
    """A proxy that has an account of its own in the target, too."""
    role = f"w_{project.accounts.name}"
    for each in streaming_proxy(project, wait_seconds=60.0):
        _with_account(each, role)
        try:
            yield each
        finally:
            with project.target.connect() as there:
                there.execute(f"DROP OWNED BY {role} CASCADE".encode())
                there.execute(f"DROP ROLE {role}".encode())


def _with_account(proxy: Proxy, role: str) -> None:
    project, server = proxy.project, proxy.project.target.server
    with project.target.connect() as there:
        there.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{project.accounts.password}'".encode())
        for line in _lines(proxy, role):
            there.execute(line.encode())
    path, yaml = project.folder / "bridge.yaml", YAML()
    document = yaml.load(path)
    place = f"{server.host}:{server.port}/{project.target.name}"
    document["databases"]["there"] = {"url": f"postgresql://{role}:${{TARGET_PW}}@{place}"}
    document["proxy"]["target"] = "there"
    yaml.dump(document, path)
    proxy.stop()
    proxy.start()


def _lines(proxy: Proxy, role: str) -> list[str]:
    """The document's, for the tables `orders` and `line`; `loose` is left out."""
    bare = re.sub(r"--.*", "", documented()[1])
    lines = [_named(proxy, line, role) for line in filter(None, map(str.strip, bare.split(";")))]
    return [*lines, *(each.replace(".orders", ".line") for each in lines if ".orders" in each)]


def _named(proxy: Proxy, line: str, role: str) -> str:
    schema = f'"{proxy.project.source.name}"'
    return re.sub(r"\bshop\b", schema, line).replace("TO writer", f"TO {role}")


def test_it_writes_under_its_own_account(proxy: Proxy) -> None:
    project, role = proxy.project, f"w_{proxy.project.accounts.name}"
    after = proxy.call("PUT", at("orders", 1), {"values": {"code": "one"}}).json["after"]
    found = proxy.call("GET", at("orders", 1) + "?prefer=target", X_Bridge_After=after)
    assert found.json["side"] == "target"
    project.daemons[0].stop()
    project.catch_up()
    move_to_target(project)
    _sign(proxy)
    project.wait_until(lambda: proxy.call("GET", "/authority/orders").json["authority"] == "target")

    made = [
        proxy.call("POST", ORDERS, {"rows": [{"code": "two"}]}, Idempotency_Key="k")
        for _ in range(2)
    ]
    assert [each.status for each in made] == [201, 201], proxy.daemon.log
    assert made[1].headers["idempotency-replayed"] == "true"
    line = {"rows": [{"order_id": made[0].json["results"][0]["key"]["id"], "name": "x"}]}
    assert proxy.call("POST", "/v1/tables/line/rows", line).status == 201
    assert proxy.call("PUT", at("orders", 9), {"values": {"code": "nine"}}).status == 200
    assert proxy.call("PATCH", at("orders", 1), {"values": {"code": "1"}}).status == 200
    assert proxy.call("DELETE", at("orders", 9)).status == 200
    assert _rows(proxy) == [("1", role), ("two", role)]
    assert "dbbridge_unconfirmed_operations 0" in proxy.call("GET", "/metrics").raw.decode()
    assert proxy.call("GET", "/health/ready", token=None).status == 200
    _lacks(proxy, role)


def _lacks(proxy: Proxy, role: str) -> None:
    """Each right that is documented is needed, and nothing is written without it."""
    before = _rows(proxy)
    _refused(proxy.call("POST", "/v1/tables/loose/rows", {"rows": [{"n": 1}]}), "loose")
    with proxy.project.target.connect() as there:
        for right, method, path, body in NEEDED:
            there.execute(_named(proxy, f"REVOKE {right} FROM {role}", role).encode())
            key = {} if method == "GET" else {"Idempotency_Key": right}
            _refused(proxy.call(method, path, body, **key), right)
            there.execute(_named(proxy, f"GRANT {right} TO {role}", role).encode())
    assert _rows(proxy) == before
    assert "Traceback" not in proxy.daemon.log, proxy.daemon.log
    assert "permission denied for" in proxy.daemon.log
    assert proxy.call("PATCH", at("orders", 1), {"values": {"code": "last"}}).status == 200


def _refused(answer: Answer, about: str) -> None:
    assert (answer.status, answer.code) == (503, "target-refused"), (about, answer)
    assert "docs/proxy.md" in answer.json["hint"]


def _sign(proxy: Proxy) -> None:
    """Each row tells who wrote it last."""
    schema = f'"{proxy.project.source.name}"'
    with proxy.project.target.connect() as there:
        there.execute(
            f"CREATE FUNCTION {schema}.sign() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.body := current_user; RETURN NEW; END $$".encode()
        )
        there.execute(
            f"CREATE TRIGGER sign BEFORE INSERT OR UPDATE ON {schema}.orders"
            f" FOR EACH ROW EXECUTE FUNCTION {schema}.sign()".encode()
        )


def _rows(proxy: Proxy) -> list[Any]:
    return proxy.project.ask(
        f'SELECT code, body FROM "{proxy.project.source.name}".orders ORDER BY id'
    )
