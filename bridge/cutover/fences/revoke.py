"""Accounts lose their rights to write the group's tables, and get them back."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import ClassVar

import pymysql
from pymysql.constants import ER

from bridge.cutover.fences.accounts import SYSTEM, Account, covers
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
from bridge.cutover.fences.permissions import SEEING, base_problems, may_grant
from bridge.cutover.fences.read_only import user_tables
from bridge.cutover.fences.rights import (
    Right,
    administrators,
    execute,
    known_accounts,
    literal_patterns,
    members,
    read_rights,
    rows,
    statements,
)
from bridge.cutover.fences.sessions import end_all, newest, of_users
from bridge.errors import ServerRefused
from bridge.names import TableName, quote_mysql

_GONE = (ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR, ER.PASSWORD_NO_MATCH, 1410)
"""The table, the column or the account is no more (1410: GRANT would have to make the account)."""
_END_SECONDS = 10.0


Grant = tuple[Account, str, str, str, bool]
"""A right without its columns: whose, on which database and table, which, whether on all of it."""


class RevokeFence(SourceFence):
    """`revoke`: table by table it acts at the next statement of sessions that are there.

    Rights on a whole database act only where a session begins or chooses a database, so that
    sessions are ended; and they can't be taken for some tables alone (error 1147).
    """

    kind: ClassVar[Kind] = "revoke"

    def check(self, conn: Connection) -> list[FenceProblem]:
        """What would keep it from holding."""
        problems = base_problems(conn, self.subject.tables, *SEEING)
        if problems:
            return problems
        everything = read_rights(conn, self.subject.tables)
        fenced = self._fenced(everything)
        accounts = self._accounts(fenced)
        whole = [right for right in fenced if not right.table]
        return [
            *unknown(conn, self.subject.accounts or ()),
            *self._database_wide(conn, whole),
            *self._unreachable(conn, accounts, everything),
            *_roles(conn, whole),
            *shared(conn, accounts, self.subject.exempt),
            *proxied(conn, accounts),
            *may_grant(conn, fenced),
            *self._around(conn, accounts, everything),
        ]

    def _fenced(self, rights: Iterable[Right]) -> list[Right]:
        """What is taken away: the chosen accounts' rights, or everybody's but the bridge's."""
        chosen, exempt = self.subject.accounts, self.subject.exempt
        return [
            right
            for right in rights
            if (right.account in chosen if chosen is not None else right.account not in exempt)
            and right.account.user not in SYSTEM
        ]

    def _accounts(self, fenced: Iterable[Right]) -> set[Account]:
        return {right.account for right in fenced} | set(self.subject.accounts or ())

    def _database_wide(self, conn: Connection, whole: Sequence[Right]) -> list[FenceProblem]:
        literal = literal_patterns(conn)
        known = user_tables(conn, self.subject.own)
        by_grant: dict[tuple[Account, str], list[Right]] = defaultdict(list)
        for right in whole:
            by_grant[(right.account, right.database)].append(right)
        problems = []
        for (account, pattern), rights in by_grant.items():
            reached = {n for n in known if covers(pattern, n.schema, literal=literal)}
            if reached - set(self.subject.tables):
                problems.append(_replacement(account, pattern, rights, reached))
        return problems

    def _unreachable(
        self, conn: Connection, accounts: set[Account], everything: Iterable[Right]
    ) -> list[FenceProblem]:
        """Accounts that go on writing, be it that nothing can be taken from them."""
        everywhere = set(administrators(conn))
        found = [
            FenceProblem(
                "writes-everywhere",
                f"{account} may write on *.*, which no REVOKE on tables takes away",
                severity="error" if account in accounts else "warning",
            )
            for account in sorted(everywhere - set(self.subject.exempt))
        ]
        others = {r.account for r in everything} - accounts - set(self.subject.exempt)
        return found + [
            FenceProblem(
                "not-fenced",
                f"{account} may write the group's tables, and is not fenced",
                severity="warning",
            )
            for account in sorted(others)
        ]

    def _around(
        self, conn: Connection, accounts: set[Account], everything: Iterable[Right]
    ) -> list[FenceProblem]:
        going = {r.account for r in everything if r.account not in accounts}
        free = members(conn, going | set(administrators(conn)))
        return bypasses(conn, self.subject.tables, lambda definer: definer not in free)

    def survey(self, conn: Connection) -> Evidence:
        """What `release` needs."""
        fenced = self._fenced(read_rights(conn, self.subject.tables))
        return {"kind": self.kind, "rights": [right.document() for right in fenced]}

    @classmethod
    def merged(cls, noted: Evidence, now: Evidence) -> Evidence:
        """Both: what is there was not taken yet, or was granted since."""
        columns: dict[Grant, set[str]] = defaultdict(set)
        for right in (*_rights(noted), *_rights(now)):
            columns[_grant(right)] |= set(right.columns)
        rights = [
            Right(account, database, table, privilege, tuple(sorted(each)))
            for (account, database, table, privilege, _), each in sorted(columns.items())
        ]
        return {**noted, "rights": [right.document() for right in rights]}

    def plan(self, evidence: Evidence) -> list[str]:
        """The statements of `set`."""
        return statements("REVOKE", _rights(evidence))

    def set(self, conn: Connection, evidence: Evidence, limits: Limits) -> Proof:
        """Lets no new write through."""
        noted = {_grant(right): set(right.columns) for right in _rights(evidence)}
        now = [
            right
            for right in read_rights(conn, self.subject.tables)
            if _grant(right) in noted and set(right.columns) <= noted[_grant(right)]
        ]
        for line in statements("REVOKE", now):
            execute(conn, line)
        left = self._fenced(read_rights(conn, self.subject.tables))
        if left:
            raise ServerRefused(
                "rights were granted while the fence was set:"
                f" {'; '.join(statements('GRANT', left))}",
                "switch again; nobody should change grants meanwhile",
            )
        return Proof(True)

    def stands(self, conn: Connection, evidence: Evidence) -> bool:
        """Whether it is as `set` left it."""
        return not self._fenced(read_rights(conn, self.subject.tables))

    @classmethod
    def release(cls, conn: Connection, evidence: Evidence) -> list[str]:
        """Restores what was there."""
        known = known_accounts(conn)
        rights = _rights(evidence)
        lost = [f"{right.account} is no more" for right in rights if right.account not in known]
        for line in statements("GRANT", [right for right in rights if right.account in known]):
            try:
                execute(conn, line)
            except pymysql.err.MySQLError as error:
                if error.args[0] not in _GONE:
                    raise
                lost.append(f"{line}: {error.args[1]}")
        _refresh(conn, rights)
        return sorted(set(lost))

    def leftovers(self, conn: Connection, evidence: Evidence, upto: int) -> list[Session]:
        """Sessions that could still write."""
        return _of_databases(conn, _rights(evidence), upto)


