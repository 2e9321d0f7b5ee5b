"""The proxy as a caller has it: a process with tokens, and plain HTTP."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import signal
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from ruamel.yaml import YAML

from bridge.replicate.ops import definitions
from tests.endtoend.project import CHECKOUT, Daemon, Project
from tests.endtoend.test_readme import FENCED

TABLES = """
CREATE TABLE orders (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, code varchar(60) UNIQUE,
    amount decimal(30,10), state enum('new','paid') NOT NULL DEFAULT 'new', tags set('a','b','c'),
    flag tinyint(1), bits bit(10), ratio double, day date, at datetime(3), seen timestamp(6) NULL,
    span time, year year, raw varbinary(20), doc json, body text);
CREATE TABLE line (order_id bigint unsigned NOT NULL, name varchar(20) NOT NULL, n int,
    PRIMARY KEY (order_id, name), FOREIGN KEY (order_id) REFERENCES orders (id));
CREATE TABLE loose (n int)"""
ALL, READER, ORDERS = "all", "reader", "orders"
_ALLOW = {ALL: ["*:*"], READER: ["*:read"], ORDERS: ["orders:read,insert"]}
ANSWER_SECONDS = 60.0
"""How long a test waits for an answer; longer than the proxy itself waits for anything."""
END_SECONDS = 30.0
"""How long for its end, which it promises within 10 s on a machine that has nothing else to do."""
_SAID = "SELECT FROM dbbridge.daemon WHERE status ->> 'lag_seconds' IS NOT NULL"
"""Nobody reads in the target before the daemon has said how near it is."""
_LISTENING = re.compile(r"listening on (\S+)")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        """The stable word of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        body = self.json
        assert body["status"] == self.status and body["detail"], body
        assert body["request_id"] == self.headers["x-request-id"]
        return str(body["type"]).rpartition(":")[2]


@dataclass
class Proxy:
    """A proxy that runs, and its callers' tokens by name."""

    project: Project
    tokens: dict[str, str]
    writer: str
    """The source's account that writes for callers."""
    daemon: Daemon = field(init=False)
    address: str = field(init=False, default="")
    context: ssl.SSLContext | None = None
    """Where it speaks TLS."""

    def begin(self, **environment: str) -> None:
        """Starts it."""
        variables = {f"TOKEN_{name.upper()}": token for name, token in self.tokens.items()}
        self.daemon = self.project.background("proxy", **variables, **environment)
        self.address = ""

    def listens(self) -> bool:
        """Whether it has come so far; its address is known then."""
        if not self.address:
            found = _LISTENING.search(self.daemon.log)
            self.address = found[1] if found else ""
        return bool(self.address)

    def start(self, **environment: str) -> None:
        """Starts it and waits until it listens."""
        self.begin(**environment)
        self.project.wait_until(self.listens, daemon=self.daemon)

    def connection(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        url = urlsplit(self.address)
        if self.context is not None:
            return http.client.HTTPSConnection(
                url.hostname or "", url.port, timeout=ANSWER_SECONDS, context=self.context
            )
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=ANSWER_SECONDS)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = ALL,
        **headers: str,
    ) -> Answer:
        """One request; header names with _ for -. A body of bytes goes as it is."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {self.tokens.get(token, token)}"
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if raw is not None:
            given.setdefault("Content-Type", "application/json")
        with closing(self.connection()) as conn:
            return _sent(conn, method, path, raw, given)

    def stop(self) -> None:
        """SIGTERM, and its good end."""
        self.daemon.send(signal.SIGTERM)
        assert self.daemon.wait(END_SECONDS) == 0, self.daemon.log


def at(table: str, key: object) -> str:
    """The path of a row."""
    text = json.dumps(key) if isinstance(key, list) else str(key)
    return f"/v1/tables/{quote(table, safe='')}/rows/{quote(text, safe='')}"


def _sent(
    conn: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Answer:
    conn.request(method, path, body, dict(headers))
    response = conn.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, response.read())


def documented() -> list[str]:
    """The writer's rights by docs/proxy.md, in the source and in the target."""
    text = (CHECKOUT / "docs" / "proxy.md").read_text()
    return [body for language, body in FENCED.findall(text) if language == "sql"]


def _rights(project: Project, writer: str) -> list[str]:
    """What an administrator gives: to the bridge's account, and to the writer by docs/proxy.md."""
    name, bridge = project.source.name, f"'{project.accounts.name}'@'%'"
    lines = (
        documented()[0].replace("shop.", f"`{name}`.").replace("TO writer", f"TO '{writer}'@'%'")
    )
    carried, *rest = filter(str.strip, lines.split(";\n"))
    return [
        f"CREATE USER '{writer}'@'%' IDENTIFIED BY '{project.accounts.password}'",
        *(carried.replace(".orders", f".{table}") for table in ("orders", "line", "loose")),
        *rest,
        f"GRANT SELECT, INSERT, UPDATE ON `{name}`._bridge_authority TO {bridge}",
        f"GRANT SELECT, DELETE ON `{name}`._bridge_op TO {bridge}",
    ]


def prepared(project: Project, **limits: float) -> Proxy:
    """Tables of the layer, rights, tokens; nothing runs yet."""
    proxy = configured(project, f"w_{project.accounts.name}", **limits)
    made = definitions(project.source.name).values()
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in [*made, *_rights(project, proxy.writer)]:
            cursor.execute(statement)
    project.run("cutover", "mode", "provisional")
    return proxy


def configured(project: Project, writer: str, **limits: float) -> Proxy:
    """The settings alone; `writer` is the source's account that writes for callers."""
    server, name = project.source.server, project.source.name
    proxy = Proxy(project, {each: secrets.token_hex(16) for each in _ALLOW}, writer)
    path = project.folder / "bridge.yaml"
    yaml = YAML()
    document = yaml.load(path)
    place = f"{server.host}:{server.port}/{name}"
    document["databases"]["writer"] = {"url": f"mysql://{writer}:${{SOURCE_PW}}@{place}"}
    document["proxy"] = {
        "listen": "127.0.0.1:0",
        "source": "writer",
        "tokens": [
            {"name": each, "token": f"${{TOKEN_{each.upper()}}}", "allow": scopes}
            for each, scopes in _ALLOW.items()
        ],
        "limits": limits,
    }
    yaml.dump(document, path)
    return proxy


def streaming_proxy(project: Project, **limits: float) -> Iterator[Proxy]:
    """A proxy before a pipeline whose tables stream; its daemon is the project's first.

    A read that names a write waits for it but a moment, unless `limits` say else; a target that
    stands still for some time may be read all the same.
    """
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES.split(";"):
            cursor.execute(statement)
    project.init()
    project.consent_to_lock("loose")
    project.apply_schema()
    daemon = project.sync()
    project.wait_streaming(daemon)
    project.wait_until(lambda: bool(project.ask(_SAID)), daemon=daemon)
    proxy = prepared(project, **{"wait_seconds": 0.5, "lag_seconds": 600.0, **limits})
    proxy.start()
    try:
        yield proxy
        if proxy.daemon.running:
            proxy.stop()
    finally:
        with closing(project.source.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"DROP USER '{proxy.writer}'@'%'")
