"""What every test may ask for, and which tests share a process."""

from __future__ import annotations

import re

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # machines are shared
hypothesis.settings.load_profile("untimed")

pytest_plugins = ["tests.fix_servers", "tests.endtoend.fixtures"]

_KINDS = re.compile("mariadb|mysql")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests about one kind of source go to one process (pytest -n 2), which starts its server."""
    for item in items:
        _, _, parameters = item.nodeid.partition("[")
        names = " ".join([parameters, *getattr(item, "fixturenames", ())])
        kinds = set(_KINDS.findall(parameters)) or set(_KINDS.findall(names))
        if len(kinds) == 1:
            item.add_marker(pytest.mark.xdist_group(kinds.pop()))
