"""A consumer's thread: it is a member of the group again and again, whatever ends a membership."""

from __future__ import annotations

import threading
import time

import structlog
from confluent_kafka import KafkaError, KafkaException

from bridge.capture.debezium.compiled import READER
from bridge.databases.kafka import KafkaEndpoint, kafka_error
from bridge.errors import BridgeError
from bridge.replicate.kafka.post import Facts, Misplaced, Post
from bridge.replicate.kafka.shift import Shift
from bridge.replicate.servers import meaning

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

log = structlog.get_logger("dbbridge.consumer")


class Member:
    """Consumes in a thread of its own until `stop`; `failure` is what it could not heal."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self.facts = Facts()
        self.failure: Exception | None = None
        self.ended = threading.Event()

    def start(self) -> None:
        """Begins to consume."""
        self._thread.start()

    def stop(self) -> None:
        """Ends in order: what is being applied is committed first, if that does not take long."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        if READER is None:
            log.warning(
                "slow",
                reason="the compiled reader of events was not built",
                hint="install a C compiler and Python's headers (python3-dev), then dbbridge again",
            )
        pause, static = FIRST_PAUSE, True
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                try:
                    Shift(self._post, self.facts, self._stopping, static=static).run()
                except Exception as error:
                    known = _meaning(error, self._post.endpoint)
                    if not (isinstance(known, BridgeError) and known.transient):
                        raise known from error
                    static = static and not isinstance(known, Misplaced)
                    if time.monotonic() - began > pause:
                        pause = FIRST_PAUSE
                    self.facts.tell(known.message)
                    log.warning("waiting", reason=known.message, hint=known.hint, seconds=pause)
                    self._stopping.wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits)
            self.failure = error
        finally:
            self.ended.set()


def _meaning(error: Exception, endpoint: KafkaEndpoint) -> Exception:
    if not isinstance(error, KafkaException):
        return meaning(error)
    known = kafka_error(error, endpoint)
    if error.args[0].code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID):  # noqa: SLF001
        # A broker that died may have given our name away, to ourselves.
        return Misplaced(known.message, "it joins the group anew")
    return known
