"""How fast a table is copied, beside the limit of one PostgreSQL backend and beside pgloader.

    python -m benchmarks.copying SOURCE_URL TARGET_URL [--rows N] [--rounds 3]

The URLs are an administrator's; databases named ``bench_copy`` are made on both and dropped. Each
round runs, one after the other, each into a fresh table:

- `psql \\copy` of the same rows from a local file: what PostgreSQL takes over one connection;
- `dbbridge sync --until copied`, the whole process, while nothing streams;
- the same beside a live stream: another table, copied before, is changed some hundreds of times a
  second, and the same process streams these changes;
- pgloader, where it is installed and can talk to the source (not to MySQL 8.4 and later).

What counts is the ratio of times of one round, since machines are noisy; the median is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.rig import LIVE_ROWS, Rig, Run, program, ratio, rig, run
from bridge.databases import postgres

NAME = "bench_copy"
PGLOADER = """
LOAD DATABASE FROM {source} INTO {target}
INCLUDING ONLY TABLE NAMES MATCHING 't';
"""


@dataclass
class Rounds:
    """What was measured."""

    psql: list[float] = field(default_factory=list)
    quiet: list[Run] = field(default_factory=list)
    beside: list[Run] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    pgloader: list[Run] = field(default_factory=list)
    refused: str = ""


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300.0, help="changes a second")
    options = parser.parse_args(words)
    tables = {"t": options.rows, "live": LIVE_ROWS}
    with (
        rig(options.source, options.target, NAME, tables) as made,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder) / "rows"
        made.begin("t")
        made.verb("sync", "--until", "copied")
        made.psql(f"\\copy {NAME}.t to '{file}'")
        print(f"{options.rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB of COPY text")
        rounds = Rounds()
        for _ in range(options.rounds):
            one_round(made, rounds, file, options.rows, options.rate)
        report(rounds)


def one_round(made: Rig, rounds: Rounds, file: Path, rows: int, rate: float) -> None:
    """Each contestant once, into a fresh table; the rows are counted."""
    made.begin("t")
    rounds.psql.append(made.psql(f"\\copy {NAME}.t from '{file}'"))
    assert made.count("t") == rows
    made.begin("t")
    rounds.quiet.append(made.verb("sync", "--until", "copied"))
    assert made.count("t") == rows
    made.begin("live")
    made.verb("sync", "--until", "caught-up")
    made.follow("live", "t")
    with made.writing(rate) as written:
        before = written[0]
        rounds.beside.append(made.verb("sync", "--until", "copied"))
        rounds.rates.append((written[0] - before) / rounds.beside[-1].seconds)
    assert made.count("t") == rows
    if not rounds.refused:
        done = by_pgloader(made, rows)
        if isinstance(done, str):
            rounds.refused = done
        else:
            rounds.pgloader.append(done)


def by_pgloader(made: Rig, rows: int) -> Run | str:
    """The peer, which makes table and key itself; or why it cannot."""
    source, target = made.source, made.target
    with closing(made.postgres()) as conn:
        conn.execute("DROP SCHEMA dbbridge CASCADE")
        conn.execute(f"DROP SCHEMA {NAME} CASCADE".encode())
        conn.execute("CHECKPOINT")
    with tempfile.NamedTemporaryFile("w", suffix=".load") as commands:
        commands.write(
            PGLOADER.format(
                source=f"mysql://{source.user}:{source.password.reveal()}@{source.host}"
                f":{source.port}/{NAME}",
                target=f"postgresql://{target.user}:{target.password.reveal()}@{target.host}"
                f":{target.port}/{NAME}",
            )
        )
        commands.flush()
        try:
            done = run([program("pgloader"), commands.name])
        except subprocess.SubprocessError as error:
            return str(error)
    with closing(postgres.connect(target, autocommit=True)) as conn:
        there = conn.execute("SELECT to_regclass(%s)", [f"{NAME}.t"]).fetchone()
    if not there or there[0] is None or made.count("t") != rows:
        return (done.out + done.err).strip().splitlines()[-1][:200]
    return done


def report(rounds: Rounds) -> None:
    """Each figure beside its peer."""
    print(f"psql \\copy from a file: {median(rounds.psql):.2f} s")
    rate = median(rounds.rates)
    for what, runs in (
        ("dbbridge sync --until copied", rounds.quiet),
        (f"the same beside a stream of {rate:.0f} changes/s", rounds.beside),
        ("pgloader", rounds.pgloader),
    ):
        if runs:
            times = [run.seconds for run in runs]
            print(
                f"{what}: {median(times):.2f} s, {ratio(times, rounds.psql):.2f} times psql;"
                f" at most {max(run.megabytes for run in runs):.0f} MB resident"
            )
    if rounds.pgloader:
        times = [run.seconds for run in rounds.pgloader]
        faster = ratio(times, [run.seconds for run in rounds.quiet])
        print(f"pgloader takes {faster:.2f} times as long as dbbridge")
    else:
        print(f"pgloader could not take part: {rounds.refused}")


if __name__ == "__main__":
    main(sys.argv[1:])
