"""Every event that these tests decode is given to the compiled reader, too."""

from __future__ import annotations

import pytest

from bridge.capture.debezium.rows import EventDecoder
from tests.unit.capture.debezium import both


@pytest.fixture(autouse=True)
def _both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventDecoder, "apply", both.apply)
