"""The paths of the service. Handlers are plain functions: the application runs them in threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from bridge.dualwrite.http import models
from bridge.dualwrite.http.answers import Once, token
from bridge.dualwrite.http.auth import Caller
from bridge.dualwrite.http.health import Probe
from bridge.dualwrite.http.metrics import MEDIA_TYPE as METRICS_TYPE
from bridge.dualwrite.http.metrics import Metrics
from bridge.dualwrite.http.models import VERBS
from bridge.dualwrite.http.onetrip import Trips
from bridge.dualwrite.http.problems import MEDIA_TYPE, Problem
from bridge.dualwrite.http.reads import Reads, after_of
from bridge.dualwrite.http.tables import Carried, Tables
from bridge.dualwrite.http.values import exact_json
from bridge.dualwrite.http.writes import Operation, Outcome, Writes, shown
from bridge.dualwrite.reading import Wish

_MEANINGS = {
    400: "Not an HTTP request that can be read",
    401: "No token, or none that is known",
    403: "The token's scopes do not allow it",
    404: "No such table, group or row",
    409: "Another row has the value, or a foreign key does not allow it; nothing was written",
    413: "The request is too large",
    422: "A column, key or value is wrong; nothing was written",
    429: "Too many requests; see Retry-After",
    503: "A server is away or busy, or a switch is under way; see Retry-After",
}

_Table = Annotated[str, Path(min_length=1, max_length=130, description="As in the source")]
_Key = Annotated[
    str,
    Path(min_length=1, description="The key's value; of several columns, a JSON array of them"),
]
_Once = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same request under the same key is carried out once",
    ),
]


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes need."""

    tables: Tables
    writes: Writes
    reads: Reads
    probe: Probe
    metrics: Metrics
    operations: int
    """How many a request may hold."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants to be written; `key`: its Idempotency-Key, `status`: of its success."""

    request: Request
    operations: Sequence[Operation]
    key: str | None
    status: int


