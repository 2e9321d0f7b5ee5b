"""The tests of the compiled reader again, with a compiler that watches memory and arithmetic."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[4]
SOURCE = CHECKOUT / "bridge" / "capture" / "debezium" / "c" / "events.c"
HEADERS = Path(sysconfig.get_path("include"))
HERE = Path(__file__).parent.relative_to(CHECKOUT)
SANITIZERS = "address,undefined"
COMPILER = shutil.which("cc")
RUN_SECONDS = 300.0


def libraries() -> list[str]:
    """What has to be loaded before Python for that; nothing if it is not there."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        said = subprocess.run(
            [str(COMPILER), f"-print-file-name={name}"], capture_output=True, text=True, check=False
        ).stdout.strip()
        found += [said] if Path(said).is_absolute() else []
    return found if len(found) == 2 else []


@pytest.mark.skipif(
    not COMPILER or not (HEADERS / "Python.h").exists() or not libraries(),
    reason="a C compiler with its sanitizers, and Python.h, are not there",
)
def test_no_byte_beside_its_place(tmp_path: Path) -> None:
    built = tmp_path / "_events.so"
    flags = [f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=undefined", "-g", "-O1"]
    flags += ["-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-I{HEADERS}"]
    subprocess.run([str(COMPILER), *flags, str(SOURCE), "-o", str(built)], check=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "LD_PRELOAD": " ".join(libraries()),
        # Python itself frees nothing at its end.
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "SANITIZED_READER": str(built),
    }
    words = ["-q", "-n0", "-p", "no:cacheprovider", "-p", f"{'.'.join(HERE.parts)}.sanitized"]
    tests = [str(HERE / name) for name in ("test_compiled.py", "test_rows.py")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *tests],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
