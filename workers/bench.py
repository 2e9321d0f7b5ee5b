"""What the tasks work with, opened for each of them anew: settings, sessions, tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from bridge.config import Settings
from bridge.databases import mysql, postgres
from bridge.mapping.files import read_all
from bridge.names import TableName
from bridge.replicate.reader import Reader
from bridge.replicate.servers import Servers
from bridge.store.lease import Fence, application_name
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

    def reader(self, epoch: int, source_id: str) -> Reader:
        """Of a copy's chunks; see Reader."""
        settings, endpoints = self.settings, self._endpoints
        copied = settings.pipeline.copy_from
        source = settings.endpoint(copied) if copied else endpoints.from_
        # Named like the daemon's own, so that whoever takes the pipeline over ends these as well.
        name = application_name(self.pipeline)
        servers = Servers(
            source=endpoints.source,
            copy_source=lambda: mysql.connect(source),
            target=lambda: postgres.connect(endpoints.to, autocommit=True, application_name=name),
            pipeline=self.pipeline,
            replica=source != endpoints.from_,
        )
        worker = f"{platform.node()}:{os.getpid()}"
        return Reader(servers, Fence(self.pipeline, epoch), source_id, worker)

    @property
    def _endpoints(self) -> Endpoints:
        settings = self.settings
        return Endpoints(
            settings.endpoint(settings.pipeline.source),
            settings.endpoint(settings.pipeline.target),
            reads(settings),
        )
