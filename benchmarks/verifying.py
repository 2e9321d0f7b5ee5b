"""How long a proof takes, beside the bare scan of the slower server and beside reladiff.

    python -m benchmarks.verifying SOURCE_URL TARGET_URL [--rows N] [--rounds 3] [--reladiff BIN]

The URLs are an administrator's; databases named ``bench_verify`` are made on both and dropped. The
tables are copied first; then `dbbridge sync` goes on beside all that is measured, on a source that
nobody writes, since differences are only sure when the stream has passed them. Each round runs, one
after the other:

- on either server one `SELECT COUNT(*), SUM(digest)` over the whole table of nine columns, with the
  hash of a row that verify uses where a range differs: the slower one is the limit; then both at
  once, since servers that share a machine slow each other down;
- `dbbridge verify`, the whole process, on equal tables;
- the same with 1,000 rows changed, removed or added in the target, all over the table;
- `dbbridge verify` of a table of five columns, and reladiff on the same table, with the same
  columns (MariaDB only: it takes MySQL's MD5, which MySQL 9.6 no longer has).

`--reladiff` names its program; without it, it is installed into an environment that is thrown away
(pip install 'reladiff[mysql,postgresql]'). What counts is the ratio of times of one round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rig import Rig, Run, ratio, rig, run
from bridge.databases.endpoint import Endpoint
from bridge.verify.source import source_session
from bridge.verify.subject import Subject
from bridge.verify.tables import Followed, prepare, states
from bridge.verify.target import target_session

NAME = "bench_verify"
DIFFERENCES = 1_000
COLUMNS = ("customer", "amount", "note", "placed")
"""Of `five`, beside its key."""
SPOIL = """
    UPDATE {t} SET amount = amount + 0.01 WHERE id % {step} = 1 AND id / {step} % 4 = 0;
    UPDATE {t} SET note = note || 'x' WHERE id % {step} = 1 AND id / {step} % 4 = 1;
    UPDATE {t} SET placed = placed + interval '1 microsecond', gift = gift + 1
        WHERE id % {step} = 1 AND id / {step} % 4 = 2;
    DELETE FROM {t} WHERE id % {step} = 1 AND id / {step} % 4 = 3;
"""


@dataclass
class Rounds:
    """What was measured."""

    source: list[float] = field(default_factory=list)
    target: list[float] = field(default_factory=list)
    both: list[float] = field(default_factory=list)
    clean: list[Run] = field(default_factory=list)
    spoilt: list[Run] = field(default_factory=list)
    five: list[Run] = field(default_factory=list)
    reladiff: list[Run] = field(default_factory=list)

    @property
    def slower(self) -> list[float]:
        """The limit: the slower side's bare scan of each round."""
        return [max(pair) for pair in zip(self.source, self.target, strict=True)]


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reladiff", metavar="BIN", help="its program; '' leaves it out")
    options = parser.parse_args(words)
    tables = {"t": options.rows, "five": options.rows}
    with reladiff(options.reladiff) as peer, rig(options.source, options.target, NAME, tables) as r:
        r.begin("t", "five")
        r.verb("sync", "--until", "caught-up")
        with closing(r.postgres()) as conn:
            # What a first read of new rows writes is nobody's work to be measured.
            conn.execute("VACUUM ANALYZE")
        rounds = Rounds()
        with r.syncing():
            for _ in range(options.rounds):
                one_round(r, rounds, peer, options.rows)
        report(rounds, options.rows)


@contextmanager
def reladiff(given: str | None) -> Iterator[str]:
    """Its program; '' if there is none."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = Path(folder) / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", "reladiff[mysql,postgresql]"], check=True)
        yield str(Path(folder) / "bin" / "reladiff")


def one_round(r: Rig, rounds: Rounds, peer: str, rows: int) -> None:
    """Everything once, with the verdicts looked at."""
    subject = subject_of(r, "t")
    rounds.source.append(scan_source(r, subject))
    rounds.target.append(scan_target(r, subject))
    rounds.both.append(scan_both(r, subject))
    rounds.clean.append(r.verb("verify", "t", "--format", "json"))
    assert verdict(rounds.clean[-1])["source_rows"] == rows
    with spoilt(r, rows):
        rounds.spoilt.append(r.verb("verify", "t", "--format", "json", code=1))
        _look_at(verdict(rounds.spoilt[-1]))
    rounds.five.append(r.verb("verify", "five", "--format", "json"))
    if peer:
        rounds.reladiff.append(by_reladiff(r, peer))


def verdict(done: Run) -> Any:
    """The one table's."""
    return json.loads(done.out)["tables"][0]


def _look_at(found: Any) -> None:
    """Every difference is there, by its key, with its columns."""
    assert found["differing"] == DIFFERENCES, found["differing"]
    kinds = [d["kind"] for d in found["differences"]]
    assert kinds.count("missing") == DIFFERENCES // 4, kinds
    named = {tuple(c["name"] for c in d["columns"]) for d in found["differences"]}
    assert named == {(), ("amount",), ("note",), ("gift", "placed")}, named


