"""Accounts can't log in, and their sessions are ended."""

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
from bridge.cutover.fences.permissions import SEEING, base_problems
from bridge.cutover.fences.revoke import proxied, shared, unknown
from bridge.cutover.fences.rights import (
    administrators,
    execute,
    known_accounts,
    members,
    read_rights,
    rows,
)
from bridge.cutover.fences.sessions import of_users

_UNLOCKED = {
    False: "SELECT User, Host FROM mysql.user WHERE account_locked = 'N'",
    True: "SELECT User, Host FROM mysql.global_priv WHERE"
    " COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') NOT IN ('1', 'true')"
    " AND COALESCE(JSON_VALUE(Priv, '$.is_role'), '0') NOT IN ('1', 'true')",
}


class LockAccountFence(SourceFence):
    """`lock_account`: for accounts that use nothing but the group's tables."""

    kind: ClassVar[Kind] = "lock_account"

    def check(self, conn: Connection) -> list[FenceProblem]:
        """What would keep it from holding."""
        problems = base_problems(conn, self.subject.tables, *SEEING, "CREATE USER")
        if problems:
            return problems
        accounts = set(self._chosen(conn))
        writers = {right.account for right in read_rights(conn, self.subject.tables)}
        free = members(conn, writers | set(administrators(conn))) - accounts
        exempt = set(self.subject.exempt)
        problems += [
            FenceProblem(
                "not-fenced",
                f"{account} may write the group's tables, and is not locked",
                severity="warning",
            )
            for account in sorted(free & self._unlocked(conn) - exempt)
        ]
        return [
            *problems,
            *unknown(conn, self.subject.accounts or ()),
            *shared(conn, accounts, self.subject.exempt),
            *proxied(conn, accounts),
            *bypasses(conn, self.subject.tables, lambda _: False, callers=False),
        ]

    def _chosen(self, conn: Connection) -> list[Account]:
        chosen = self.subject.accounts
        if chosen is None:
            writers = {right.account for right in read_rights(conn, self.subject.tables)}
            exempt = set(self.subject.exempt) | set(administrators(conn))
            chosen = tuple(members(conn, writers) - exempt)
        unlocked = self._unlocked(conn)
        return sorted(each for each in chosen if each in unlocked and each.user not in SYSTEM)

    def _unlocked(self, conn: Connection) -> set[Account]:
        found = rows(conn, _UNLOCKED[read_dialect(conn).mariadb])
        return {Account(user, host) for user, host in found}

    def survey(self, conn: Connection) -> Evidence:
        """What `release` needs."""
        chosen = self._chosen(conn)
        return {"kind": self.kind, "accounts": [[each.user, each.host] for each in chosen]}

    @classmethod
    def merged(cls, noted: Evidence, now: Evidence) -> Evidence:
        """Both: whoever is not locked now is to be unlocked again."""
        both = {*_accounts(noted), *_accounts(now)}
        return {**noted, "accounts": [[each.user, each.host] for each in sorted(both)]}

    def plan(self, evidence: Evidence) -> list[str]:
        """The statements of `set`."""
        return [f"ALTER USER {each.quoted} ACCOUNT LOCK" for each in _accounts(evidence)]

    def set(self, conn: Connection, evidence: Evidence, limits: Limits) -> Proof:
        """Lets no new write through."""
        for line in self.plan(evidence):
            execute(conn, line)
        return Proof(True)

    @classmethod
    def release(cls, conn: Connection, evidence: Evidence) -> list[str]:
        """Restores what was there."""
        known = known_accounts(conn)
        lost = []
        for account in _accounts(evidence):
            if account in known:
                execute(conn, f"ALTER USER {account.quoted} ACCOUNT UNLOCK")
            else:
                lost.append(f"{account} is no more")
        return lost

    def stands(self, conn: Connection, evidence: Evidence) -> bool:
        """Whether it is as `set` left it."""
        return not self._unlocked(conn) & set(_accounts(evidence))

    def leftovers(self, conn: Connection, evidence: Evidence, upto: int) -> list[Session]:
        """Sessions that could still write."""
        return of_users(conn, {account.user for account in _accounts(evidence)}, upto)


def _accounts(evidence: Evidence) -> list[Account]:
    return [Account(user, host) for user, host in evidence["accounts"]]
