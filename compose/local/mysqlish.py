"""How MySQL and MariaDB are initialised and run; they differ in a handful of options."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pymysql

from compose.local.launch import HOST
from compose.local.processes import run
from compose.local.programs import Program

USER = "root"

# What a source has to have for row-based capture (log-bin, server-id, binlog-*), quick but
# not careless otherwise: a killed server loses nothing, only a machine that crashes does.
OPTIONS = (
    f"--bind-address={HOST}",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--binlog-row-metadata=FULL",
    "--max-allowed-packet=64M",
    "--max-connections=300",
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=256M",
    "--character-set-server=utf8mb4",
    "--default-time-zone=+00:00",
    "--skip-name-resolve",
)
MYSQL_OPTIONS = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--mysqlx=OFF")

# mariadb-install-db makes more roots, without passwords, for the host's own names.
MARIADB_ACCOUNTS = """\
DELETE FROM mysql.global_priv WHERE User = 'root' AND Host NOT IN ('localhost', '%');
FLUSH PRIVILEGES;
"""


def initialise(program: Program, data: Path, password: str) -> None:
    """Make a data directory whose root has this password, from anywhere on this machine."""
    accounts = data.parent / "accounts.sql"
    accounts.touch(mode=0o600)
    accounts.write_text(_accounts(password))
    if program.kind == "mysql":
        words = [*_base(program, data), "--initialize-insecure", f"--init-file={accounts}"]
        run(words, program.environment)
        (data / "auto.cnf").unlink()  # the server's UUID: each copy has to get its own
    else:
        with accounts.open("a") as file:
            file.write(MARIADB_ACCOUNTS)
        words = [str(program.tools / "mariadb-install-db"), "--no-defaults"]
        words += [f"--basedir={program.base}", f"--datadir={data}", f"--extra-file={accounts}"]
        words += ["--auth-root-authentication-method=normal", "--skip-test-db", *_as_root()]
        run(words, program.environment)
    accounts.unlink()


def _accounts(password: str) -> str:
    """One statement a line, as --init-file wants it; FLUSH makes them work in bootstrap too."""
    return (
        "FLUSH PRIVILEGES;\n"
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        f"CREATE USER 'root'@'%' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;\n"
    )


def command(
    program: Program, data: Path, port: int, sockets: Path, options: Sequence[str]
) -> tuple[str, ...]:
    """The words that start a server on this data; the caller's options win, being last."""
    words = [*_base(program, data), *OPTIONS]
    words += MYSQL_OPTIONS if program.kind == "mysql" else ()
    words += [f"--port={port}", f"--socket={sockets}/s", f"--pid-file={sockets}/pid"]
    # A server that starts deletes what lies in its tmpdir, other servers' temporary tables too.
    words.append(f"--tmpdir={sockets}")
    words += [f"--server-id={random.randint(1, 2**31)}", *options]
    return tuple(words)


def _base(program: Program, data: Path) -> list[str]:
    words = [*program.command, "--no-defaults", f"--basedir={program.base}", f"--datadir={data}"]
    words += [*_as_root(), "--secure-file-priv="]
    if program.kind == "mysql":
        words.append(f"--lc-messages-dir={program.base}/share/mysql")
        words.append(f"--plugin-dir={program.base}/lib/mysql/plugin")
    return words


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def probe(host: str, port: int, user: str, password: str) -> str | None:
    """The version of the server if it answers already."""
    try:
        connection = pymysql.connect(
            host=host, port=port, user=user, password=password, connect_timeout=5
        )
    except (pymysql.OperationalError, OSError):
        return None
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        row = cursor.fetchone()
        return str(row[0]) if row else None