def _rights(evidence: Evidence) -> list[Right]:
    return [Right.parse(each) for each in evidence["rights"]]


def _grant(right: Right) -> Grant:
    return (right.account, right.database, right.table, right.privilege, not right.columns)


def _of_databases(conn: Connection, rights: Iterable[Right], upto: int) -> list[Session]:
    whole = {right.account for right in rights if not right.table}
    if not whole:
        return []
    return of_users(conn, {account.user for account in members(conn, whole)}, upto)


def _refresh(conn: Connection, rights: Iterable[Right]) -> None:
    """Ends sessions that began while their database's rights were gone: they stay without."""
    upto = newest(conn)
    end_all(conn, lambda: _of_databases(conn, rights, upto), time.monotonic() + _END_SECONDS)


def _replacement(
    account: Account, pattern: str, rights: Sequence[Right], reached: Iterable[TableName]
) -> FenceProblem:
    what = ", ".join(right.privilege for right in rights)
    grants = [f"GRANT {what} ON {name.mysql} TO {account.quoted}" for name in sorted(reached)]
    place = f"{quote_mysql(pattern)}.*"
    return FenceProblem(
        "database-wide",
        f"{account} may write all of {place}, which can't be taken for some tables alone (1147):"
        " grant it table by table instead",
        (*grants, f"REVOKE {what} ON {place} FROM {account.quoted}"),
    )


def _roles(conn: Connection, whole: Sequence[Right]) -> list[FenceProblem]:
    """Whose sessions would have to be ended, but nobody knows who they all are."""
    found = rows(conn, "SHOW GLOBAL VARIABLES LIKE 'mandatory_roles'")
    mandatory = str(found[0][1]) if found else ""
    return [
        FenceProblem(
            "held-by-everybody",
            f"everybody has the rights of {account} on all of a database, so that all sessions"
            " would have to be ended",
        )
        for account in sorted({right.account for right in whole})
        if account.public or account.user in mandatory
    ]


def unknown(conn: Connection, accounts: Iterable[Account]) -> list[FenceProblem]:
    """Accounts of the settings that the server does not have."""
    known = known_accounts(conn)
    return [
        FenceProblem("no-such-account", f"there is no account {account}: see cutover.accounts")
        for account in accounts
        if account not in known
    ]


def shared(
    conn: Connection, accounts: set[Account], exempt: Sequence[Account]
) -> list[FenceProblem]:
    """The bridge must be told apart from those it fences, by its name and by its roles."""
    reached = members(conn, accounts)
    names = {account.user for account in reached}
    return [
        FenceProblem(
            "bridge-fenced",
            f"the bridge's account {account} "
            + ("would be fenced" if account in reached else "has a name that is fenced")
            + ": give the bridge an account of its own name, without the application's roles",
        )
        for account in exempt
        if account in reached or account.user in names
    ]


def proxied(conn: Connection, accounts: set[Account]) -> list[FenceProblem]:
    """Accounts that others log in as (GRANT PROXY): their sessions can't be told."""
    found = rows(conn, "SELECT User, Host, Proxied_user, Proxied_host FROM mysql.proxies_priv")
    return [
        FenceProblem(
            "proxied",
            f"{Account(user, host)} may log in as {Account(as_user, as_host)}, under a name of its"
            " own: its sessions would not be found",
            (_no_proxy(Account(user, host), Account(as_user, as_host)),),
        )
        for user, host, as_user, as_host in found
        if Account(as_user, as_host) in accounts
    ]


def _no_proxy(account: Account, other: Account) -> str:
    return f"REVOKE PROXY ON {other.quoted} FROM {account.quoted}"
