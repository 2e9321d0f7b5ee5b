"""compose.yaml, read: with variables as they are where nobody sets them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).resolve().parents[1] / "compose"
TEXT = (FOLDER / "compose.yaml").read_text()
FILE: dict[str, Any] = YAML(typ="safe").load(
    re.sub(r"\$\{\w+:-(.*?)\}", r"\1", TEXT).replace("$$", "$")
)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
