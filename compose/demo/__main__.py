"""``make demo``: the tour on real servers; exits 0 only if both sides are equal in the end."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import psycopg
import pymysql

from bridge.errors import BridgeError
from compose.demo import servers, shop
from compose.demo.binlog import Binlog
from compose.demo.commands import Failed
from compose.demo.databases import NotOurs
from compose.demo.kafka import Kafka
from compose.demo.scene import Figures, Scene, Size
from compose.demo.servers import PAIR, PIPED, VARIABLES, Pair
from compose.demo.tour import Tour, Way
from compose.local import places
from compose.local.errors import LocalStackError

MATCH, MISMATCH, USAGE, SERVER, INTERRUPTED = 0, 1, 2, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; exit codes as dbbridge's."""
    parser = argparse.ArgumentParser(prog="python -m compose.demo", description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="from MySQL, by Debezium and Kafka")
    parser.add_argument("--rows", type=int, default=shop.ROWS, help="rows of the shop, about")
    parser.add_argument("--rate", type=float, default=Size.rate, help="transactions a second")
    parser.add_argument("--seed", type=int, default=Size.seed, help="of the customers' choices")
    given = parser.parse_args(arguments)
    named = " and ".join(VARIABLES[kind] for kind in (PIPED if given.kafka else PAIR))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        return _run(Size(given.rows, given.rate, given.seed), kafka=given.kafka)
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return INTERRUPTED
    except NotOurs as error:
        return _refused(str(error), f"rename it, or name another server ({named})", USAGE)
    except LocalStackError as error:
        return _refused(str(error), f"or name running servers by {named}", SERVER)
    except BridgeError as error:
        return _refused(error.message, error.hint, error.exit_code)
    except (pymysql.MySQLError, psycopg.Error) as error:
        return _refused(f"a server refused: {error}", f"check {named}", SERVER)


def _run(size: Size, *, kafka: bool) -> int:
    """The tour in a folder of its own, which stays only if something went wrong."""
    figures = Figures()
    print("A live MySQL or MariaDB database moves to PostgreSQL, and nobody notices.", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="tour-", dir=places.folder("demo")))
    equal, reason = False, "the two sides differ"
    try:
        with _ways(kafka=kafka) as (pair, way):
            equal = Tour(Scene(pair, folder, size, figures), way).tell()
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


@contextlib.contextmanager
def _ways(*, kafka: bool) -> Iterator[tuple[Pair, Way]]:
    """The servers, and how changes come from the source."""
    if kafka:
        with servers.piped() as (pair, pipes):
            yield pair, Kafka(pipes)
    else:
        with servers.pair() as pair:
            yield pair, Binlog()


def _refused(message: str, hint: str, code: int) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    return code


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
