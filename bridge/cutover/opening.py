"""A group in one operator's hands: the sessions, and what is known of the group by them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pymysql

from bridge.config import Settings
from bridge.config.models import CutoverSettings
from bridge.cutover.attempt import Attempt
from bridge.cutover.fences.accounts import Account
from bridge.cutover.fences.base import Subject
from bridge.cutover.fences.choose import choose
from bridge.cutover.fences.target import TargetFence
from bridge.cutover.finalcheck import Checker, Opened
from bridge.cutover.journal import TAKEN_SECONDS, Journal
from bridge.cutover.wayback import StreamBack
from bridge.cutover.work import Work
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.dualwrite.groups import group_of
from bridge.dualwrite.opening import database_of
from bridge.errors import ConfigError, ServerUnreachable
from bridge.mapping.files import read_all
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.ops import OWN_TABLES
from bridge.store.migrate import migrate
from bridge.verify.pipeline import Endpoints, open_verifier
from bridge.verify.tables import Followed, prepare, states

READ_SECONDS = 60.0
"""A source that says nothing for so long is taken for gone."""
APPLICATION = "dbbridge cutover"


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens a group for one operator after the other."""

    settings: Settings
    group: str

    @contextmanager
    def __call__(self, *, evict: bool = False, timeout: float = TAKEN_SECONDS) -> Iterator[Work]:
        """Takes the group, as `Journal.take` does; lets it go at the end.

        Raises ConfigError, Busy, ServerUnreachable, ServerRefused.
        """
        with self._sessions() as (source, journal):
            attempt = Attempt(journal, journal.take(self.group, evict=evict, timeout=timeout))
            try:
                hold(source, self.settings.name, self.group)
                work = self._work(attempt, source)
                with closing(work.checker.opened):
                    yield work
            finally:
                with suppress(psycopg.Error):
                    journal.release(attempt.record)

    @contextmanager
    def look(self) -> Iterator[Work]:
        """The same to look at, whoever has the group."""
        with self._sessions() as (source, journal):
            yield self._work(Attempt(journal, journal.read(self.group)), source)

    @contextmanager
    def _sessions(self) -> Iterator[tuple[pymysql.Connection[Any], Journal]]:
        with sessions(self.settings) as (session, conn):
            migrate(conn)
            yield session, Journal(conn, self.settings.name)

    def mappings(self) -> dict[TableName, TableMapping]:
        """The mapping files."""
        return read_all(self.settings.mappings)

    def _work(self, attempt: Attempt, source: pymysql.Connection[Any]) -> Work:
        chosen = self.settings.cutover.of(self.group)
        target = attempt.journal.conn
        pipeline, mappings = self.settings.name, self.mappings()
        names = tables_of(mappings, self.group)
        plans = serving_plans(source, target, pipeline, mappings, names)
        own = self.settings.endpoint(self.settings.pipeline.source)
        there = self.settings.endpoint(self.settings.pipeline.target)
        database = database_of(own)
        fence = choose(source, self.subject(chosen, source, names), chosen.fence).fence
        return Work(
            pipeline=pipeline,
            database=database,
            attempt=attempt,
            settings=chosen,
            source=source,
            target=target,
            plans=plans,
            checker=checker(self.settings, self.group, mappings),
            fence=fence,
            target_fence=TargetFence(
                tuple(plan.target for plan in plans), chosen.roles, _roles(target, there)
            ),
            way_back=StreamBack(pipeline, self.group, database, plans, source, target),
        )

    def subject(
        self, chosen: CutoverSettings, source: pymysql.Connection[Any], names: tuple[TableName, ...]
    ) -> Subject:
        """What the source's fence is about; the bridge's own accounts are exempt."""
        own = self.settings.endpoint(self.settings.pipeline.source)
        exempt = {account_of(source)}
        with closing(mysql.connect(own)) as conn:
            exempt.add(account_of(conn))
        return Subject(
            names,
            None if chosen.accounts is None else tuple(map(Account.parse, chosen.accounts)),
            tuple(sorted(exempt)),
            frozenset(TableName(database_of(own), name) for name in OWN_TABLES),
        )


