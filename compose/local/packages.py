"""Unpacking the distribution's packages into a private folder; needs apt, but no root.

apt is pointed at folders of ours and told that nothing is installed, so that every
dependency comes along. Archives' addresses are the machine's own, never written down here.
Standard library only: ``bootstrap`` uses this before there is a virtual environment.
"""

from __future__ import annotations

import concurrent.futures
import platform
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from compose.local import places
from compose.local.errors import LocalStackError, Unavailable
from compose.local.processes import run

TRIES = 3
FRESH_SECONDS = 3600

# The machine's hooks would tidy the system's own cache; descriptions and desktop metadata
# are as large as the index itself.
SETTINGS = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Pre-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
Dir::State "{base}/state";
Dir::State::Lists "{base}/state/lists";
Dir::State::status "/dev/null";
Dir::Cache "{base}/cache";
Dir::Log "{base}/log";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Retries "3";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Debug::NoLocking "1";
"""


def distribution() -> str:
    """``debian`` or ``ubuntu`` (or what is made of them); anything else is Unavailable."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unavailable("no apt here: put the server's binaries on PATH")
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    for name in ("ubuntu", "debian"):
        if name in names:
            return name
    raise Unavailable("neither Debian nor Ubuntu: put the server's binaries on PATH")


def unpacked(name: str, patterns: Sequence[str], suite: str | None = None) -> Path:
    """The root folder into which packages and all they need are unpacked, made if need be.

    The patterns are regular expressions for the packages' whole names; of each the highest
    match is taken. ``suite`` is another suite of Debian than the machine's own.
    """
    root = places.folder("roots") / name
    if root.exists():
        return root
    with places.locked(f"root-{name}"):
        if not root.exists():
            _retried(name, patterns, suite)
    return root


def _retried(name: str, patterns: Sequence[str], suite: str | None) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            settings = _foreign(suite) if suite else _own(fresh=attempt == 1)
            _unpack(name, patterns, settings, whole=suite is not None)
            return
        except LocalStackError:
            if attempt == TRIES:
                raise
            time.sleep(2 * attempt)


def _own(fresh: bool) -> Path:
    """Settings for the machine's own sources, with an index not older than an hour."""
    with places.locked("apt-own"):
        base = places.folder("apt", "own")
        settings = _settings(base, SETTINGS.format(base=base))
        stamp = base / "updated"
        recent = stamp.exists() and time.time() - stamp.stat().st_mtime < FRESH_SECONDS
        if not (fresh and recent):
            run(["apt-get", "-c", settings, "update"])
            stamp.touch()
        return settings


def _foreign(suite: str) -> Path:
    """Settings for another suite in the archive that the machine itself takes packages from."""
    base = places.folder("apt", suite)
    sources = base / "sources.list"
    keys = sorted(Path("/usr/share/keyrings").glob("debian-archive-keyring.*"))
    trust = f"[signed-by={keys[0]}] " if keys else ""
    sources.write_text(f"deb {trust}{_archive()} {suite} main\n")
    text = SETTINGS.format(base=base)
    text += f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\n'
    settings = _settings(base, text)
    run(["apt-get", "-c", settings, "update"])
    return settings


def _archive() -> str:
    form = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    tool = ["apt-get", "-c", str(_own(fresh=True)), "indextargets"]
    listing = run([*tool, "--format", form, "Created-By: Packages"])
    for line in listing.splitlines():
        origin, label, address = line.split("|", 2)
        if origin == label == "Debian":  # the security archive is labelled Debian-Security
            return address
    raise LocalStackError("none of this machine's package sources is Debian's main archive")


def _settings(base: Path, text: str) -> Path:
    for name in ("state/lists/partial", "cache/archives/partial", "log"):
        (base / name).mkdir(parents=True, exist_ok=True)
    path = base / "apt.conf"
    path.write_text(text)
    return path


def _unpack(name: str, patterns: Sequence[str], settings: Path, whole: bool) -> None:
    """Download into a cache of this root's own and unpack; the root appears when complete."""
    cache = places.folder("apt", f"cache-{name}")
    (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    packages = [_highest(settings, pattern) for pattern in patterns]
    options = ["-c", str(settings), "-o", f"Dir::Cache={cache}", "--yes", "--download-only"]
    run(["apt-get", *options, "install", *packages])
    partial = places.folder("roots") / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    partial.chmod(0o755)
    archives = [
        archive
        for archive in sorted((cache / "archives").glob("*.deb"))
        if whole or not archive.name.startswith(("libc6_", "libc-bin_"))
    ]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda archive: run(["dpkg-deb", "-x", archive, partial]), archives))
    partial.rename(partial.with_name(name))
    shutil.rmtree(cache, ignore_errors=True)


def _highest(settings: Path, pattern: str) -> str:
    found = run(["apt-cache", "-c", settings, "search", "--names-only", f"^{pattern}$"])
    names = [line.split(" ")[0] for line in found.splitlines() if line]
    if not names:
        raise LocalStackError(f"the machine's package sources have no {pattern}")
    return max(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
