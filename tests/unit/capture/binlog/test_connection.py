"""What comes over the socket, and what its end means."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.connection import BinlogConnection
from bridge.errors import BridgeError, ServerRefused, ServerUnreachable, SourceError
from tests.unit.capture.binlog.recorded import SOURCES, checked, event, packets, stream


class Session:
    """Stands for the session that asked for the dump; the server's end of it is `server`."""

    def __init__(self) -> None:
        self._sock, self.server = socket.socketpair()

    def _force_close(self) -> None:
        self._sock.close()


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    yield made
    made.server.close()
    made._force_close()


def reader(session: Session, heartbeat: float = 0.0) -> BinlogConnection:
    return BinlogConnection(session, 77, heartbeat)  # type: ignore[arg-type]


def read_on(binlog: BinlogConnection, codes: list[int], timeout: float = 5) -> NoReturn:
    """Adds the types of what comes to `codes` until reading raises."""
    while True:
        codes += [each[4] for each in binlog.read(timeout)]


@pytest.mark.parametrize("source", SOURCES)
def test_a_recorded_stream_is_read_to_its_end(session: Session, source: str) -> None:
    session.server.sendall(stream(source))
    session.server.shutdown(socket.SHUT_WR)
    codes: list[int] = []
    with reader(session) as binlog, pytest.raises(ServerUnreachable, match="closed"):
        read_on(binlog, codes)
    assert not {ev.TRANSACTION_PAYLOAD, 165, 166, 167, 168} & set(codes)
    assert codes.count(ev.XID) == {"mysql-9.7": 5, "mariadb-10.11": 3}[source]
    assert (
        sum(code in ev.ROW_KIND for code in codes) == {"mysql-9.7": 6, "mariadb-10.11": 4}[source]
    )
    assert binlog.bytes_received == len(stream(source))


def error_packet(code: int, text: str) -> bytes:
    return packets(b"\xff" + code.to_bytes(2, "little") + b"#HY000" + text.encode())


@pytest.mark.parametrize(
    ("sent", "kind", "words"),
    [
        (error_packet(1236, "Could not find first log file name"), SourceError, "first log file"),
        (error_packet(1789, "has purged required GTIDs"), SourceError, "purged"),
        (
            error_packet(1236, "A slave with the same server_uuid/server_id as this slave"),
            SourceError,
            "server id 77",
        ),
        (error_packet(1053, "Server shutdown in progress"), ServerUnreachable, "shutdown"),
        (error_packet(1927, "Connection was killed"), ServerUnreachable, "killed"),
        (error_packet(1227, "Access denied; you need REPLICATION SLAVE"), ServerRefused, "denied"),
        (packets(b"\xfe\0\0\2\0"), ServerUnreachable, "ended"),
    ],
)
def test_ends(session: Session, sent: bytes, kind: type[BridgeError], words: str) -> None:
    session.server.sendall(packets(checked(event(16, bytes(8)))) + sent)
    binlog = reader(session)
    assert len(binlog.read(5)) == 1
    with pytest.raises(kind, match=words) as caught:
        binlog.read(5)
    assert caught.value.transient == (kind is ServerUnreachable)
    assert caught.value.hint


def test_silence_is_noticed(session: Session) -> None:
    binlog = reader(session, heartbeat=0.05)
    binlog._patience = 0.2
    session.server.sendall(packets(checked(event(27, b"bin.1"))))
    assert binlog.read(1)
    codes: list[int] = []
    with pytest.raises(ServerUnreachable, match="silent"):
        read_on(binlog, codes, 0.05)
    assert codes == []


def test_a_file_decrypted_by_the_server_is_read_and_another_is_not(session: Session) -> None:
    session.server.sendall(packets(checked(event(164, bytes(17), flags=ev.IGNORABLE_FLAG))))
    binlog = reader(session)
    assert [each[4] for each in binlog.read(5)] == [164]
    session.server.sendall(packets(checked(event(164, bytes(17)))))
    with pytest.raises(SourceError, match="encrypted"):
        binlog.read(5)


def test_half_an_event_is_waited_for(session: Session) -> None:
    data = packets(checked(event(16, bytes(8))))
    session.server.sendall(data[:9])
    binlog = reader(session)
    assert binlog.read(0.05) == []
    session.server.sendall(data[9:])
    assert len(binlog.read(5)) == 1


def test_closing_wakes_a_reader(session: Session) -> None:
    binlog = reader(session)
    timer = threading.Timer(0.1, binlog.close)
    timer.start()
    with pytest.raises(ServerUnreachable, match="closed"):
        binlog.read(30)
    timer.join()
