"""compose.yaml, read: with variables as they are where nobody sets them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).resolve().parents[1] / "compose"
TEXT = (FOLDER / "compose.yaml").read_text()
FILE: dict[str, Any] = YAML(typ="safe").load(
    re.sub(r"\$\{\w+:-(.*?)\}", r"\1", TEXT).replace("$$", "$")
)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]


def accounts_sql(script: str, passwords: Path) -> list[str]:
    """The statements that an image's entrypoint would get from a script for accounts."""
    text = (FOLDER / "accounts" / script).read_text().replace("/run/secrets", str(passwords))
    said = subprocess.run(
        ["bash", "-ec", f"docker_process_sql() {{ cat; }}\n{text}"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return [statement for statement in said.stdout.split(";\n") if statement.strip()]