@contextmanager
def sessions(
    settings: Settings,
) -> Iterator[tuple[pymysql.Connection[Any], psycopg.Connection[Any]]]:
    """Those of the accounts that fence, on the source and on the target.

    Raises ConfigError, ServerUnreachable, ServerRefused.
    """
    name = settings.cutover.target or settings.pipeline.target
    target = _endpoint(settings, name, "postgresql")
    source = fencing_source(settings)
    with (
        closing(postgres.connect(target, autocommit=True, application_name=APPLICATION)) as conn,
        closing(mysql.connect(source, read_timeout=READ_SECONDS)) as session,
    ):
        yield session, conn


def fencing_source(settings: Settings) -> Endpoint:
    """The source, by the account that fences it; raises ConfigError."""
    return _endpoint(settings, settings.cutover.source or settings.pipeline.source, "mysql")


def _endpoint(settings: Settings, name: str, kind: str) -> Endpoint:
    found = settings.endpoint(name)
    if found.kind != kind:
        raise ConfigError(f"“{name}” is no {kind} database", "see cutover: in bridge.yaml")
    return found


def checker(
    settings: Settings, group: str, mappings: Mapping[TableName, TableMapping] | None = None
) -> Checker:
    """Of one group's final check; raises ConfigError, ServerUnreachable, ServerRefused."""
    files = read_all(settings.mappings) if mappings is None else mappings
    own, there = (
        settings.endpoint(name) for name in (settings.pipeline.source, settings.pipeline.target)
    )
    opened = Opened(Endpoints(own, there))
    verifier = open_verifier(settings.name, Endpoints(own, there), sessions=opened)
    return Checker(verifier, files, tables_of(files, group), opened)


def tables_of(mappings: Mapping[TableName, TableMapping], group: str) -> tuple[TableName, ...]:
    """The tables of a group; raises ConfigError if there are none."""
    names = [
        mapping.source
        for mapping in mappings.values()
        if mapping.target is not None and group_of(mapping.source, mapping.group) == group
    ]
    if not names:
        raise ConfigError(f"no mapping file names the group “{group}”", "dbbridge cutover status")
    return tuple(sorted(names))


def serving_plans(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    pipeline: str,
    mappings: Mapping[TableName, TableMapping],
    names: Iterable[TableName],
) -> tuple[TablePlan, ...]:
    """The plans of those tables that are followed, with the target's tables that serve now."""
    found = prepare(source, states(target, pipeline), mappings, names)
    return tuple(
        replace(table.plan, target=table.relation) for table in found if isinstance(table, Followed)
    )


def account_of(conn: pymysql.Connection[Any]) -> Account:
    """The account that a session has."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        (name,) = cursor.fetchone() or ("",)
    return Account.parse(str(name))


def hold(conn: pymysql.Connection[Any], pipeline: str, group: str) -> None:
    """Makes this session the only one that works at the group on the source.

    An operator who was left behind may still have his: it is ended, and whatever he sends comes to
    nothing. He has lost the group by then, so nobody else is cut off.
    """
    whole = hashlib.sha256(f"{pipeline}:{group}".encode()).hexdigest()
    name = f"dbbridge:{whole[:40]}"  # 64 characters at most
    with conn.cursor() as cursor:
        for _ in range(20):
            cursor.execute("SELECT GET_LOCK(%s, 1), IS_USED_LOCK(%s)", (name, name))
            got, holder = cursor.fetchone() or (0, None)
            if got:
                return
            if holder is not None:
                with suppress(pymysql.err.OperationalError):  # gone meanwhile
                    cursor.execute(f"KILL {int(holder)}")
    raise ServerUnreachable(
        f"another session works at the cutover of {group} on the source and cannot be ended",
        "see SHOW PROCESSLIST there",
    )


def _roles(target: psycopg.Connection[Any], pipeline: Endpoint) -> tuple[str, ...]:
    (me,) = target.execute("SELECT current_user").fetchone() or ("",)
    return tuple(sorted({str(me), pipeline.user}))
