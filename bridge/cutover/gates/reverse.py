"""Whether the way back can be made, and is permitted on both servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pymysql

from bridge.capture.findings.grants import Grant, parse_grants, quote_account
from bridge.cutover.fences.rights import rows
from bridge.cutover.gates.base import Problem
from bridge.cutover.transitions import State
from bridge.mapping.plan import TablePlan
from bridge.names import group_option, quote_mysql
from bridge.report.groups import slot_alarm
from bridge.reverse.fitness import obstacles
from bridge.reverse.publication import unpublished
from bridge.reverse.slots import Slot, is_lost
from bridge.store.sql import queries

Q = queries("bridge.cutover.gates", "queries.sql")
WRITES = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""What the reverse stream does with a table of the source."""
SILENT_SECONDS = 15.0
"""The daemon tells every second how the stream back stands; what is older says nothing of now."""
_ALL = frozenset({"ALL", "ALL PRIVILEGES"})


def reverse_problems(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    plans: Sequence[TablePlan],
    slot: str,
) -> list[Problem]:
    """What forbids logical replication from the target, or writes to the source.

    `slot`: the slot's name; where it is there already, none has to be free.
    """
    return [
        *_replication(target, slot),
        *_ownership(target, plans),
        *_unfit(plans),
        *_triggers(source, plans),
        *_rights(source, plans),
    ]


def slot_problems(state: State, group: str, name: str, slot: Slot | None) -> Iterator[Problem]:
    """What is wrong with the slot that the state needs.

    While the group is armed nothing must happen to it until the switch; once the target has
    authority, one in danger is no reason to stay there.
    """
    found = slot_alarm(state, name, slot.state if slot else None)
    if found and is_lost(slot):
        helps = f"cancel {group_option(group)}" if state == "armed" else "status"
        yield Problem(found, f"dbbridge cutover {helps}")
    elif found and state == "armed":
        yield Problem(found, "dbbridge sync, which brings it forward")


def lag_told(status: Mapping[str, Any]) -> float | None:
    """Seconds that the stream back is behind, by what the daemon said a moment ago.

    None if it is silent, or the stream is not connected.
    """
    silent = status.get("age_seconds", SILENT_SECONDS) >= SILENT_SECONDS
    return None if silent else status.get("lag_seconds")


def lost_ways(
    target: psycopg.Connection[Any], name: str, plans: Sequence[TablePlan]
) -> Iterator[Problem]:
    """What is written in the target and does not come back, while it has authority.

    `name`: the publication's, and the slot's. Before a switch nobody has to ask: it publishes all
    tables again.
    """
    for what, statements in unpublished(target, name, plans):
        yield Problem(
            f"{what}: what was written since may not be in the source",
            f"{statements}; then update each row that was written since to itself",
        )


def _replication(target: psycopg.Connection[Any], slot: str) -> Iterator[Problem]:
    row = target.execute(Q["replication"], {"slot": slot}).fetchone()
    assert row is not None
    level, most, used, senders, sending, permitted, creates, there = row
    if level != "logical":
        yield Problem(
            f"wal_level is {level} in the target, and logical replication needs logical",
            "ALTER SYSTEM SET wal_level = logical, and restart PostgreSQL",
        )
    if not permitted:
        yield Problem(
            "the bridge's role in the target may not replicate",
            "ALTER ROLE the bridge's role REPLICATION",
        )
    if not there and used >= most:
        yield Problem(
            f"all {most} replication slots of the target are taken",
            "drop one that nobody reads, or raise max_replication_slots",
        )
    if not there and sending >= senders:
        yield Problem(f"all {senders} WAL senders are busy", "raise max_wal_senders")
    if not creates:
        yield Problem(
            "the bridge's role may not make a publication in the target's database",
            "GRANT CREATE ON DATABASE … TO the bridge's role",
        )


def _ownership(target: psycopg.Connection[Any], plans: Sequence[TablePlan]) -> Iterator[Problem]:
    names = {
        "schemas": [plan.target.schema for plan in plans],
        "tables": [plan.target.table for plan in plans],
    }
    for schema, table, owned, _ in target.execute(Q["owned"], names):
        if not owned:
            yield Problem(
                f"{schema}.{table} belongs to another role, so it cannot be published",
                "ALTER TABLE … OWNER TO the bridge's role",
            )


def _unfit(plans: Sequence[TablePlan]) -> Iterator[Problem]:
    for plan in plans:
        for each in obstacles(plan):
            if each.refuses:
                yield Problem(each.message, each.hint)


def _triggers(source: pymysql.Connection[Any], plans: Sequence[TablePlan]) -> Iterator[Problem]:
    mine = {(plan.source.schema, plan.source.table) for plan in plans}
    for schema in sorted({schema for schema, _ in mine}):
        found = rows(
            source,
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS"
            " WHERE EVENT_OBJECT_SCHEMA = %s ORDER BY 1",
            (schema,),
        )
        for name, table in found:
            if (schema, str(table)) in mine:
                yield Problem(
                    f"trigger {name} of {schema}.{table} fires again on rows that come back",
                    f"DROP TRIGGER {quote_mysql(schema)}.{quote_mysql(str(name))}",
                )


def _rights(source: pymysql.Connection[Any], plans: Sequence[TablePlan]) -> Iterator[Problem]:
    grants = parse_grants([str(row[0]) for row in rows(source, "SHOW GRANTS")])
    ((account,),) = rows(source, "SELECT CURRENT_USER()")
    who = quote_account(str(account))
    for plan in plans:
        lacking = [right for right in WRITES if not _may(grants, right, plan)]
        if lacking:
            rights = ", ".join(lacking)
            yield Problem(
                f"the bridge's account may not {rights.lower()} in {plan.source}",
                f"GRANT {rights} ON {plan.source.mysql} TO {who}",
            )


def _may(grants: Sequence[Grant], right: str, plan: TablePlan) -> bool:
    about = [g for g in grants if g.covers(plan.source.schema, plan.source.table)]
    given = [g for g in about if g.rights & {right, *_ALL}]
    return bool(given) and not any(g.revoked for g in given)
