"""The rights that the bridge's accounts get."""

from __future__ import annotations

from tests.endtoend.accounts import Accounts


def granted(mine: Accounts) -> None:
    """Gives both accounts what `dbbridge check` names, and nothing else."""
    who = f"'{mine.name}'@'%'"
    mine.grant(
        [
            f"GRANT SELECT, LOCK TABLES ON `{mine.source.name}`.* TO {who}",
            f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {who}",
        ],
        [f'GRANT CONNECT, CREATE ON DATABASE "{mine.target.name}" TO "{mine.name}"'],
    )
