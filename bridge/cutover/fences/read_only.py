"""The whole server takes writes from nobody but the bridge: read_only."""

from __future__ import annotations

from typing import ClassVar

from bridge.capture.dialect import read_dialect
from bridge.cutover.fences.accounts import SYSTEM, Account
from bridge.cutover.fences.base import (
    Connection,
    Evidence,
    FenceProblem,
    Kind,
    Limits,
    Proof,
    Session,
    SourceFence,
)
from bridge.cutover.fences.bypass import bypasses
from bridge.cutover.fences.drain import insist
from bridge.cutover.fences.permissions import READ_ONLY_EXEMPT, SEEING, base_problems
from bridge.cutover.fences.rights import execute, global_rights, members, rows
from bridge.cutover.fences.sessions import changing
from bridge.names import TableName

_TABLES = (
    "SELECT table_schema, table_name FROM information_schema.tables"
    " WHERE table_type LIKE 'BASE TABLE' AND table_schema NOT IN"
    " ('mysql', 'sys', 'information_schema', 'performance_schema')"
)
BRIDGE_PREFIX = "_bridge_"
_SET = "SET GLOBAL read_only = 1"


def user_tables(conn: Connection, own: frozenset[TableName] = frozenset()) -> set[TableName]:
    """All tables of the server but its own and the bridge's."""
    found = {TableName(schema, table) for schema, table in rows(conn, _TABLES)}
    return {name for name in found - own if not name.table.startswith(BRIDGE_PREFIX)}


def exempt_holders(conn: Connection) -> set[Account]:
    """Accounts that write under read_only, over roles as well."""
    wanted = set(READ_ONLY_EXEMPT[read_dialect(conn).mariadb])
    holders = {each for each, rights in global_rights(conn).items() if rights & wanted}
    return {each for each in members(conn, holders) if each.user not in SYSTEM}


class ReadOnlyFence(SourceFence):
    """`read_only`: acts at once. A transaction refused at COMMIT stays open, and is ended."""

    kind: ClassVar[Kind] = "read_only"

    def check(self, conn: Connection) -> list[FenceProblem]:
        """What would keep it from holding."""
        mariadb = read_dialect(conn).mariadb
        more = "READ ONLY ADMIN" if mariadb else "SYSTEM_VARIABLES_ADMIN"
        problems = base_problems(conn, self.subject.tables, *SEEING, more)
        if problems:
            return problems
        others = sorted(user_tables(conn, self.subject.own) - set(self.subject.tables))
        if others:
            listed = ", ".join(map(str, others[:5])) + (", …" if len(others) > 5 else "")
            problems.append(
                FenceProblem(
                    "not-the-whole-server",
                    f"read_only would also stop writes to tables outside the group: {listed}",
                )
            )
        if _value(conn) != "0":
            problems.append(FenceProblem("read-only-already", "the source is read_only already"))
        holders = exempt_holders(conn)
        return [*problems, *self._holders(holders, mariadb), *self._around(conn, holders)]

    def _holders(self, holders: set[Account], mariadb: bool) -> list[FenceProblem]:
        privilege = READ_ONLY_EXEMPT[mariadb][0]
        found = [
            FenceProblem(
                "bridge-not-exempt",
                f"{account} is the bridge's own, and could not write under read_only",
                (f"GRANT {privilege} ON *.* TO {account.quoted}",),
            )
            for account in self.subject.exempt
            if account not in holders
        ]
        listed = set(self.subject.accounts or ())
        for account in sorted(holders - set(self.subject.exempt)):
            line = f"REVOKE {privilege} ON *.* FROM {account.quoted}"
            found.append(
                FenceProblem(
                    "not-stopped",
                    f"{account} writes under read_only",
                    (line,),
                    "error" if account in listed else "warning",
                )
            )
        return found

    def _around(self, conn: Connection, holders: set[Account]) -> list[FenceProblem]:
        return bypasses(conn, self.subject.tables, lambda definer: definer not in holders)

    def survey(self, conn: Connection) -> Evidence:
        """What `release` needs."""
        return {"kind": self.kind, "read_only": _value(conn)}

    def plan(self, evidence: Evidence) -> list[str]:
        """The statements of `set`."""
        return [_SET]

    def set(self, conn: Connection, evidence: Evidence, limits: Limits) -> Proof:
        """Lets no new write through."""
        exempt = {account.user for account in self.subject.exempt}
        return insist(conn, _SET, self.subject.tables, limits, exempt)

    @classmethod
    def release(cls, conn: Connection, evidence: Evidence) -> list[str]:
        """Restores what was there."""
        execute(conn, f"SET GLOBAL read_only = {int(evidence['read_only'])}")
        return []

    def stands(self, conn: Connection, evidence: Evidence) -> bool:
        """Whether it is as `set` left it."""
        return _value(conn) != "0"

    def leftovers(self, conn: Connection, evidence: Evidence, upto: int) -> list[Session]:
        """Sessions that could still write."""
        exempt = {account.user for account in self.subject.exempt}
        return [each for each in changing(conn) if each.user not in exempt and each.id <= upto]


def _value(conn: Connection) -> str:
    """0 for off; MariaDB since 12 tells it by words, of which the first is off."""
    ((value,),) = rows(conn, "SELECT @@GLOBAL.read_only")
    return "0" if str(value).upper() in ("0", "OFF") else "1"
