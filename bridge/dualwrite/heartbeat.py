"""Instances say that they are alive, and which epochs they know.

Nothing rests on it but the question before a switch whether everybody has heard of the current
epoch: each commit is checked by itself.
"""

from __future__ import annotations

import atexit
import os
import platform
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from bridge.errors import BridgeError
from bridge.store.sql import queries

Q = queries("bridge.dualwrite", "heartbeat.sql")
BEAT_SECONDS = 3.0
Kind = Literal["layer", "proxy"]


class Heartbeat:
    """Beats from a thread of its own, over a session of its own, from the first `start` on.

    `epochs` gives what tells the groups' epochs as this instance knows them, or None once the
    instance is gone (a weak reference to a method). A target that cannot be reached, or refuses,
    costs a beat and nothing else.
    """

    def __init__(
        self,
        open_target: Callable[[], psycopg.Connection[Any]],
        pipeline: str,
        epochs: Callable[[], Callable[[], Mapping[str, int]] | None],
        kind: Kind = "layer",
    ) -> None:
        self._open_target = open_target
        self._pipeline = pipeline
        self._epochs = epochs
        self.kind: Kind = kind
        self._lock = threading.Lock()
        self._process = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to beat, once a process: one that was forked has its own thread and name."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process == os.getpid() or self._ended.is_set():
                return
            self._process = os.getpid()
            self._thread = threading.Thread(
                target=self._run, args=(uuid.uuid4(),), name="instance", daemon=True
            )
            self._thread.start()
            atexit.register(self.stop)

    def stop(self, timeout: float = 2.0) -> None:
        """Says goodbye; after `timeout` seconds without."""
        self._ended.set()
        atexit.unregister(self.stop)
        thread = self._thread
        if thread is not None and self._process == os.getpid():
            thread.join(timeout)

    def _run(self, instance: uuid.UUID) -> None:
        while not self._ended.is_set():
            with (
                suppress(psycopg.Error, BridgeError, OSError),
                closing(self._open_target()) as target,
            ):
                self._beat(target, instance)
            self._ended.wait(BEAT_SECONDS)

    def _beat(self, target: psycopg.Connection[Any], instance: uuid.UUID) -> None:
        names = {"pipeline": self._pipeline, "instance": instance}
        place = {"host": platform.node(), "pid": os.getpid(), "kind": self.kind}
        while (epochs := self._epochs()) is not None:
            known = Jsonb(dict(epochs()))
            del epochs  # or it would keep the instance alive
            target.execute(Q["beat"], {**names, **place, "epochs": known})
            if self._ended.wait(BEAT_SECONDS):
                break
        self._ended.set()
        target.execute(Q["leave"], names)
