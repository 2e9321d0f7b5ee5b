"""Every planted fault is found under load, with its key and column, and nothing else is."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.endtoend import tables
from tests.endtoend.faults import Faults
from tests.endtoend.project import Daemon, Project
from tests.endtoend.traffic import Traffic

MOST_FAULTS = 1_000
FEW_FAULTS = 120
LOAD = 300.0
"""Transactions a second in a soak; each changes a few rows."""
RATE = 500.0
"""Changes a second of the source that a soak must sustain, at the least."""


def start(project: Project, seed: int) -> tuple[Faults, Daemon]:
    """Tables that rest and tables that do not, followed by a daemon."""
    faults = Faults(project.source, project.target, random.Random(seed))
    tables.create(project.source, bulk=20_000, seed=seed)
    faults.create()
    project.begin()
    project.consent_to_lock(tables.KEYLESS)
    project.consent_to_lock("loose")
    daemon = project.sync()
    project.wait_streaming(daemon)
    return faults, daemon


def verify(project: Project) -> Any:
    """What verify says; a run in which restless rows stay undecided is one, too."""
    done = project.run("verify", "--format", "json", code=None, timeout=600)
    assert done.code in (0, 1, 3), done
    return done.json


def judge(faults: Faults, document: Any) -> None:
    """Exactly what was planted."""
    found = faults.found(document)
    lost = {key: each for key, each in faults.expected.items() if found.get(key) != each}
    assert not lost, {key: (each, found.get(key)) for key, each in lost.items()}
    assert found.keys() == faults.expected.keys()
    for table in document["tables"]:
        name = table["table"].partition(".")[2]
        if name == "loose":
            kinds: Counter[str] = Counter()
            for one in table["differences"]:
                kinds[one["kind"]] += one.get("rows", 1)
            assert kinds == faults.loose
        if not name.startswith(("still", "pair", "word", "page", "loose")):
            assert table["verdict"] != "mismatch", table


def test_what_is_planted_is_found(project: Project, seed: int) -> None:
    faults, _ = start(project, seed)
    faults.plant(FEW_FAULTS)
    with Traffic(project.source, seed, writers=3, rate=100) as traffic:
        judge(faults, verify(project))
        traffic.stop()


@pytest.mark.soak
def test_a_thousand_faults_planted_under_load(project: Project, seed: int) -> None:
    seconds = float(os.environ["DBBRIDGE_SOAK_DURATION"]) / 2
    faults, daemon = start(project, seed)
    halt = threading.Event()
    failures: list[BaseException] = []

    def plant() -> None:
        try:
            while not halt.wait(seconds / 100) and sum(faults.planted.values()) < MOST_FAULTS:
                faults.plant(MOST_FAULTS // 50)
        except BaseException as error:  # noqa: BLE001 (raised below)
            failures.append(error)

    planter = threading.Thread(target=plant)
    with Traffic(project.source, seed, writers=4, rate=LOAD) as traffic:
        planter.start()
        rate, runs = _meanwhile(project, seconds)
        halt.set()
        planter.join()
        assert not failures, failures
        faults.plant(MOST_FAULTS - sum(faults.planted.values()))
        judge(faults, verify(project))
        traffic.stop()
    assert daemon.running
    print(f"{dict(faults.planted)}: all found, none invented; {rate:.0f} changes/s, {runs} runs")
    assert rate >= RATE


@pytest.mark.soak
def test_no_alarm_where_nothing_is_wrong(project: Project, seed: int) -> None:
    seconds = float(os.environ["DBBRIDGE_SOAK_DURATION"])
    start(project, seed)
    with Traffic(project.source, seed, writers=4, rate=LOAD) as traffic:
        rate, runs = _meanwhile(project, seconds, alarms=False)
        traffic.stop()
    print(f"no alarm in {runs} runs of verify at {rate:.0f} changes/s")
    assert rate >= RATE


def _meanwhile(project: Project, seconds: float, *, alarms: bool = True) -> tuple[float, int]:
    """Verifies again and again; the source's changes a second, and how often it was verified."""
    began, before, runs = time.monotonic(), _changes(project), 0
    while time.monotonic() - began < seconds:
        document = verify(project)
        runs += 1
        for table in document["tables"]:
            assert alarms or table["verdict"] != "mismatch", table
    return (_changes(project) - before) / (time.monotonic() - began), runs


def _changes(project: Project) -> int:
    """Changes of rows that the stream has applied."""
    names = ("inserts", "updates", "deletes")
    return sum(int(table[name]) for table in project.status()["tables"] for name in names)
