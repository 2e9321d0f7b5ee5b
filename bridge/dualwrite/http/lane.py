"""A short way for writes that are as most are; all else goes FastAPI's, which says what is wrong.

FastAPI takes several times as long to find out what an endpoint is to be called with as the call
itself. Here the same endpoints are called with values that the same models have checked. What they
want written goes to the source at once if it can, and otherwise to a thread, as FastAPI's do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.dualwrite.http.values import exact_json

LONGEST_NAME, LONGEST_KEY = 130, 255
"""Of a table, and an Idempotency-Key, in characters, as the routes declare them."""
_REPEATED = (b"content-type", b"idempotency-key")
"""Headers that must not come twice."""

Failed = Callable[[Request, Exception], Response]
Write = Callable[[Any], Response]
AtOnce = Callable[[Any], Awaitable[Response | None]]
"""Carry out what an endpoint gave; None where it goes by `Write` alone."""


@dataclass(frozen=True)
class _Way:
    route: APIRoute
    model: type[BaseModel] | None

    def arguments(self, scope: Scope, path: dict[str, str], body: bytes) -> dict[str, Any] | None:
        """What the endpoint is called with; None where FastAPI is to look at it."""
        headers = [pair for pair in scope["headers"] if pair[0] in _REPEATED]
        given = dict(headers)
        once = given.get(b"idempotency-key", b"").decode("latin-1") or None
        if len(given) < len(headers) or (b"idempotency-key" in given and once is None):
            return None
        if len(once or "") > LONGEST_KEY or len(path.get("table", "")) > LONGEST_NAME:
            return None
        if not path.get("key", "-"):
            return None
        found: dict[str, Any] = {**path, "once": once}
        if self.model is not None:
            if given.get(b"content-type") != b"application/json":
                return None
            try:
                found["body"] = self.model.model_validate(exact_json(body))
            except (ValueError, RecursionError, ValidationError):
                return None
        return found


class Lane:
    """The ASGI application before FastAPI's, over some of its routes."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Iterable[tuple[APIRoute, type[BaseModel] | None]],
        threads: Executor,
        write: Write,
        at_once: AtOnce,
        failed: Failed,
    ) -> None:
        self._app = app
        self._threads = threads
        self._write = write
        self._at_once = at_once
        self._failed = failed
        self._ways: dict[str, list[_Way]] = {}
        for route, model in routes:
            for method in route.methods or ():
                self._ways.setdefault(method, []).append(_Way(route, model))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, whose body comes in one piece."""
        ways = self._ways.get(scope.get("method", ""), ())
        for way in ways:
            match = way.route.path_regex.match(scope["path"])
            if match is not None:
                await self._go(way, match.groupdict(), scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _go(
        self, way: _Way, path: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        message = await receive()
        arguments = way.arguments(scope, path, message.get("body", b""))
        if arguments is None:
            await self._app(scope, _again(message, receive), send)
            return
        scope["route"] = way.route
        request = Request(scope)
        try:
            asked = way.route.endpoint(request, **arguments)
            response = await self._at_once(asked)
            if response is None:
                loop = asyncio.get_running_loop()
                response = await loop.run_in_executor(self._threads, self._write, asked)
        except Exception as error:  # noqa: BLE001 (answered as FastAPI's handlers do)
            response = self._failed(request, error)
        await response(scope, receive, send)


def _again(message: Message, receive: Receive) -> Receive:
    left = [message]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again
