"""Kafka Connect's REST interface: how a connector is set, how it does, how far it is.

Source: Kafka's documentation, "Connect REST API".
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bridge.databases.connect_url import ConnectEndpoint
from bridge.databases.endpoint import Tls, nearest
from bridge.errors import BridgeError, ConfigError, ServerRefused, ServerUnreachable

ANSWER_SECONDS = 10.0
_BUSY = frozenset({409, 429, 500, 502, 503, 504})
"""Answers that go away: the workers share out their work anew, or a proxy waits for one."""


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """States as Connect tells them: RUNNING, PAUSED, STOPPED, FAILED, UNASSIGNED, RESTARTING.

    `trace` is the first line of what made it, or else a task, fail, with that of its last cause; ''
    if nothing has.
    """

    state: str
    tasks: tuple[str, ...]
    trace: str = ""

    @property
    def running(self) -> bool:
        """Whether the connector and all its tasks run, of which there has to be one."""
        return {self.state, *self.tasks} == {"RUNNING"} and bool(self.tasks)


class ConnectClient:
    """Asks a worker about connectors; changes nothing.

    Its methods raise ServerUnreachable (transient), ServerRefused, and ConfigError for a connector
    that is not there.
    """

    def __init__(self, endpoint: ConnectEndpoint, seconds: float = ANSWER_SECONDS) -> None:
        self.endpoint = endpoint
        self.seconds = seconds
        handlers = [] if endpoint.tls is None else [_https(endpoint.tls)]
        self._opener = urllib.request.build_opener(_NoRedirects, *handlers)

    def connectors(self) -> tuple[str, ...]:
        """The names of all connectors."""
        return tuple(map(str, self._ask("/connectors")))

    def config(self, name: str) -> dict[str, str]:
        """A connector's properties; passwords among them, unless they are kept elsewhere."""
        return {key: str(value) for key, value in self._ask_of(name, "config").items()}

    def status(self, name: str) -> ConnectorStatus:
        """How a connector and its tasks do."""
        told = self._ask_of(name, "status")
        tasks = told.get("tasks", ())
        traces = [str(one.get("trace") or "") for one in (told["connector"], *tasks)]
        return ConnectorStatus(
            state=str(told["connector"]["state"]),
            tasks=tuple(str(one["state"]) for one in tasks),
            trace=_summary(next(filter(None, traces), "")),
        )

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """How far it has committed to have read the source: ``file``, ``pos``, ``gtids`` and so on.

        One of them for each of its source partitions, of which Debezium's connectors for MySQL have
        one; none before the first commit. Needs Kafka Connect 3.5.
        """
        return [dict(one["offset"] or {}) for one in self._ask_of(name, "offsets")["offsets"]]

    def _ask_of(self, name: str, what: str) -> Any:
        try:
            return self._ask(f"/connectors/{quote(name, safe='')}/{what}")
        except NotFound as error:
            known = self.connectors()
            if name in known:  # it is there, but has no status yet, or the worker knows no offsets
                raise _unreachable(self.endpoint, f"connector {name} has no {what} yet") from error
            listed = ", ".join(known) or "none"
            raise ConfigError(
                f"{self.endpoint.place}: there is no connector “{name}”",
                f"pipeline.capture.connector names one of: {listed}{nearest(name, known)}",
            ) from error

    def _ask(self, path: str) -> Any:
        place = self.endpoint.place
        try:
            with self._opener.open(self._request(path), timeout=self.seconds) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _answered(self.endpoint, error.code, _said(error.read())) from error
        except urllib.error.URLError as error:
            raise _failed(self.endpoint, error.reason) from error
        except (OSError, http.client.HTTPException) as error:
            raise _failed(self.endpoint, error) from error
        except ValueError as error:
            raise ServerRefused(
                f"{place}: the answer is not Kafka Connect's", "check pipeline.capture.connect"
            ) from error

    def _request(self, path: str) -> urllib.request.Request:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.endpoint.url + path, headers={"Accept": "application/json"}
        )
        if self.endpoint.user:
            login = f"{self.endpoint.user}:{self.endpoint.password.reveal()}"
            told = base64.b64encode(login.encode()).decode()
            # Unredirected, so that no other server ever gets it.
            request.add_unredirected_header("Authorization", f"Basic {told}")
        return request


def _summary(trace: str) -> str:
    """What happened and why, in one line; in between are the layers it came through."""
    lines = trace.strip().splitlines()
    causes = [line for line in lines if line.startswith("Caused by: ")]
    return " ".join([*lines[:1], *causes[-1:]])


class NotFound(ServerRefused):
    """HTTP's 404: no worker of Connect, or one that is only starting."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A worker answers by itself; whatever redirects is a login page, or not Connect."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _https(tls: Tls) -> urllib.request.HTTPSHandler:
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except OSError as error:
        files = ", ".join(filter(None, (tls.ca, tls.cert, tls.key)))
        raise ConfigError(
            f"a TLS file cannot be read ({files}): {error.strerror or error}",
            "check the paths ca, cert and key under pipeline.capture.tls; they are PEM files",
        ) from error
    if tls.mode != "verify":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return urllib.request.HTTPSHandler(context=context)


def _said(body: bytes) -> str:
    """Connect's own words in an answer that is an error."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    return str(told.get("message", "")).split("\n")[0] if isinstance(told, dict) else ""


def _answered(endpoint: ConnectEndpoint, code: int, said: str) -> BridgeError:
    place, words = endpoint.place, f"{code} {said}".strip()
    if code == http.client.NOT_FOUND:
        return NotFound(
            f"{place}: {words}",
            "is this the address of Kafka Connect (3.5 or later)? Check pipeline.capture.connect",
        )
    if code in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        return ServerRefused(
            f"{place}: Kafka Connect refused user and password ({code})",
            "write them into pipeline.capture.connect: http://user:${CONNECT_PASSWORD}@host:8083",
        )
    if code in _BUSY:
        return ServerUnreachable(f"{place}: {words}", "look at the log of Kafka Connect's worker")
    return ServerRefused(f"{place}: {words}", "check pipeline.capture.connect")


def _failed(endpoint: ConnectEndpoint, reason: object) -> BridgeError:
    text = str(getattr(reason, "strerror", None) or reason)
    if isinstance(reason, ssl.SSLError):
        return ServerRefused(
            f"{endpoint.place}: the TLS handshake failed: {text}",
            "check pipeline.capture.tls (mode, ca, cert, key), and whether it speaks https at all",
        )
    return _unreachable(endpoint, text)


def _unreachable(endpoint: ConnectEndpoint, text: str) -> ServerUnreachable:
    return ServerUnreachable(
        f"{endpoint.place} cannot be reached: {text}",
        "does Kafka Connect run, and does its REST interface listen there?",
    )
