"""`dbbridge status`: where the pipeline is, table by table."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.context import Context, of
from bridge.cli.output import number, size
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.report.groups import GroupStatus
    from bridge.report.status import Status

WATCH_SECONDS = 1.0
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_CONDITION = re.compile(r"\s*(\w+)\s*(>=|<=|>|<|=)\s*([0-9.]+)\s*([A-Za-z]*)\s*")


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(
        epilog="Example: dbbridge status --fail-if 'lag>30s'",
        help="Show the daemon, the position, the lag, and every table.",
    )
    def status(
        ctx: typer.Context,
        watch: Annotated[bool, typer.Option("--watch", help="Again every second.")] = False,
        fail_if: Annotated[
            str | None,
            typer.Option(metavar="NAME OP VALUE[unit]", help="Exit 1 if so: lag, quarantined, …"),
        ] = None,
    ) -> None:
        context = of(ctx)
        condition = _parse(fail_if) if fail_if else None
        while True:
            found = _look(context)
            show(context, found)
            if not watch:
                break
            time.sleep(WATCH_SECONDS)
        if condition and _holds(found, *condition):
            raise typer.Exit(1)


def _look(context: Context) -> Status:
    from bridge.report.status import read_status

    found = read_status(context.target(autocommit=True), context.pipeline)
    if found is None:
        raise ConfigError(
            f"pipeline “{context.pipeline}” has never been started on this target",
            "dbbridge schema apply, then: dbbridge sync",
        )
    return found


def show(context: Context, status: Status) -> None:
    """Prints one look."""
    from bridge.report.words import seconds

    out = context.out
    out.json(status.document())
    said = status.said
    lag = said.get("lag_seconds")
    out.line(
        f"pipeline {status.pipeline}: {status.state}, "
        + (status.phase if status.daemon else "no daemon")
        + (f", lag {lag:.1f} s" if lag is not None else "")
        + (f", {number(said.get('rows_per_second', 0))} rows/s" if said else "")
    )
    if said.get("message") and said.get("phase") in ("waiting", "copying"):
        out.line(f"waiting: {said['message']}")
    if status.throttled:
        out.line(f"verification waits: {status.throttled}")
    out.line(f"position {status.position or 'none yet'}")
    for group in status.groups:
        out.line(f"group {_said(group)}")
        if group.alarm:
            out.line(f"  {group.alarm}")
    if status.unconfirmed:
        out.line(f"{number(status.unconfirmed)} operations written early are not confirmed yet")
    headers = (
        "table", "state", "copied", "size", "inserts", "updates", "deletes", "quarantined", "proven"
    )  # fmt: skip
    rows = [
        (
            str(t.source),
            t.state,
            number(t.rows_copied),
            size(t.bytes_copied),
            number(t.inserts),
            number(t.updates),
            number(t.deletes),
            number(t.quarantined),
            f"{seconds(proof.seconds)} ago" if (proof := status.proven.get(t.source)) else "",
        )
        for t in status.tables
    ]
    out.table(headers, rows, right=headers[2:8])
    for table in status.tables:
        if table.fault is not None and table.fault.code != "related":
            out.line(f"{table.source} stands still: {table.why}")
            out.line(f"  way on: {table.fault.hint}")
    out.next(status.next)


def _said(group: GroupStatus) -> str:
    one = group.authority
    text = (
        f"{one.group}: {group.state}, authority {one.side}, mode {one.mode},"
        f" epoch {one.epoch}, reads {one.reads_percent} %"
    )
    if group.violations:
        text += f", {number(group.violations)} changes went around the fence"
    return text


def _parse(text: str) -> tuple[str, str, float]:
    match = _CONDITION.fullmatch(text)
    if not match or match[4] not in _UNITS:
        raise ConfigError(f"“{text}” is no condition", "write it like lag>30s or quarantined>0")
    return match[1], match[2], float(match[3]) * _UNITS[match[4]]


def _holds(status: Status, name: str, operator: str, limit: float) -> bool:
    tables = status.tables
    values = {
        "lag": status.said.get("lag_seconds"),
        "backlog": status.said.get("backlog_bytes"),
        "quarantined": float(sum(t.quarantined for t in tables)),
        "stopped": float(sum(t.fault is not None for t in tables)),
        "paused": float(sum(t.paused for t in tables)),
        "silent": status.daemon.silent_seconds if status.daemon else None,
    }
    if name not in values:
        raise ConfigError(f"“{name}” is not known here", f"known: {', '.join(values)}")
    value = values[name]
    if value is None:
        return True
    return {
        ">": value > limit,
        "<": value < limit,
        ">=": value >= limit,
        "<=": value <= limit,
        "=": value == limit,
    }[operator]