@contextmanager
def spoilt(r: Rig, rows: int) -> Iterator[None]:
    """Meanwhile a thousand rows all over the target's table differ."""
    table, step = f"{NAME}.t", rows // DIFFERENCES
    with closing(r.postgres()) as conn:
        kept = f"CREATE TABLE public.kept AS SELECT * FROM {table} WHERE id % {step} = 1"
        conn.execute(kept.encode())
        conn.execute(SPOIL.format(t=table, step=step).encode())
        try:
            yield
        finally:
            conn.execute(f"DELETE FROM {table} WHERE id % {step} = 1".encode())
            conn.execute(f"INSERT INTO {table} SELECT * FROM public.kept".encode())
            conn.execute("DROP TABLE public.kept")
            conn.execute(f"VACUUM {table}".encode())


def subject_of(r: Rig, table: str) -> Subject:
    """The table as verify reads it."""
    with closing(r.mysql()) as source, closing(r.postgres()) as target:
        known = states(target, NAME)
        found = next(
            each
            for each in prepare(source, known, {}, known)
            if isinstance(each, Followed) and each.plan.source.table == table
        )
    return Subject.of(found.plan, found.relation, "values")


def scan_source(r: Rig, subject: Subject) -> float:
    """Seconds of the source's bare scan."""
    with closing(source_session(r.mysql())) as conn, conn.cursor() as cursor:
        began = time.monotonic()
        cursor.execute(subject.source(["COUNT(*)", f"SUM({subject.hash.source})"]))
        cursor.fetchall()
        return time.monotonic() - began


def scan_target(r: Rig, subject: Subject) -> float:
    """Seconds of the target's bare scan, with as many parallel workers as the server gives it."""
    with closing(target_session(r.postgres())) as conn:
        began = time.monotonic()
        conn.execute(
            subject.target(["count(*)", f"sum({subject.hash.target})"]).encode(), []
        ).fetchall()
        return time.monotonic() - began


def scan_both(r: Rig, subject: Subject) -> float:
    """Seconds of both bare scans side by side."""
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(scan, r, subject) for scan in (scan_source, scan_target)]:
            each.result()
    return time.monotonic() - began


def by_reladiff(r: Rig, peer: str) -> Run:
    """The peer on the table of five columns; ends the benchmark if it fails or sees differences."""
    columns = [word for column in COLUMNS for word in ("-c", column)]
    places = [_uri(r.source, "mysql"), "five", _uri(r.target, "postgresql"), f"{NAME}.five"]
    done = run([peer, *places, "-k", "id", *columns])
    if done.code or done.out.strip():
        sys.exit(f"reladiff ended with {done.code}: {done.out[-500:]}{done.err[-1000:]}")
    return done


def _uri(endpoint: Endpoint, scheme: str) -> str:
    login = f"{endpoint.user}:{endpoint.password.reveal()}"
    return f"{scheme}://{login}@{endpoint.host}:{endpoint.port}/{endpoint.database}"


def report(rounds: Rounds, rows: int) -> None:
    """Each figure beside its peer."""
    print(f"{rows:,} rows; medians of {len(rounds.clean)} rounds")
    print(
        f"bare scan: source {median(rounds.source):.2f} s, target {median(rounds.target):.2f} s;"
        f" the slower {median(rounds.slower):.2f} s; both at once {median(rounds.both):.2f} s"
    )
    clean, spoilt = seconds(rounds.clean), seconds(rounds.spoilt)
    inner = [verdict(each)["seconds"] for each in rounds.clean]
    print(
        f"dbbridge verify: {median(clean):.2f} s, {ratio(clean, rounds.slower):.2f} times the"
        f" slower scan (without the process's start {ratio(inner, rounds.slower):.2f}),"
        f" {ratio(clean, rounds.both):.2f} times both at once;"
        f" at most {memory(rounds.clean):.0f} MB resident"
    )
    print(
        f"with {DIFFERENCES:,} differences: {median(spoilt):.2f} s,"
        f" {ratio(spoilt, clean):.2f} times that; at most {memory(rounds.spoilt):.0f} MB resident"
    )
    five = seconds(rounds.five)
    print(f"five columns: {median(five):.2f} s")
    if rounds.reladiff:
        theirs = seconds(rounds.reladiff)
        print(
            f"reladiff: {median(theirs):.2f} s, {ratio(theirs, five):.2f} times as long;"
            f" at most {memory(rounds.reladiff):.0f} MB resident"
        )


def seconds(runs: Sequence[Run]) -> list[float]:
    """Of the whole processes."""
    return [each.seconds for each in runs]


def memory(runs: Sequence[Run]) -> float:
    """Megabytes that were resident at most."""
    return max(each.megabytes for each in runs)


if __name__ == "__main__":
    main(sys.argv[1:])
