"""Where the local stack keeps things, who owns them, and locks between processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compose.local.errors import LocalStackError

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Account:
    """The unprivileged user that PostgreSQL runs as when we are root (it refuses root)."""

    name: str
    uid: int
    gid: int


def account() -> Account | None:
    """The account to step down to, or None where we are no root and need not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalStackError("running as root, and there is no user postgres or nobody")


def traversable(path: Path) -> bool:
    """Whether every user may pass through the path and all its parents."""
    resolved = path.resolve()
    return all(
        folder.stat().st_mode & stat.S_IXOTH
        for folder in (resolved, *resolved.parents)
        if folder.exists()
    )


def home() -> Path:
    """The one folder for downloads, unpacked servers, templates and running state.

    ``.local`` in the checkout; a folder of ours under the temporary directory where the
    checkout cannot be written, or where the account we step down to could not reach it.
    """
    given = os.environ.get("DBBRIDGE_LOCAL_HOME")
    if given:
        return _made(Path(given).resolve())
    inside = CHECKOUT / ".local"
    writable = os.access(inside if inside.exists() else CHECKOUT, os.W_OK)
    if writable and (account() is None or traversable(CHECKOUT)):
        return _made(inside)
    digest = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    return _made(Path(tempfile.gettempdir()) / f"dbbridge-{os.geteuid()}-{digest}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise LocalStackError(f"{folder} belongs to somebody else")
    folder.chmod(0o755)
    return folder


def folder(*names: str) -> Path:
    """A subfolder of the home, made if need be, which every user may enter."""
    path = home()
    for name in names:
        path = path / name
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    return path


def scratch() -> Path:
    """A new folder with a short path, for sockets: theirs may have 107 characters at most."""
    return Path(tempfile.mkdtemp(prefix="dbb-", dir="/tmp"))


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock that other processes of this checkout respect; the kernel frees it."""
    with (folder("locks") / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def give(path: Path, to: Account) -> None:
    """Make the account the owner of a file, or of a folder and all in it."""
    os.chown(path, to.uid, to.gid)
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, to.uid, to.gid, follow_symlinks=False)
