"""The ASGI application: routes behind the guard, errors as problems, the OpenAPI document."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import psycopg
import pymysql
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from msgspec import json
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from bridge.config.models import ProxyLimits
from bridge.dualwrite.http.auth import Tokens
from bridge.dualwrite.http.guard import OPEN, Guard
from bridge.dualwrite.http.health import Probe
from bridge.dualwrite.http.lane import Lane
from bridge.dualwrite.http.limits import Rates
from bridge.dualwrite.http.metrics import Metrics
from bridge.dualwrite.http.models import ProblemBody
from bridge.dualwrite.http.onetrip import ToSource, Trips
from bridge.dualwrite.http.problems import MEDIA_TYPE, Problem, problem_of
from bridge.dualwrite.http.reads import Reads
from bridge.dualwrite.http.routes import Service, router, write, write_at_once, writing
from bridge.dualwrite.http.tables import Tables
from bridge.dualwrite.http.writes import Writes
from bridge.dualwrite.layer import DualWrite
from bridge.errors import BridgeError

log = structlog.get_logger("dbbridge.proxy")


@dataclass(frozen=True, slots=True)
class Backend:
    """What carries requests out: the layer, and sessions of the event loop's own `to_source`."""

    pipeline: str
    tables: Tables
    dual: DualWrite
    to_source: ToSource


def make_app(backend: Backend, tokens: Tokens, limits: ProxyLimits) -> ASGIApp:
    """The service over a backend."""
    tables, dual, metrics = backend.tables, backend.dual, Metrics()
    service = Service(
        tables,
        Writes(dual, tables, limits.remember_hours),
        Reads(dual, limits),
        Probe(dual, tables, backend.pipeline),
        metrics,
        limits.operations,
    )
    threads = ThreadPoolExecutor(limits.threads, "lane")
    trips = Trips(dual, backend.to_source, threads, limits.threads)
    lane = Lane(
        routed(service, limits.threads, trips),
        writing(service),
        threads,
        functools.partial(write, service),
        functools.partial(write_at_once, service, trips),
        _failed,
    )
    return Guard(lane, tokens, Rates(limits.requests_per_second), metrics, limits.body_bytes)


def routed(service: Service, threads: int, trips: Trips) -> FastAPI:
    """The routes without the guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        yield
        trips.close()

    app = FastAPI(
        title="dbbridge proxy",
        version="1",
        description="Writes that reach MySQL and PostgreSQL, and reads of either.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.include_router(router(service))
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    # Starlette raises again what only the handler of Exception knows: uvicorn would log it with the
    # values that it tells of, and hang up.
    for kind in (Problem, BridgeError, SQLAlchemyError, psycopg.Error, pymysql.Error, Exception):
        app.exception_handler(kind)(_failed)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_document(app))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    parts = found.setdefault("components", {})
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schemas = parts.setdefault("schemas", {})
    schemas["ProblemBody"] = ProblemBody.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["security"] = [] if path in OPEN else [{"token": []}]
            for answer in operation["responses"].values():
                answer.setdefault("headers", {})["X-Request-ID"] = {"schema": {"type": "string"}}
    return found


def _problem(request: Request, problem: Problem) -> Response:
    body = json.encode(problem.body(request.scope["state"]["request_id"]))
    return Response(body, problem.status, problem.headers, MEDIA_TYPE)


def _failed(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is None:
        log.error("failed", id=request.scope["state"]["request_id"], exc_info=error)
        problem = Problem(500, "internal", "the service failed", "an operator finds it in the log")
    elif problem.status == 503:
        log.warning("refused", id=request.scope["state"]["request_id"], why=_first_line(error))
    return _problem(request, problem)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: Mapping[str, Any] = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _problem(
        request,
        Problem(422, "wrong-request", f"{place}: {first['msg']}", "see /openapi.json"),
    )


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "no-such-path", 405: "no-such-method"}
    code = codes.get(error.status_code, "wrong-request")
    answer = _problem(
        request, Problem(error.status_code, code, str(error.detail), "see /openapi.json")
    )
    answer.headers.update(error.headers or {})
    return answer


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
