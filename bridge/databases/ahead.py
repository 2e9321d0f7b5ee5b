"""Sessions that are opened before they are needed, or not before: nobody waits for them in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar


class _Session(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Session)


class Ahead(Generic[T]):
    """Opens a session in a thread of its own, and closes it."""

    def __init__(self, opened: Callable[[], T]) -> None:
        self._open = opened
        self._session: T | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="connect", daemon=True)
        self._thread.start()

    @property
    def session(self) -> T:
        """The session as soon as it is open; raises what opening it raised."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        assert self._session is not None
        return self._session

    def close(self) -> None:
        """Ends the session; a connection that broke cannot say goodbye."""
        self._thread.join()
        if self._session is not None:
            with suppress(Exception):
                self._session.close()

    def _run(self) -> None:
        try:
            self._session = self._open()
        except BaseException as error:  # noqa: BLE001 (whoever asks for the session gets it)
            self._failure = error


class Stock(Generic[T]):
    """Keeps up to `number` sessions open, each to be used once and closed by whoever took it."""

    def __init__(self, opened: Callable[[], T], ask: Callable[[T], object], number: int) -> None:
        self._open = opened
        self._ask = ask
        self._number = number
        self._sessions: list[T] = []

    def fill(self) -> None:
        """Opens those that are missing; raises what opening one raises."""
        while len(self._sessions) < self._number:
            self._sessions.append(self._open())

    def take(self) -> T:
        """A session that still answers what it is asked; a new one if there is none."""
        while self._sessions:
            session = self._sessions.pop()
            with suppress(Exception):  # it was ended meanwhile
                self._ask(session)
                return session
            with suppress(Exception):
                session.close()
        return self._open()

    def close(self) -> None:
        """Ends those that nobody took."""
        while self._sessions:
            with suppress(Exception):
                self._sessions.pop().close()


class Late(Generic[T]):
    """Opens a session when it is first asked for, and closes it. For one thread."""

    def __init__(self, opened: Callable[[], T]) -> None:
        self._open = opened
        self._session: T | None = None

    def session(self) -> T:
        """The session; raises what opening it raises."""
        if self._session is None:
            self._session = self._open()
        return self._session

    def close(self) -> None:
        """Ends the session, if there is one; a connection that broke cannot say goodbye."""
        if self._session is not None:
            with suppress(Exception):
                self._session.close()