class _Exact(Request):
    """A request whose numbers lose nothing."""

    async def json(self) -> Any:
        try:
            return exact_json(await self.body())
        except (ValueError, RecursionError) as error:
            # The kind that FastAPI answers with 422.
            raise JSONDecodeError("this is no proper JSON", "", 0) from error


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, with `_Exact` requests."""
        handle = super().get_route_handler()

        async def exactly(request: Request) -> Response:
            return await handle(_Exact(request.scope, request.receive))

        return exactly


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {s: {"description": _MEANINGS[s], "content": content} for s in sorted(statuses)}


_ALWAYS = (400, 401, 429, 503)
_WRITE = _problems(*_ALWAYS, 403, 404, 409, 413, 422)


def router(service: Service) -> APIRouter:
    """All paths, over one service."""
    routes = APIRouter(route_class=_Route)
    _add_writes(routes, service, lambda asked: write(service, asked))
    _add_reads(routes, service)
    _add_operations(routes, service)
    return routes


def writing(service: Service) -> list[tuple[APIRoute, type[BaseModel] | None]]:
    """The routes that write, and what their bodies must be; they give what is to be written."""
    routes = APIRouter()
    _add_writes(routes, service, lambda asked: asked)
    found = [route for route in routes.routes if isinstance(route, APIRoute)]
    return [(route, get_type_hints(route.endpoint).get("body")) for route in found]


def _add_writes(routes: APIRouter, service: Service, done: Callable[[Asked], Any]) -> None:
    written: dict[str, Any] = {
        "response_model": models.Written,
        "responses": _WRITE,
        "tags": ["writing"],
    }
    one = "/v1/tables/{table}/rows/{key:path}"

    def write(
        request: Request, operations: Sequence[Operation], key: str | None, status: int = 200
    ) -> Any:
        return done(Asked(request, operations, key, status))

    def key_of(name: str, text: str) -> dict[str, Any]:
        return _key(service.tables.get(name), text)

    @routes.post("/v1/transactions", summary="Several operations, all or none", **written)
    def transaction(request: Request, body: models.Transaction, once: _Once = None) -> Any:
        return write(request, body.operations, once)

    @routes.post("/v1/tables/{table}/rows", summary="Insert rows", status_code=201, **written)
    def insert(request: Request, table: _Table, body: models.Rows, once: _Once = None) -> Any:
        made = [
            models.Insert.model_construct(do="insert", table=table, values=row) for row in body.rows
        ]
        return write(request, made, once, 201)

    @routes.put(one, summary="Upsert the row of a key", **written)
    def upsert(
        request: Request, table: _Table, key: _Key, body: models.AllOf, once: _Once = None
    ) -> Any:
        at = key_of(table, key)
        return write(
            request, [models.Upsert(do="upsert", table=table, key=at, values=body.values)], once
        )

    @routes.patch(one, summary="Update the row of a key", **written)
    def update(
        request: Request, table: _Table, key: _Key, body: models.SomeOf, once: _Once = None
    ) -> Any:
        at = key_of(table, key)
        return write(
            request, [models.Update(do="update", table=table, key=at, values=body.values)], once
        )

    @routes.delete(one, summary="Delete the row of a key", **written)
    def delete(request: Request, table: _Table, key: _Key, once: _Once = None) -> Any:
        at = key_of(table, key)
        return write(request, [models.Delete(do="delete", table=table, key=at)], once)


def _add_reads(routes: APIRouter, service: Service) -> None:
    @routes.get(
        "/v1/tables/{table}/rows/{key:path}",
        summary="The row of a key",
        response_model=models.Found,
        responses=_problems(*_ALWAYS, 403, 404, 422),
        tags=["reading"],
    )
    def get(
        request: Request,
        table: _Table,
        key: _Key,
        prefer: Annotated[
            Literal["source", "target"] | None, Query(description="The side to read if it may")
        ] = None,
        after: Annotated[
            str | None,
            Header(alias="X-Bridge-After", description="`after` of a write that must be seen"),
        ] = None,
        pin: Annotated[
            str, Header(alias="X-Bridge-Pin", description="Equal texts read the same side")
        ] = "",
    ) -> Response:
        _caller(request).check(table, ("read",))
        carried = service.tables.get(table)
        wish = Wish(pin, after_of(after) if after is not None else None, prefer)
        side, row = service.reads.get(carried, _key(carried, key), wish)
        return _json({"table": table, "side": side, "values": row})

    @routes.get(
        "/authority/{group}",
        summary="Who has authority over a group",
        response_model=models.Authority,
        responses={**_problems(*_ALWAYS, 404, 422), 304: {"description": "It is as before"}},
        tags=["operating"],
    )
    def authority(
        group: str, known: Annotated[str | None, Header(alias="If-None-Match")] = None
    ) -> Response:
        body = msgspec.json.encode(service.probe.authority(group).document())
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        tags = {each.strip().removeprefix("W/") for each in (known or "").split(",")}
        if tags & {tag, "*"}:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)


def _add_operations(routes: APIRouter, service: Service) -> None:
    @routes.get(
        "/health/live",
        summary="Whether the process runs",
        response_model=models.Health,
        response_model_exclude_defaults=True,
        tags=["operating"],
    )
    async def live() -> Response:
        return _json({"status": "ok"})

    @routes.get(
        "/health/ready",
        summary="Whether both sides answer and the authority is known",
        response_model=models.Health,
        responses={503: {"model": models.Health, "description": "Something is missing"}},
        tags=["operating"],
    )
    def ready() -> Response:
        found = service.probe.ready()
        return _json(found, 200 if found["status"] == "ok" else 503)

    @routes.get(
        "/metrics",
        summary="Counts for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_problems(400, 401, 429)},
        tags=["operating"],
    )
    def metrics() -> Response:
        text = service.metrics.text(service.probe.outcomes(), service.probe.unconfirmed())
        return Response(text, media_type=METRICS_TYPE)


def allowed(service: Service, asked: Asked) -> Caller:
    """Who asks; raises Problem where he may not, or for too much."""
    if len(asked.operations) > service.operations:
        raise Problem(
            422,
            "too-many-operations",
            f"a transaction has at most {service.operations} operations",
            "send several; an operator may raise proxy.limits.operations",
        )
    caller = _caller(asked.request)
    for each in asked.operations:
        caller.check(each.table, VERBS[each.do])
    return caller


def write(service: Service, asked: Asked) -> Response:
    """Carries it out, and waits; raises Problem and the servers' errors."""
    caller = allowed(service, asked)
    once = None
    if asked.key is not None:
        said = [asked.request.method, [each.model_dump() for each in asked.operations]]
        once = Once.of(caller.name, asked.key, said)
    return _answer(asked, service.writes.run(asked.operations, once))


async def write_at_once(service: Service, trips: Trips, asked: Asked) -> Response | None:
    """The same on the event loop; None where it does not go like that."""
    allowed(service, asked)
    if asked.key is not None:
        return None
    tables = [service.tables.get(each.table) for each in asked.operations]
    done = await trips.write(asked.operations, tables)
    if done is None:
        return None
    every = zip(tables, asked.operations, done.keys, strict=True)
    results = msgspec.json.encode([shown(*each) for each in every])
    return _answer(asked, Outcome(results, token(done.op.seq, done.op.op_id)))


def _answer(asked: Asked, outcome: Outcome) -> Response:
    after = msgspec.json.encode(outcome.after)
    body = b'{"results":' + outcome.results + b',"after":' + after + b"}"
    headers = {"Idempotency-Replayed": "true"} if outcome.repeated else {}
    return Response(body, asked.status, headers, "application/json")


def _caller(request: Request) -> Caller:
    found: Caller = request.state.caller
    return found


def _key(table: Carried, text: str) -> dict[str, Any]:
    """A key as the path has it, by its columns."""
    names = table.required_key()
    values: list[Any] = [text]
    if len(names) > 1 or text.startswith("["):
        try:
            found = exact_json(text.encode())
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or len(found) != len(names):
            raise Problem(
                422,
                "wrong-key",
                f"this is not the key of {table.name}",
                f"a JSON array of {', '.join(names)}",
            )
        values = found
    return dict(zip(names, values, strict=True))


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
