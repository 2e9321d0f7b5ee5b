"""What the tasks work with, opened for each of them anew: settings, sessions, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from bridge.config import Settings
from bridge.mapping.files import read_all
from bridge.names import TableName
from bridge.verify.ledger import STALE_SECONDS, Ledger
from bridge.verify.pipeline import Endpoints, carried_tables, open_verifier, reads
from bridge.verify.run import Verifier
from bridge.verify.tables import Followed, Unfit


class Bench:
    """Belongs to one pipeline."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def pipeline(self) -> str:
        """Its name."""
        return self.settings.name

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Over a session of its own. Raises ServerUnreachable, ServerRefused."""
        with closing(self._endpoints.target()) as conn:
            # Of a worker that froze while it saved, the server lets go what others wait for.
            conn.execute(f"SET idle_in_transaction_session_timeout = '{STALE_SECONDS}s'".encode())
            yield Ledger(conn, self.pipeline)

    def verifier(self) -> Verifier:
        """Raises ServerUnreachable, ServerRefused."""
        return open_verifier(self.pipeline, self._endpoints)

    def tables(self, only: Iterable[TableName] | None = None) -> dict[TableName, Followed | Unfit]:
        """All that are carried, or `only` some of them, as they are now."""
        mappings = read_all(self.settings.mappings) if only is None else {}
        return carried_tables(self.pipeline, self._endpoints, mappings, only)

    @property
    def _endpoints(self) -> Endpoints:
        settings = self.settings
        return Endpoints(
            settings.endpoint(settings.pipeline.source),
            settings.endpoint(settings.pipeline.target),
            reads(settings),
        )
