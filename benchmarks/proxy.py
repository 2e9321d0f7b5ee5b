"""How many single rows a second go through the proxy, beside a bare loop of the same two commits.

    python -m benchmarks.proxy SOURCE_URL TARGET_URL [--rows 4000] [--writers 16] [--proxies 1]

The URLs are an administrator's; databases named ``bench_proxy`` are made on both and dropped. Each
of `--rounds` inserts as many rows in both ways, by the same number of writers at once, each with
connections of its own that are kept: by PyMySQL and psycopg, one commit after the other, and over
HTTP/1.1, where a proxy does it (mode provisional: checked epoch, recorded operation, claim). The
clock stops for both when the last row is in the target: the proxy answers after the first commit.
Writers are spread over the proxies. No daemon streams meanwhile. What counts is the ratio of one
round, since machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection
from statistics import median, quantiles

from benchmarks.rig import CHECKOUT, Rig, ratio, rig

NAME = "bench_proxy"
TOKEN = "bench-token"  # noqa: S105
SETTINGS = f"""
proxy:
  listen: 127.0.0.1:0
  tokens: [{{name: bench, token: {TOKEN}, allow: ["*:*"]}}]
"""
PATIENCE = 60.0
Insert = Callable[[int], None]


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--proxies", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(words)
    bare: list[float] = []
    ours: list[float] = []
    with (
        rig(options.source, options.target, NAME, {"live": 10}) as made,
        proxies(made, options.proxies) as ports,
    ):
        first = 1000
        for _ in range(options.rounds + 1):
            for name, rates, one in (("bare", bare, by_hand), ("proxy", ours, over_http)):
                took, seconds = spread(made, one, ports, first, options.rows, options.writers)
                first += options.rows
                rates.append(options.rows / seconds)
                cuts = quantiles(took, n=100)
                print(
                    f"{name}: {rates[-1]:.0f} rows/s, p50 {1000 * cuts[49]:.2f} ms,"
                    f" p99 {1000 * cuts[98]:.2f} ms",
                    flush=True,
                )
    bare, ours = bare[1:], ours[1:]  # the first round opens the sessions
    print(f"bare {median(bare):.0f}, proxy {median(ours):.0f} rows/s: {ratio(ours, bare):.0%}")


def spread(
    made: Rig,
    one: Callable[[Rig, int], Iterator[Insert]],
    ports: Sequence[int],
    first: int,
    rows: int,
    threads: int,
) -> tuple[list[float], float]:
    """How long each row took, and all together (seconds)."""
    took: list[float] = []
    ready = threading.Barrier(threads + 1)

    def work(number: int) -> None:
        with contextmanager(one)(made, ports[number % len(ports)]) as insert:
            ready.wait()
            for key in range(first + number, first + rows, threads):
                began = time.perf_counter()
                insert(key)
                took.append(time.perf_counter() - began)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    with closing(made.postgres()) as target:
        query = f"SELECT count(*) FROM {NAME}.live WHERE id >= {first}".encode()
        while (there := target.execute(query).fetchone()) != (rows,):
            if time.perf_counter() - began > PATIENCE:
                sys.exit(f"of {rows} rows the target has {there}: the rest was left to the stream")
            time.sleep(0.002)
    return took, time.perf_counter() - began


def by_hand(made: Rig, _: int) -> Iterator[Insert]:
    """A commit in MySQL and one in PostgreSQL, without anything that keeps them together."""
    with closing(made.mysql()) as source, closing(made.postgres()) as target:
        source.autocommit(False)
        target.autocommit = False
        cursor = source.cursor()
        there = f"INSERT INTO {NAME}.live VALUES (%s, %s, %s)".encode()

        def insert(key: int) -> None:
            cursor.execute("INSERT INTO live VALUES (%s, %s, %s)", (key, 1, "note"))
            source.commit()
            target.execute(there, (key, 1, "note"))
            target.commit()

        yield insert


def over_http(made: Rig, port: int) -> Iterator[Insert]:
    """One request a row."""
    columns = [name for (name,) in _columns(made)]
    head = (
        "POST /v1/tables/live/rows HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()
    with closing(create_connection(("127.0.0.1", port))) as sock:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

        def insert(key: int) -> None:
            row = dict(zip(columns, (key, 1, "note"), strict=True))
            body = json.dumps({"rows": [row]}).encode()
            sock.sendall(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            answer = b""
            while b"}]" not in answer or not answer.endswith(b"}"):
                part = sock.recv(65536)
                if not part:
                    raise RuntimeError(f"the proxy hung up: {answer!r}")
                answer += part
            if not answer.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(answer.decode())

        yield insert


def _columns(made: Rig) -> list[tuple[str]]:
    with closing(made.mysql()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = 'live' ORDER BY ordinal_position"
        )
        return list(cursor.fetchall())


@contextmanager
def proxies(made: Rig, number: int) -> Iterator[list[int]]:
    """Meanwhile so many run; their ports."""
    made.begin("live")
    made.verb("sync", "--until", "caught-up")
    settings = made.folder / "bridge.yaml"
    settings.write_text(settings.read_text() + SETTINGS)
    made.verb("cutover", "mode", "provisional")
    with ExitStack() as stack:
        yield [stack.enter_context(proxy(made, made.folder / f"{n}.log")) for n in range(number)]


@contextmanager
def proxy(made: Rig, log: Path) -> Iterator[int]:
    """One of them."""
    variables = {
        "PYTHONPATH": str(CHECKOUT),
        "BENCH_SOURCE": made.source.password.reveal(),
        "BENCH_TARGET": made.target.password.reveal(),
    }
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge.cli.start", "proxy"],
            cwd=made.folder,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout
    try:
        found = re.search(rb":(\d+)\s*$", process.stdout.readline())
        if not found:
            sys.exit(log.read_text())
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main(sys.argv[1:])
