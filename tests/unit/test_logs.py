"""Logs: JSON where nobody looks, never a secret."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from bridge.observe import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_lines_without_secrets() -> None:
    stream = io.StringIO()
    logs.set_up(stream=stream)
    log = structlog.get_logger("x")
    log.info("hello", table="shop.orders", password="p", at="mysql://u:hunter2@h/d")
    log.debug("not shown")
    said = json.loads(stream.getvalue())
    assert (said["event"], said["level"], said["table"]) == ("hello", "info", "shop.orders")
    assert (said["password"], said["at"]) == ("***", "mysql://u:***@h/d")


def test_console() -> None:
    stream = io.StringIO()
    logs.set_up("console", debug=True, stream=stream)
    structlog.get_logger().debug("hello", token="t")
    assert "hello" in stream.getvalue()
    assert "token=***" in stream.getvalue()
