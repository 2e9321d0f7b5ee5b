"""How one server is run: kept beside its data, so that it can be started there again."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Launch:
    """Everything that a start on the same data and port needs."""

    kind: str
    port: int
    user: str
    password: str
    command: tuple[str, ...]
    environment: dict[str, str]
    step_down: bool
    """Whether the process runs as the unprivileged account when we are root."""

    def save(self, folder: Path) -> None:
        """Write it into the server's folder; it holds the password, so only for us to read."""
        path = _file(folder)
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Launch:
        """Read what ``save`` wrote."""
        fields = json.loads(_file(folder).read_text())
        return cls(**{**fields, "command": tuple(fields["command"])})


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _file(folder: Path) -> Path:
    return folder / "launch.json"


def saved(folder: Path) -> bool:
    """Whether a server's data lie in the folder already."""
    return _file(folder).exists()


def data(folder: Path) -> Path:
    """The data directory inside a server's folder."""
    return folder / "data"


def log(folder: Path) -> Path:
    """The log inside a server's folder."""
    return folder / "server.log"
