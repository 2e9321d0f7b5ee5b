"""``make demo``: the tour on real servers; exits 0 only if both sides are equal in the end."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import psycopg
import pymysql

from bridge.errors import BridgeError
from compose.demo import shop
from compose.demo.commands import Failed
from compose.demo.databases import NotOurs
from compose.demo.servers import pair
from compose.demo.tour import Figures, Size, Tour
from compose.local import places
from compose.local.errors import LocalStackError

MATCH, MISMATCH, USAGE, SERVER, INTERRUPTED = 0, 1, 2, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; exit codes as dbbridge's."""
    parser = argparse.ArgumentParser(prog="python -m compose.demo", description=__doc__)
    parser.add_argument("--rows", type=int, default=shop.ROWS, help="rows of the shop, about")
    parser.add_argument("--rate", type=float, default=Size.rate, help="transactions a second")
    parser.add_argument("--seed", type=int, default=Size.seed, help="of the customers' choices")
    given = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        return _run(Size(given.rows, given.rate, given.seed))
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return INTERRUPTED
    except NotOurs as error:
        return _refused(
            str(error), "rename it, or name another server (LEGACY_URL, MAIN_URL)", USAGE
        )
    except LocalStackError as error:
        return _refused(str(error), "name running servers by LEGACY_URL and MAIN_URL", SERVER)
    except BridgeError as error:
        return _refused(error.message, error.hint, error.exit_code)
    except (pymysql.MySQLError, psycopg.Error) as error:
        return _refused(f"a server refused: {error}", "check LEGACY_URL and MAIN_URL", SERVER)


def _run(size: Size) -> int:
    """The tour in a folder of its own, which stays only if something went wrong."""
    figures = Figures()
    print("A live MySQL or MariaDB database moves to PostgreSQL, and nobody notices.", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="tour-", dir=places.folder("demo")))
    equal, reason = False, "the two sides differ"
    try:
        with pair() as servers:
            equal = Tour(servers, folder, size, figures).tell()
    except Failed as error:
        reason = str(error)
    finally:
        if equal or sys.exc_info()[0] is not None:
            shutil.rmtree(folder, ignore_errors=True)
    if equal:
        print(f"\ndemo: match, {figures.line()}")
        return MATCH
    print(f"\n  settings and mappings are kept in {folder}")
    print(f"demo: mismatch, {reason} ({figures.line()})")
    return MISMATCH


def _refused(message: str, hint: str, code: int) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    return code


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
