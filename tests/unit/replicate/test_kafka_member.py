"""What a consumer says as it begins."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from bridge.capture.debezium import compiled
from bridge.databases.kafka import KafkaEndpoint
from bridge.errors import ConfigError
from bridge.replicate.kafka import member
from bridge.replicate.kafka.member import Member
from bridge.replicate.kafka.post import Post
from bridge.replicate.plans import Planner
from bridge.types.events import EventSettings


def refuse() -> NoReturn:
    raise ConfigError("nobody is there", "begin somebody")


def said() -> list[Any]:
    planner = Planner(refuse, dict)
    endpoint = KafkaEndpoint("127.0.0.1:1")
    post = Post("p", "g", endpoint, EventSettings(), refuse, planner, host="h", holder="h:1")
    with capture_logs() as logs:
        begun = Member(post)
        begun.start()
        begun.stop()
    assert isinstance(begun.failure, ConfigError)
    return logs


def test_it_says_that_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "READER", None)
    (told,) = said()
    assert (told["event"], told["log_level"]) == ("slow", "warning")
    assert "compiler" in told["hint"]


@pytest.mark.skipif(compiled.READER is None, reason="the compiled reader was not built")
def test_it_says_nothing_otherwise() -> None:
    assert said() == []
