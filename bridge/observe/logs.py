"""Structured logs on stderr: lines for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, Literal, TextIO

import msgspec
import structlog

_URL_PASSWORD = re.compile(r"(\w+://[^:/@\s]*:)[^@\s]+@")
_SECRET_NAMES = ("password", "secret", "token")


def set_up(
    form: Literal["console", "json"] | None = None,
    *,
    debug: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Sends every log line to stderr; `form` None chooses by whether it is a terminal."""
    out = stream or sys.stderr
    console = form == "console" or (form is None and out.isatty())
    renderer: Any
    if console:
        renderer = structlog.dev.ConsoleRenderer(colors=out.isatty())
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_json)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(10 if debug else 20),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def _json(event: dict[str, Any], **_: object) -> str:
    try:
        line = msgspec.json.encode(event, enc_hook=repr)
    except UnicodeEncodeError:  # bytes of a file's name that are no UTF-8
        return json.dumps(event, default=repr)
    return msgspec.json.format(line, indent=0).decode()  # on one line, spaced as json.dumps does


@lru_cache(1000)
def _secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_NAMES)


def mask_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replaces values of secret names, and passwords inside URLs, by ***."""
    for name, value in event.items():
        if _secret(name):
            event[name] = "***"
        elif isinstance(value, str) and "://" in value:
            event[name] = _URL_PASSWORD.sub(r"\1***@", value)
    return event
