"""Accounts of MySQL and MariaDB, and the patterns by which grants name databases."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.names import quote_mysql

SYSTEM = frozenset({"mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"})
"""Accounts of the servers themselves, which nobody logs in with."""


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """A user with a host, or, without one, a role of MariaDB's or its PUBLIC."""

    user: str
    host: str

    @classmethod
    def parse(cls, text: str) -> Account:
        """Reads ``app@%``, which CURRENT_USER() and the settings tell accounts by."""
        user, _, host = text.rpartition("@") if "@" in text else (text, "", "")
        return cls(user, host)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.host else self.user

    @property
    def quoted(self) -> str:
        """For GRANT and REVOKE."""
        if self.public:
            return self.user
        user = quote_mysql(self.user)
        return f"{user}@{quote_mysql(self.host)}" if self.host else user

    @property
    def public(self) -> bool:
        """Whether these are the rights of everybody (MariaDB since 10.11)."""
        return self.user.upper() == "PUBLIC" and not self.host


def covers(pattern: str, database: str, *, literal: bool = False) -> bool:
    r"""Whether a grant on ``pattern.*`` reaches a database: ``%`` and ``_`` stand for others.

    A backslash takes their meaning away (manual, "GRANT Statement"). `literal`: they have none
    (MySQL with partial_revokes).
    """
    if literal:
        return pattern == database
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    known = {"%": ".*", "_": "."}
    expression = "".join(
        known.get(part) or re.escape(part[1:] if len(part) == 2 else part) for part in parts
    )
    return re.fullmatch(expression, database, re.DOTALL) is not None
