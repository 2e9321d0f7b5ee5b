"""What a daemon says of itself, from one run of its engine to the next."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from bridge.errors import ServerUnreachable
from bridge.replicate.board import Board
from bridge.replicate.daemon import Daemon
from bridge.replicate.servers import Servers
from bridge.store.lease import Lease
from tests.fix_servers import SourceDatabase, TargetDatabase


@dataclass
class Engine:
    """Comes to the end of the stream, then loses the source; the next one cannot reach it."""

    board: Board
    found: list[float | None]

    def run(self) -> None:
        self.found.append(self.board.lag_seconds)
        if len(self.found) == 1:
            self.board.lag_seconds = 0.0
            raise ServerUnreachable("the source is away", "")


def test_an_engine_begins_without_knowing_its_lag(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    board, found = Board(), []  # type: tuple[Board, list[float | None]]
    servers = Servers(source_db.connect, source_db.connect, target_db.connect, "p")

    def engine(lease: Lease, stopping: threading.Event) -> Engine:
        return Engine(board, found)

    Daemon(servers, board, engine).run()
    assert found == [None, None]
