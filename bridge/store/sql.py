"""Named queries: each file of SQL holds queries under ``-- name: …`` lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(package: str, file: str) -> Mapping[str, str]:
    """The queries of a ``.sql`` file that lies beside the modules of `package`."""
    text = (files(package) / file).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
