"""The bridge's accounts, which may do what they must and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from psycopg import sql

from tests.fix_servers import SourceDatabase, TargetDatabase


@dataclass(frozen=True)
class Accounts:
    """One account on each side; passwords come from the environment, as a user would have it."""

    source: SourceDatabase
    target: TargetDatabase
    name: str
    password: str

    @property
    def source_url(self) -> str:
        """As `init` takes it."""
        server = self.source.server
        return f"mysql://{self.name}:env:SOURCE_PW@{server.host}:{server.port}/{self.source.name}"

    @property
    def target_url(self) -> str:
        """As `init` takes it."""
        server = self.target.server
        return (
            f"postgresql://{self.name}:env:TARGET_PW@{server.host}:{server.port}/{self.target.name}"
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the URLs name."""
        return {"SOURCE_PW": self.password, "TARGET_PW": self.password}

    def create(self) -> None:
        """Makes both accounts without any right but to log in."""
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"CREATE USER '{self.name}'@'%' IDENTIFIED BY '{self.password}'")
        with self.target.connect() as there:
            there.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(self.name), sql.Literal(self.password)
                )
            )

    def grant(self, on_source: Sequence[str], on_target: Sequence[str]) -> None:
        """Carries out the administrators' lines."""
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            for line in on_source:
                cursor.execute(line)
        with self.target.connect() as there:
            for line in on_target:
                there.execute(line.encode())

    def drop(self) -> None:
        """Removes both accounts and what the target's one owns."""
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"DROP USER '{self.name}'@'%'")
        with self.target.connect() as there:
            name = sql.Identifier(self.name)
            # Waits for their ends: until then they have their locks, and read their slots.
            there.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = %s",
                [self.name],
            )
            there.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
            there.execute(sql.SQL("DROP ROLE {}").format(name))


def accounts(source: SourceDatabase, target: TargetDatabase) -> Accounts:
    """Accounts of a fresh name; nothing is made yet."""
    return Accounts(source, target, f"b_{secrets.token_hex(5)}", secrets.token_hex(12))
