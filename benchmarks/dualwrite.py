"""What a commit of a single row takes through the dual-write layer, beside plain SQLAlchemy.

    python -m benchmarks.dualwrite SOURCE_URL TARGET_URL [--commits 1000] [--rounds 3]

The URLs are an administrator's; databases named ``bench_dualwrite`` are made on both and dropped.
Each round takes both modes in turn, and in each of them commits inserts and updates alternately
without and with the layer; then as many inserts over 1 and 8 threads, one way after the other. No
daemon streams meanwhile. What counts is the ratio to the plain commits beside it, since machines
are noisy.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from statistics import median, quantiles
from typing import Any, Literal

from sqlalchemy import URL, Engine, create_engine, insert, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from benchmarks.rig import LIVE_ROWS, Rig, ratio, rig
from bridge.databases.endpoint import Endpoint
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.opening import open_dual_write
from bridge.dualwrite.session import dual_sessionmaker

NAME = "bench_dualwrite"
MODES = ("cdc", "provisional")
WARM = 20
"""Commits of each kind that nobody counts: sessions are opened, statements compiled."""
POOL = 8

Verb = Literal["insert", "update"]
VERBS: tuple[Verb, ...] = ("insert", "update")
Make = sessionmaker[Any]


class Base(DeclarativeBase):
    """The application's models."""


class Live(Base):
    """A row of the rig's small table."""

    __tablename__ = "live"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int]
    note: Mapped[str]


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(words)
    keys = count(10 * LIVE_ROWS)
    rates: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    with rig(options.source, options.target, NAME, {"live": 1000}) as made:
        made.begin("live")
        made.verb("sync", "--until", "caught-up")
        with layer(made) as (plain, dual):
            ways: dict[str, Make] = {"plain": sessionmaker(plain), "layer": dual_sessionmaker(dual)}
            for _ in range(options.rounds):
                for mode in MODES:
                    made.verb("cutover", "mode", mode)
                    time.sleep(1.1)  # what the layer knows is a second old at most
                    for verb in VERBS:
                        beside(ways, mode, verb, keys, options.commits)
                    for threads in (1, POOL):
                        for way, make in ways.items():
                            rate = together(make, keys, options.commits, threads)
                            rates[mode, way, threads].append(rate)
            print("operations:", dict(dual.early.counts.by))
    for mode in MODES:
        for threads in (1, POOL):
            alone, ours = (rates[mode, way, threads] for way in ways)
            print(
                f"{mode}, {threads} threads: plain {median(alone):.0f},"
                f" layer {median(ours):.0f} commits/s: {ratio(ours, alone):.0%}"
            )


@contextmanager
def layer(made: Rig) -> Iterator[tuple[Engine, DualWrite]]:
    """An engine without the layer, and the layer between two others."""
    os.environ["BENCH_SOURCE"] = made.source.password.reveal()
    os.environ["BENCH_TARGET"] = made.target.password.reveal()
    made.verb("cutover", "mode", "cdc")
    here, there = _url(made.source, "mysql+pymysql"), _url(made.target, "postgresql+psycopg")
    plain, source = (create_engine(here, pool_size=POOL) for _ in range(2))
    target = create_engine(there, connect_args={"options": f"-csearch_path={made.name}"})
    dual = open_dual_write(made.folder / "bridge.yaml", source=source, target=target)
    try:
        yield plain, dual
    finally:
        dual.close()
        for engine in (plain, source, target):
            engine.dispose()


def _url(endpoint: Endpoint, driver: str) -> URL:
    return URL.create(
        driver,
        endpoint.user,
        endpoint.password.reveal(),
        endpoint.host,
        endpoint.port,
        endpoint.database,
    )


def commit(make: Make, verb: Verb, key: int) -> float:
    """Seconds of a transaction of one statement, from its session to its end."""
    began = time.perf_counter()
    with make.begin() as session:
        if verb == "insert":
            session.execute(insert(Live).values(id=key, n=0, note="note"))
        else:
            row = update(Live).where(Live.id == 1 + key % 1000)
            session.execute(row.values(n=Live.n + 1))
    return time.perf_counter() - began


def beside(ways: dict[str, Make], mode: str, verb: Verb, keys: Iterator[int], commits: int) -> None:
    """Commits both ways in turn, and prints how long each took."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(WARM + commits):
        for way, make in ways.items():
            took[way].append(commit(make, verb, next(keys)))
    found = {way: quantiles(seconds[WARM:], n=100) for way, seconds in took.items()}
    figures = ", ".join(
        f"{way} p50 {1000 * cuts[49]:.2f} p99 {1000 * cuts[98]:.2f} ms"
        for way, cuts in found.items()
    )
    more = found["layer"][49] / found["plain"][49]
    print(f"{mode} {verb}: {figures}, {more:.2f} times at p50", flush=True)


def together(make: Make, keys: Iterator[int], commits: int, threads: int) -> float:
    """Inserts a second, over so many threads."""
    shares = [[next(keys) for _ in range(commits // threads)] for _ in range(threads)]
    ready = threading.Barrier(threads + 1)

    def work(mine: list[int]) -> None:
        commit(make, "update", 0)
        ready.wait()
        for key in mine:
            commit(make, "insert", key)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in shares]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(map(len, shares)) / (time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1:])
