"""What stands before every request: its id, its caller, limits, and what is written down of it.

Who calls is known before anything of the body is looked at.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.dualwrite.http.auth import Caller, Tokens
from bridge.dualwrite.http.limits import Rates
from bridge.dualwrite.http.metrics import Metrics
from bridge.dualwrite.http.problems import MEDIA_TYPE, Problem

OPEN = frozenset({"/health/live", "/health/ready", "/openapi.json"})
"""Paths that need no token; they tell nothing of the data."""
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

log = structlog.get_logger("dbbridge.proxy")


class Guard:
    """The ASGI application around the routes."""

    def __init__(
        self, app: ASGIApp, tokens: Tokens, rates: Rates, metrics: Metrics, body_bytes: int
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._rates = rates
        self._metrics = metrics
        self._body_bytes = body_bytes
        self._log = log.bind()  # once: it takes as long as writing a line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        headers = dict(scope["headers"])
        request = _id(headers.get(b"x-request-id", b""))
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request
        status = 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request.encode()),
                ]
            await send(message)

        try:
            if scope["path"] not in OPEN:
                caller = self._tokens.caller(headers.get(b"authorization", b""))
                state["caller"] = caller
                self._rates.take(caller.name)
            body = await self._body(headers, receive)
        except Problem as problem:
            await answer(problem, request, sent)
        else:
            await self._app(scope, _replayed(body, receive), sent)
        finally:
            self._wrote_down(scope, request, status, time.perf_counter() - begun)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        told = headers.get(b"content-length", b"")
        if told.isdigit() and int(told) > self._body_bytes:
            raise self._too_large()
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "gone", "the caller left")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._body_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(parts)

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "too-large",
            f"a request has at most {self._body_bytes} bytes",
            "send less at once; an operator may raise proxy.limits.body_bytes",
        )

    def _wrote_down(self, scope: Scope, request: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.add(scope["method"], route, status, seconds)
        caller: Caller | None = scope["state"].get("caller")
        self._log.info(
            "request",
            id=request,
            caller=caller.name if caller else "",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(1000 * seconds, 2),
        )


async def answer(problem: Problem, request: str, send: Send) -> None:
    """Sends a problem."""
    body = msgspec.json.encode(problem.body(request))
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "connection": "close" if problem.status == 413 else "keep-alive",
        **problem.headers,
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _id(given: bytes) -> str:
    return given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex


def _replayed(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
