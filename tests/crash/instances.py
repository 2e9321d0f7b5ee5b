"""Processes of an application that uses the bridge, each with a log of what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.endtoend.dual import source_url, target_url
from tests.endtoend.project import CHECKOUT, Project


def begin(
    project: Project, module: str, number: int, *words: str
) -> tuple[subprocess.Popen[bytes], Path]:
    """Starts instance `number`; it is told the databases, its name ``i…``, and `words`."""
    path = project.folder / f"instance-{number}.log"
    told = (
        source_url(project).render_as_string(hide_password=False),
        target_url(project).render_as_string(hide_password=False),
        project.source.name,
        str(project.folder / "bridge.yaml"),
        f"i{number}",
        *words,
    )
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *told],
            cwd=CHECKOUT,
            env=project._environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    project.started.append(process)
    return process, path
