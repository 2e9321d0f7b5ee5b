"""Kafka Connect's REST interface behind TLS, logins and proxies, and what errors say."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bridge.databases.connect import ConnectClient
from bridge.databases.connect_url import ConnectEndpoint, build_connect, split_connect
from bridge.databases.endpoint import Secret, Tls
from bridge.errors import BridgeError, ConfigError, ServerRefused, ServerUnreachable
from compose.local.certificates import Identity, authority

PASSWORD = "hunter2: ä/@"
TRACE = """
java.lang.E: what
\tat a
Caused by: b.B: how
\tat b
Caused by: c.C: why
\tat c
"""
FAILED = {
    "connector": {"state": "RUNNING", "worker_id": "w"},
    "tasks": [{"id": 0, "state": "RUNNING"}, {"id": 1, "state": "FAILED", "trace": TRACE}],
}
Answer = Callable[[str, str], tuple[int, object]]
"""Status and content of the answer to a path, asked for with a header Authorization."""


@contextmanager
def serving(answer: Answer, identity: Identity | None = None) -> Iterator[str]:
    """A server on this machine; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, content = answer(self.path, self.headers.get("Authorization", ""))
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", text)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if identity:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity.certificate, identity.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=partial(server.serve_forever, 0.02))
        thread.start()
        yield f"{'https' if identity else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def refusal(client: ConnectClient, name: str = "shop") -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        client.config(name)
    assert caught.value.hint
    assert PASSWORD not in caught.value.message + caught.value.hint
    return caught.value


def test_what_failed_and_why() -> None:
    with serving(lambda path, login: (200, FAILED)) as url:
        status = ConnectClient(ConnectEndpoint(url)).status("shop")
    assert (status.state, status.tasks) == ("RUNNING", ("RUNNING", "FAILED"))
    assert status.trace == "java.lang.E: what Caused by: c.C: why"
    assert not status.running


def test_login_and_a_path_of_a_proxy() -> None:
    def answer(path: str, login: str) -> tuple[int, object]:
        told = base64.b64decode(login.removeprefix("Basic ")).decode()
        if told != f"bridge:{PASSWORD}":
            return 401, "<html>"
        return 200, {"path": path}

    with serving(answer) as url:
        endpoint = ConnectEndpoint(f"{url}/kafka", "bridge", Secret(PASSWORD))
        found = ConnectClient(endpoint).config("a/b ü")
        assert found == {"path": "/kafka/connectors/a%2Fb%20%C3%BC/config"}
        wrong = refusal(ConnectClient(ConnectEndpoint(url, "bridge", Secret("x"))))
    assert isinstance(wrong, ServerRefused)
    assert "refused user and password (401)" in wrong.message


def test_tls(tmp_path: Path) -> None:
    known = authority(tmp_path)
    other = authority(tmp_path / "other")
    with serving(lambda path, login: (200, {}), known.issue("connect")) as url:
        right = Tls("verify", ca=str(known.certificate))
        for tls in (right, Tls("required")):
            assert ConnectClient(ConnectEndpoint(url, tls=tls)).config("c") == {}
        for tls in (Tls("verify"), Tls("verify", ca=str(other.certificate))):
            error = refusal(ConnectClient(ConnectEndpoint(url, tls=tls)))
            assert isinstance(error, ServerRefused)
            assert "TLS handshake failed" in error.message
    with serving(lambda path, login: (200, {})) as url:
        plain = refusal(ConnectClient(ConnectEndpoint(url.replace("http:", "https:"), tls=right)))
    assert isinstance(plain, ServerRefused)
    with pytest.raises(ConfigError, match=r"none\.pem"):
        ConnectClient(ConnectEndpoint(url, tls=Tls("verify", ca=str(tmp_path / "none.pem"))))


@pytest.mark.parametrize(
    ("code", "content", "kind", "said"),
    [
        (200, "<html>login</html>", ServerRefused, "not Kafka Connect's"),
        (302, "http://127.0.0.1:1/login", ServerRefused, "302"),
        (403, "", ServerRefused, "403"),
        (409, {"message": "rebalance in progress\nmore"}, ServerUnreachable, "409 rebalance"),
        (503, "", ServerUnreachable, "503"),
        (404, "<html>", ServerRefused, "404"),
    ],
)
def test_answers_that_are_errors(code: int, content: object, kind: type, said: str) -> None:
    with serving(lambda path, login: (code, content)) as url:
        error = refusal(ConnectClient(ConnectEndpoint(url, "u", Secret(PASSWORD))))
    assert type(error) in (kind, *kind.__subclasses__())
    assert said in error.message


def test_nobody_answers() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        error = refusal(ConnectClient(ConnectEndpoint(url)))
    assert isinstance(error, ServerUnreachable)
    assert "refused" in error.message
    asked = threading.Event()

    def silent(path: str, login: str) -> tuple[int, object]:
        asked.wait(60)
        return 200, {}

    with serving(silent) as url:
        error = refusal(ConnectClient(ConnectEndpoint(url), seconds=0.2))
        asked.set()
    assert isinstance(error, ServerUnreachable)
    assert "timed out" in error.message


def test_urls() -> None:
    def built(url: str, tls: Tls | None = None) -> ConnectEndpoint:
        return build_connect(split_connect(url), tls or Tls())

    assert built("http://c").url == "http://c:8083"
    assert built("HTTPS://u:p@[::1]/a/b/").url == "https://[::1]:443/a/b"
    secret = built(f"https://u:{PASSWORD.replace('@', '')}@c", Tls("verify"))
    assert secret.tls == Tls("verify")
    assert "hunter2" not in f"{secret!r} {secret.place}"
    for wrong in ("c:8083", "ftp://c", "http://c?x=1", "http://c:x"):
        with pytest.raises(ConfigError):
            built(wrong)
