"""Sends work to whoever takes it, again where a message or its worker was lost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

from bridge.databases.broker import Broker
from bridge.errors import BridgeError, ServerRefused, ServerUnreachable
from bridge.names import TableName
from bridge.verify.records import PartState, Run
from bridge.verify.subject import Subject
from bridge.verify.tables import Followed
from workers.names import COPY, SWEEP, copies_of, queue_of

AGAIN_SECONDS = 3.0
"""A message that has left the queue, and whose part nobody has taken after so long, was lost."""

KEYLESS_SECONDS = 6 * 3600
"""In which a table must be done that is read in one go, having no key to go on from; the others'
limit is the application's."""
MOST_TRIES = 10
"""A part that was begun, or failed, so often without coming further is given up."""

MOST_CALLS = 64
"""Calls to read chunks that wait at the same time; each worker that takes one reads many."""

_Part = tuple[int, str, str, int]


class _Post:
    """One queue of a pipeline."""

    def __init__(self, app: Celery, queue: str, broker: Broker) -> None:
        self._app = app
        self._queue = queue
        self._broker = broker

    def check(self) -> None:
        """Raises ServerUnreachable or ServerRefused where the broker is not to be had."""
        with self._connected() as conn:
            self._waiting(conn)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            with self._app.connection_for_write() as conn:
                yield conn
        except (OperationalError, RedisError, OSError) as error:
            raise broker_error(error, self._broker) from error

    def _waiting(self, conn: Any) -> int:
        """How many messages nobody has taken yet."""
        try:
            # Its default channel would try for long to connect.
            with conn.channel() as channel:
                found = channel.queue_declare(queue=self._queue, passive=True)
        except ChannelError:
            return 0  # Redis has no empty lists
        return int(found.message_count)


class Calls(_Post):
    """Calls workers to the chunks of a copy; see bridge.replicate.errands.Caller."""

    def __init__(self, app: Celery, pipeline: str, broker: Broker, command: str) -> None:
        super().__init__(app, copies_of(pipeline), broker)
        self.command = command

    def call(self, epoch: int, source_id: str, free: int) -> None:
        """Until as many calls wait as there are free chunks."""
        with self._connected() as conn:
            for _ in range(min(free, MOST_CALLS) - self._waiting(conn)):
                self._app.send_task(COPY, (epoch, source_id), queue=self._queue, connection=conn)


class Sender(_Post):
    """Parts of a verification. Remembers what it sent; forgetting costs nothing but messages."""

    def __init__(self, app: Celery, pipeline: str, broker: Broker) -> None:
        super().__init__(app, queue_of(pipeline), broker)
        self._sent: dict[_Part, float] = {}

    def send(
        self, run: Run, parts: Iterable[PartState], tables: Mapping[TableName, Followed]
    ) -> int:
        """Sends the parts that nobody holds, and that no message waits for; how many.

        Raises ServerUnreachable, ServerRefused.
        """
        now = time.monotonic()
        free = [
            part
            for part in parts
            if not part.done
            and not part.holder
            and now - self._sent.get(_key(run, part), -AGAIN_SECONDS) >= AGAIN_SECONDS
        ]
        if not free:
            return 0
        with self._connected() as conn:
            if self._waiting(conn):
                return 0  # among them may be theirs
            for part in free:
                self._app.send_task(
                    SWEEP,
                    _key(run, part),
                    queue=self._queue,
                    connection=conn,
                    time_limit=None if _keyed(tables[part.table]) else KEYLESS_SECONDS,
                )
                self._sent[_key(run, part)] = time.monotonic()
        return len(free)


def hopeless(part: PartState) -> bool:
    """Whether the part failed too often."""
    return not part.done and not part.holder and part.tries >= MOST_TRIES


def broker_error(error: Exception, broker: Broker) -> BridgeError:
    """What an error of the broker's means."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (AuthenticationError, AuthorizationError, ResponseError)):
            return ServerRefused(
                f"the broker {broker.place} refused us: {cause}",
                "check user and password in celery.broker",
            )
        cause = cause.__cause__ or cause.__context__
    return ServerUnreachable(
        f"the broker {broker.place} does not answer: {error}",
        "start Redis, or check celery.broker; without workers none is needed",
    )


def _keyed(table: Followed) -> bool:
    return Subject.of(table.plan, table.relation, "counts").keys.ordered


def _key(run: Run, part: PartState) -> _Part:
    return run.id, part.table.schema, part.table.table, part.number
