"""``make env``: .venv from the lock, on a machine that has nothing but a Python and apt.

Runs before anything is installed, so: standard library only, and nothing above ``main`` that
an older Python would not understand, since it may have to look for a newer one first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

OLDEST = (3, 11)
NEWEST_MINOR = 30
CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
PACKAGES = ("bridge", "workers")
LOCK = CHECKOUT / "requirements.lock"
COMPILED = CHECKOUT / "bridge" / "capture" / "debezium"
C_FILES = sorted((COMPILED / "c").iterdir())
INPUTS = (LOCK, CHECKOUT / "pyproject.toml", Path(__file__), *C_FILES)
"""What an environment is made from; how it is made counts as well."""


def main() -> int:
    """Make the environment if the lock has changed since; quick where it has not."""
    if sys.version_info < OLDEST:
        return _with_newer_python()
    from compose.local import places

    stamp, wanted = VENV / "made-from", _fingerprint()
    with places.locked("env"):
        if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
            return 0
        try:
            _make()
        except subprocess.CalledProcessError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        stamp.write_text(wanted)
    return 0


def _with_newer_python() -> int:
    for minor in range(NEWEST_MINOR, OLDEST[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer and _works(newer):
            os.execv(newer, [newer, "-m", "compose.local.bootstrap"])  # noqa: S606
    print(f"error: Python {OLDEST[0]}.{OLDEST[1]} or later is needed", file=sys.stderr)
    print("hint: install it, or call make with PYTHON=/path/to/python3", file=sys.stderr)
    return 2


def _works(python: str) -> bool:
    """Whether it starts: version managers put names on PATH that only complain."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in INPUTS:
        digest.update(path.read_bytes())
    # Whoever installs a compiler afterwards wants what it builds.
    builds = bool(shutil.which("cc")) and Path(sysconfig.get_path("include"), "Python.h").exists()
    version = sys.version_info[:2]
    return f"{digest.hexdigest()} {sys.base_prefix} {version} {CHECKOUT} compiler: {builds}\n"


def _make() -> None:
    """The lock's packages, by their hashes, and the project itself as it lies here."""
    print(f"env: .venv with Python {sys.version.split()[0]} from requirements.lock", flush=True)
    if not _usable():
        shutil.rmtree(VENV, ignore_errors=True)
        _make_empty()
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--retries", "5", "--no-input"]
    _call([*pip, "--require-hashes", "--requirement", str(LOCK)])
    # A line with the folder's path; the other way is a finder, whose import each command would pay.
    plain = ["--config-settings", "editable_mode=compat", "--editable", str(CHECKOUT)]
    _call([*pip, "--no-deps", "--no-build-isolation", *plain])
    if not list(COMPILED.glob("_events.*.so")):
        print("env: no C compiler, or no Python.h; reading Kafka's events will take longer")
    # What pip installs it compiles, but not what it leaves in its place; and where Python may not
    # write bytecode, each command would compile all of it again, which takes half its start.
    _call([str(PYTHON), "-m", "compileall", "-q", *(str(CHECKOUT / name) for name in PACKAGES)])


def _usable() -> bool:
    """Whether .venv is whole and made with this very Python."""
    if not PYTHON.exists():
        return False
    question = "import sys, pip; print(sys.base_prefix, sys.version_info[:2])"
    words = [str(PYTHON), "-c", question]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return said.strip() == f"{sys.base_prefix} {sys.version_info[:2]}"


def _make_empty() -> None:
    """An environment with pip; Debian and Ubuntu keep ensurepip in a package of its own."""
    venv = [sys.executable, "-m", "venv", str(VENV)]
    if importlib.util.find_spec("ensurepip"):
        _call(venv)
        return
    from compose.local import packages

    packages.distribution()
    wheels = packages.unpacked("pip", ["python3-pip-whl"]) / "usr/share/python-wheels"
    wheel = next(wheels.glob("pip-*.whl"))
    _call([*venv, "--without-pip"])
    _call([str(PYTHON), str(wheel / "pip"), "install", "--quiet", "--no-index", str(wheel)])


def _call(command: list[str]) -> None:
    subprocess.run(command, cwd=CHECKOUT, check=True)


if __name__ == "__main__":
    sys.exit(main())
