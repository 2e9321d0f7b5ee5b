"""What would keep the target's fence from holding."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge.cutover.fences.base import FenceProblem
from bridge.cutover.fences.insisting import Connection
from bridge.cutover.fences.target import Q, TargetFence
from bridge.names import quote_postgres

_WRITES = re.compile(r"\b(insert|update|delete|truncate|merge|copy|execute)\b", re.IGNORECASE)


def check_target(conn: Connection, fence: TargetFence) -> list[FenceProblem]:
    """Errors, and whom the fence does not stop; changes nothing."""
    problems = list(_tables(conn, fence))
    if problems:
        return problems
    free: dict[str, str] = dict(conn.execute(Q["free_roles"], fence.names()).fetchall())
    return [
        *_rights(conn, fence),
        *_roles(conn, fence, free),
        *_exempt(conn, fence),
        *_functions(conn, fence, free),
        *_views(conn, fence, free),
    ]


def _tables(conn: Connection, fence: TargetFence) -> Iterator[FenceProblem]:
    me = _me(conn)
    for table, owner in conn.execute(Q["table_problems"], fence.names()).fetchall():
        if owner is None:
            yield FenceProblem("no-such-table", f"there is no table {table} on the target")
        else:
            yield FenceProblem(
                "not-the-owner",
                f"{me} may not change the rights on {table}, which is owned by {owner}",
                (f"GRANT {quote_postgres(owner)} TO {quote_postgres(me)}",),
            )


def _me(conn: Connection) -> str:
    ((me,),) = conn.execute("SELECT current_user").fetchall()
    return str(me)


def _rights(conn: Connection, fence: TargetFence) -> Iterator[FenceProblem]:
    me = quote_postgres(_me(conn))
    ((may_end, _),) = conn.execute(Q["may_end"]).fetchall()
    if not may_end:
        yield FenceProblem(
            "may-not-end-sessions",
            "sessions in the way could not be ended",
            (f"GRANT pg_signal_backend TO {me}",),
        )
    grants = fence.survey(conn)["grants"]
    for grantor in sorted({each[4] for each in grants if not each[7]}):
        ((may,),) = conn.execute(Q["may_become"], {"grantor": grantor}).fetchall()
        if not may:
            yield FenceProblem(
                "may-not-become",
                f"what {grantor} granted to others only {grantor} can take back",
                (f"GRANT {quote_postgres(grantor)} TO {me}",),
            )


def _roles(conn: Connection, fence: TargetFence, free: dict[str, str]) -> Iterator[FenceProblem]:
    listed = set(fence.roles or ())
    known = {name for (name,) in conn.execute("SELECT rolname FROM pg_roles").fetchall()}
    for role in sorted(listed - known):
        yield FenceProblem(
            "no-such-role", f"there is no role {role} on the target: see cutover.roles"
        )
    me = _me(conn)
    for role, why in free.items():
        if role != me or role in listed:
            yield FenceProblem(
                "not-stopped",
                f"{role} {why}, and writes whatever is revoked",
                severity="error" if role in listed else "warning",
            )


def _exempt(conn: Connection, fence: TargetFence) -> Iterator[FenceProblem]:
    for role, table in conn.execute(Q["exempt_by_others"], fence.names()).fetchall():
        yield FenceProblem(
            "bridge-fenced",
            f"the bridge's role {role} writes {table} only by rights that others lose",
            (f"GRANT INSERT, UPDATE, DELETE, TRUNCATE ON {table} TO {quote_postgres(role)}",),
        )


def _functions(
    conn: Connection, fence: TargetFence, free: dict[str, str]
) -> Iterator[FenceProblem]:
    for kind, name, owner, text, remedy in conn.execute(Q["definers"]).fetchall():
        hit = next((t for t in fence.tables if _mentions(text, t.table)), None)
        if hit and _WRITES.search(text) and (owner in free or owner in fence.exempt):
            yield FenceProblem(
                "goes-around",
                f"{kind} {name} writes {hit} as {owner}, whom the fence does not stop",
                (remedy,),
            )


def _views(conn: Connection, fence: TargetFence, free: dict[str, str]) -> Iterator[FenceProblem]:
    for view, owner, role in conn.execute(Q["views"], fence.names()).fetchall():
        if owner in free or owner in fence.exempt:
            who = role if role == "PUBLIC" else quote_postgres(role)
            yield FenceProblem(
                "goes-around",
                f"{role} writes through view {view} as {owner}, whom the fence does not stop",
                (f"REVOKE INSERT, UPDATE, DELETE ON {view} FROM {who}",),
            )


def _mentions(text: str, table: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(table)}(?![\w$])", text, re.IGNORECASE) is not None
