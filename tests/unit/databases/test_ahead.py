"""Sessions that are opened ahead."""

from __future__ import annotations

import threading

import pytest

from bridge.databases.ahead import Ahead


class Session:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_it_is_opened_beside_and_closed() -> None:
    go = threading.Event()
    session = Session()

    def opened() -> Session:
        assert go.wait(10)
        return session

    ahead = Ahead(opened)
    go.set()
    assert ahead.session is session
    assert ahead.session is session
    ahead.close()
    assert session.closed


def test_one_that_nobody_asked_for_is_closed() -> None:
    session = Session()
    Ahead(lambda: session).close()
    assert session.closed


def test_what_went_wrong_is_told_to_whoever_asks() -> None:
    def opened() -> Session:
        raise OSError("refused")

    ahead = Ahead(opened)
    with pytest.raises(OSError, match="refused"):
        _ = ahead.session
    ahead.close()
