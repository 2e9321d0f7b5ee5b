"""How PostgreSQL is initialised and run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from compose.local import places
from compose.local.launch import HOST
from compose.local.processes import run
from compose.local.programs import Program

USER = "postgres"

# fsync=off: these servers hold nothing that has to outlive a crash of the machine.
SETTINGS = {
    "listen_addresses": HOST,
    "wal_level": "logical",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
    "max_connections": "100",
    "max_replication_slots": "30",
    "max_wal_senders": "30",
    "synchronous_commit": "on",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def initialise(program: Program, data: Path, password: str) -> None:
    """Make a data directory whose superuser has this password."""
    account = places.account()
    secret = data.parent / "password.init"
    secret.touch(mode=0o600)
    secret.write_text(password)
    data.mkdir()
    if account:
        places.give(secret, account)
        places.give(data, account)
    words = [str(program.tools / "initdb"), "-D", str(data), "-U", USER, f"--pwfile={secret}"]
    words += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    run(words, program.environment, account)
    secret.unlink()


def command(
    program: Program, data: Path, port: int, sockets: Path, options: Sequence[str]
) -> tuple[str, ...]:
    """The words that start a server on this data; the caller's options win, being last."""
    words = [*program.command, "-D", str(data), "-p", str(port)]
    for name, value in {**SETTINGS, "unix_socket_directories": str(sockets)}.items():
        words += ["-c", f"{name}={value}"]
    return (*words, *options)


def probe(host: str, port: int, user: str, password: str) -> str | None:
    """The version of the server if it takes connections already."""
    try:
        with psycopg.connect(
            host=host, port=port, user=user, password=password, dbname="postgres", connect_timeout=5
        ) as connection:
            row = connection.execute("SHOW server_version").fetchone()
            return str(row[0]) if row else None
    except psycopg.OperationalError:
        return None
