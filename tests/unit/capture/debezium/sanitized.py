"""A plugin of pytest: the compiled reader of the file that SANITIZED_READER names is used."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys

import bridge.capture.debezium

NAME = "bridge.capture.debezium._events"


def _load() -> None:
    loader = importlib.machinery.ExtensionFileLoader(NAME, os.environ["SANITIZED_READER"])
    spec = importlib.util.spec_from_loader(NAME, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[NAME] = bridge.capture.debezium._events = module  # type: ignore[attr-defined]


_load()
