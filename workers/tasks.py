"""The tasks: each bounded, and the same whether it is done once, twice, or half and then again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pymysql
import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from bridge.databases.mysql import source_error
from bridge.databases.postgres import target_error
from bridge.errors import BridgeError, Inconclusive, LeaseLost, ServerUnreachable
from bridge.names import TableName
from bridge.verify.ledger import Ledger
from bridge.verify.records import Run, Superseded
from bridge.verify.tables import Followed
from bridge.verify.work import Interrupted
from workers.bench import Bench
from workers.due import is_due
from workers.leaving import leaving
from workers.names import COPY, FINISH, FOLLOW, START, SWEEP, rounds_of
from workers.receipt import Receipt
from workers.send import Sender, hopeless

TASK_SECONDS = 60.0
"""A task that is not done after so long saves, lets go, and sends itself again."""
ABANDONED_SECONDS = 120.0
"""A run that somebody began, and of which nothing came for so long, keeps no other one waiting."""
FINISH_EXPIRES = 60.0

log = structlog.get_logger()


def register(app: Celery, bench: Bench) -> None:
    """Makes them known to the application."""

    # Celery makes code out of their signatures, so they are no lambdas.
    def sweep_(run: int, schema: str, table: str, number: int) -> None:
        sweep(app, bench, run, schema, table, number)

    def follow_() -> None:
        _told(FOLLOW, lambda: follow(bench))

    def start_(known_since: float) -> None:
        _told(START, lambda: start(app, bench, known_since))

    def finish_(run: int) -> None:
        _told(FINISH, lambda: finish(bench, run))

    def copy_(epoch: int, source_id: str) -> None:
        _told(COPY, lambda: copy(bench, epoch, source_id))

    tasks = {SWEEP: sweep_, FOLLOW: follow_, START: start_, FINISH: finish_, COPY: copy_}
    for name, task in tasks.items():
        app.task(name=name, Request=Receipt)(task)


def sweep(app: Celery, bench: Bench, run_id: int, schema: str, table: str, number: int) -> None:
    """Claims one part and sweeps it, if nobody else is at it."""
    place = (run_id, schema, table, number)
    try:
        again = _sweep(bench, run_id, TableName(schema, table), number)
    except Superseded as error:
        log.warning("part lost", table=f"{schema}.{table}", part=number, reason=error.message)
        return
    except Exception as error:
        known = _known(error)
        log.warning(
            "part failed", table=f"{schema}.{table}", part=number, reason=str(known or error)
        )
        with suppress(BridgeError, psycopg.Error), bench.ledger() as ledger:
            reason = str(known) if known else f"internal error: {error!r}"
            ledger.fail(run_id, TableName(schema, table), number, reason)
        if known is None:
            raise
        return
    if again:
        # Where the broker is away, whoever waits for the run sends it again.
        with suppress(OperationalError, RedisError, OSError):
            app.send_task(SWEEP, place)


def _sweep(bench: Bench, run_id: int, name: TableName, number: int) -> bool:
    """Whether the part is to go on later."""
    with bench.ledger() as ledger:
        run = ledger.unfinished(run_id)
        part = ledger.part(run, name, number) if run else None
        if run is None or part is None or part.done:
            return False
        table = bench.tables([name])[name]
        if not isinstance(table, Followed):
            raise Inconclusive(table.verdict.reason, table.verdict.hint)
        begun = time.monotonic()

        def wanted() -> bool:
            return time.monotonic() - begun < TASK_SECONDS and not leaving()

        try:
            mine = bench.verifier().sweep_part(ledger, run, part, table, wanted)
        except Interrupted:
            log.info("part let go", table=str(name), part=number)
            return not leaving()
        if mine:
            seconds = round(time.monotonic() - begun, 1)
            log.info("part swept", run=run.id, table=str(name), part=number, seconds=seconds)
        return False


def follow(bench: Bench) -> None:
    """One round over what changed lately; a later one goes on where it ends."""
    with bench.ledger() as ledger, ledger.alone("follow") as mine:
        before = ledger.proofs()
        if not mine or not before:
            return
        tables = [t for t in bench.tables(before).values() if isinstance(t, Followed)]
        halt = threading.Event()
        timer = threading.Timer(TASK_SECONDS, halt.set)
        timer.daemon = True
        timer.start()
        try:
            bench.verifier().follow(ledger, tables, halt)
        finally:
            timer.cancel()
        for name, proof in ledger.proofs().items():
            old = before.get(name)
            if old and proof.differences > old.differences:
                log.warning("rows differ", table=str(name), rows=proof.differences)
            if old and proof.obstacle and not old.obstacle:
                log.warning("proof given up", table=str(name), reason=proof.obstacle)


def start(app: Celery, bench: Bench, known_since: float) -> None:
    """Begins a run if one is due; sends what was lost of the run that is under way."""
    with bench.ledger() as ledger, ledger.alone("start") as mine:
        if not mine:
            return
        run, quiet = ledger.newest()
        if run is None or (not run.scheduled and quiet > ABANDONED_SECONDS):
            schedule = bench.settings.celery.schedule
            if is_due(schedule, ledger.last_scheduled(), known_since, time.time()):
                run = _begin(bench, ledger)
        if run is not None and run.via == "celery":
            _tend(app, bench, ledger, run)


def _begin(bench: Bench, ledger: Ledger) -> Run | None:
    settings = bench.settings.celery
    tables = list(bench.tables().values())
    if not any(isinstance(table, Followed) for table in tables):
        return None
    run = bench.verifier().begin(
        ledger,
        tables,
        settings.schedule.level,
        certify=settings.schedule.certify,
        part_rows=settings.part_rows,
        scheduled=True,
    )
    log.info("verification begins", run=run.id, tables=len(tables))
    return run


def _tend(app: Celery, bench: Bench, ledger: Ledger, run: Run) -> None:
    parts = ledger.standing(run)
    tables = bench.tables({part.table for part in parts})
    fit = {name: table for name, table in tables.items() if isinstance(table, Followed)}
    left = [part for part in parts if not part.done and part.table in fit and not hopeless(part)]
    if left:
        Sender(app, bench.pipeline, bench.settings.broker()).send(run, left, fit)
    elif run.scheduled:
        queue = rounds_of(bench.pipeline)
        app.send_task(FINISH, (run.id,), queue=queue, expires=FINISH_EXPIRES)


def finish(bench: Bench, run_id: int) -> None:
    """The verdict of a scheduled run whose parts are done; nothing if it has one."""
    with bench.ledger() as ledger, ledger.alone("finish") as mine:
        run = ledger.unfinished(run_id) if mine else None
        if run is None:
            return
        result = bench.verifier().finish(ledger, run, bench.tables)
        say = log.info if result.verdict == "match" else log.warning
        say("verification ends", run=run.id, verdict=result.verdict, next=result.next)
        for table in result.tables:
            if table.verdict != "match":
                log.warning(
                    table.verdict,
                    table=str(table.table),
                    differing=table.differing,
                    reason=table.reason,
                )


def copy(bench: Bench, epoch: int, source_id: str) -> None:
    """Reads chunks that the daemon of that epoch offers; it calls again while some are free."""
    begun = time.monotonic()

    def wanted() -> bool:
        return time.monotonic() - begun < TASK_SECONDS and not leaving()

    try:
        chunks, rows = bench.reader(epoch, source_id).run(wanted)
    except LeaseLost:
        return  # whoever has the pipeline now calls by himself
    if chunks:
        seconds = round(time.monotonic() - begun, 1)
        log.info("chunks copied", chunks=chunks, rows=rows, seconds=seconds)


def _told(task: str, work: Callable[[], None]) -> None:
    """Does it; says in one line why it cannot be done now. It comes again by itself."""
    try:
        work()
    except Exception as error:
        known = _known(error)
        if known is None:
            raise
        log.warning("task failed", task=task, reason=str(known), hint=known.hint)


def _known(error: Exception) -> BridgeError | None:
    """What the error means to a user; None for one that is our own fault."""
    if isinstance(error, BridgeError):
        return error
    if isinstance(error, psycopg.Error):
        return target_error(error)
    if isinstance(error, pymysql.Error):
        return source_error(error)
    if isinstance(error, (OperationalError, RedisError, OSError)):
        return ServerUnreachable(str(error), "it is tried again")
    return None
