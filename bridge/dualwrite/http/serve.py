"""The service as a process: both engines, the layer, uvicorn."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql
import structlog
import uvicorn
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from bridge.config.models import ProxySettings
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.dualwrite.http import answers
from bridge.dualwrite.http.app import Backend, make_app
from bridge.dualwrite.http.auth import Tokens
from bridge.dualwrite.http.onetrip import ToSource
from bridge.dualwrite.http.tables import Tables
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.opening import open_sides
from bridge.errors import BridgeError, ConfigError
from bridge.mapping.plan import TablePlan
from bridge.names import TableName

LOCK_SECONDS = 4
"""How long a transaction waits for another one's rows."""
STATEMENT_SECONDS = 6
FINISH_SECONDS = 7
"""How long requests under way may take after SIGTERM."""
LEAVE_SECONDS = 9.0
"""When the process ends after SIGTERM whatever happens; the servers roll back."""
PRUNE_SECONDS = 60.0
SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter from others that wait for it. Python's 5 ms would cost a
request that much at each of its answers from a server."""
SOURCE_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE',"
    f" innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
)
"""What does not fit is refused, instead of changed. No lock is waited for longer than an answer: a
text that nobody waits for any more would be executed, with its COMMIT, once it has the lock."""
TARGET_SESSION = {
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
    # Without it `dbbridge.hold` refuses every write, where the role or database has another one.
    "default_transaction_isolation": "read committed",
}

log = structlog.get_logger("dbbridge.proxy")


@dataclass(frozen=True, slots=True)
class Places:
    """The pipeline's two databases, and those of the accounts that write for callers."""

    source: Endpoint
    target: Endpoint
    writes_source: Endpoint
    writes_target: Endpoint


def sessions_to(endpoint: Endpoint, database: str, *, at_once: bool = False) -> ToSource:
    """How sessions of the source are opened that change no value silently, not in autocommit mode.

    `at_once`: they may be sent several statements, all of which are ours.
    """

    def connect() -> pymysql.Connection[Any]:
        conn = mysql.connect(
            endpoint,
            database=database,
            read_timeout=STATEMENT_SECONDS,
            found_rows=True,
            many_statements=at_once,
        )
        with conn.cursor() as cursor:
            cursor.execute(SOURCE_SESSION)
        conn.autocommit(False)
        return conn

    return ToSource(connect, STATEMENT_SECONDS)


def target_engine(endpoint: Endpoint, sessions: int) -> Engine:
    """An engine for PostgreSQL."""

    def connect() -> psycopg.Connection[Any]:
        return postgres.connect(
            endpoint, application_name="dbbridge proxy", settings=TARGET_SESSION
        )

    return _engine("postgresql+psycopg://", connect, sessions)


def _engine(url: str, connect: Callable[[], Any], sessions: int) -> Engine:
    return create_engine(
        url,
        creator=connect,
        pool_size=sessions,
        max_overflow=sessions,  # writes and reads have threads of their own
        pool_timeout=STATEMENT_SECONDS,
        pool_recycle=1800,
        hide_parameters=True,
        # All that uses a session here ends its transaction, and another ROLLBACK is a round trip.
        pool_reset_on_return=None,
    )


def open_backend(
    pipeline: str, places: Places, plans: Mapping[TableName, TablePlan], sessions: int
) -> Backend:
    """The layer over engines of its own, and sessions beside it."""
    sides = open_sides(pipeline, places.source, places.target)
    mine, database = places.writes_source, sides.database
    source = _engine("mysql+pymysql://", sessions_to(mine, database).connect, sessions)
    target = target_engine(places.writes_target, sessions)
    dual = DualWrite(sides, plans, source, target, behind=True)
    at_once = sessions_to(mine, database, at_once=True)
    return Backend(pipeline, Tables(plans, database), dual, at_once)


def where(settings: ProxySettings) -> tuple[str, int]:
    """Host and port; raises ConfigError beyond loopback without TLS."""
    host, _, port = settings.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local and not settings.tls.cert and not settings.unencrypted:
        raise ConfigError(
            f"proxy.listen is {settings.listen}, where tokens would travel in plain text",
            "give proxy.tls its cert and key, listen on 127.0.0.1 behind something that has them,"
            " or set proxy.unencrypted: true",
        )
    return host, int(port)


def serve(
    backend: Backend,
    settings: ProxySettings,
    tokens: Tokens,
    files: tuple[str, str],
    listening: Callable[[str], None],
) -> None:
    """Serves until SIGTERM or SIGINT, and ends what is under way; `listening` is told the address.

    `files`: certificate and key, '' for none. Raises ConfigError.
    """
    host, port = where(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    backend.dual.heartbeat.kind = "proxy"
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        make_app(backend, tokens, settings.limits),
        host=host,
        port=port,
        ssl_certfile=files[0] or None,
        ssl_keyfile=files[1] or None,
        access_log=False,
        proxy_headers=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
        timeout_keep_alive=30,
        loop="uvloop" if os.name == "posix" else "asyncio",
        http="httptools",
        ws="none",
    )
    ended = threading.Event()
    threading.Thread(
        target=_prune, args=(backend.dual, settings.limits.remember_hours, ended), daemon=True
    ).start()
    handlers = {number: signal.signal(number, _nothing) for number in _SIGNALS}
    try:
        _Server(config, listening).run()
    finally:
        ended.set()
        for number, handler in handlers.items():
            signal.signal(number, handler)


_TALKATIVE = ("sqlalchemy.pool", "psycopg")
"""Loggers that tell of a session which broke all that led there, rows' values too. Whoever uses it
next finds the same, and says it in our words."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _nothing(_number: int, _frame: object) -> None:
    """What uvicorn hands the signal back to when it has ended."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listening: Callable[[str], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: Any = None) -> None:
        """Says where it listens, once it does."""
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port, *_ = socket.getsockname()
                scheme = "https" if self.config.is_ssl else "http"
                self._listening(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Ends in order, and in time."""
        timer = threading.Timer(LEAVE_SECONDS, os._exit, (0,))
        timer.daemon = True
        timer.start()
        super().handle_exit(sig, frame)


def _prune(dual: DualWrite, hours: float, ended: threading.Event) -> None:
    """Forgets old answers from time to time."""
    while not ended.wait(PRUNE_SECONDS):
        for engine, side in ((dual.source, "source"), (dual.target, "target")):
            with suppress(SQLAlchemyError, BridgeError):
                while not ended.is_set() and answers.forget(engine, side, hours):
                    pass
