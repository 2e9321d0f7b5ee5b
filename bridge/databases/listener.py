"""What a broker's listener speaks: TLS or not, and whether it wants a login.

A broker that is spoken to in the wrong way just hangs up, so that librdkafka cannot tell why.
Protocol: Kafka's documentation, "Protocol Guide"; KIP-43 and KIP-152 for the handshake of SASL.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass

from bridge.databases.endpoint import Tls

ANSWER_SECONDS = 2.0
_SASL_HANDSHAKE = 17
_UNSUPPORTED_MECHANISM = 33
_LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Listener:
    """What was found out; all is false or empty where nothing that is known answers."""

    tls: bool = False
    kafka: bool = False
    mechanisms: tuple[str, ...] = ()
    """Ways to log in (SASL); () where the listener wants no login."""


def examine(broker: str, tls: Tls | None) -> Listener:
    """Speaks to a broker (``host:port``) as a client with `tls` would, and in the other way."""
    for encrypted in (tls is not None, tls is None):
        with contextlib.suppress(OSError, struct.error), contextlib.closing(_open(broker)) as plain:
            try:
                stream = _encrypted(plain, tls) if encrypted else plain
            except ssl.SSLError as error:
                if "ALERT" in (error.reason or ""):  # such as: no certificate of the client
                    return Listener(tls=True)
                raise
            with contextlib.closing(stream):
                return _asked(stream, encrypted)
    return Listener()


def _open(broker: str) -> socket.socket:
    host, _, port = broker.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS)


def _encrypted(plain: socket.socket, tls: Tls | None) -> ssl.SSLSocket:
    """Nothing secret goes this way, so it does not matter who answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls and tls.cert:
        context.load_cert_chain(tls.cert, tls.key or None)
    return context.wrap_socket(plain)


def _asked(stream: socket.socket, encrypted: bool) -> Listener:
    """Asks for a way to log in that does not exist; the answer lists those that do."""
    mechanism = b"NONE"
    # version 0, correlation 1, no name of the client
    request = struct.pack(">hhihh", _SASL_HANDSHAKE, 0, 1, -1, len(mechanism)) + mechanism
    try:
        stream.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _exactly(stream, 4))
        if not 10 <= size <= _LONGEST:
            raise ConnectionError("no answer of Kafka's")
        answer = _exactly(stream, size)
    except (OSError, struct.error):
        if encrypted:  # the handshake was done, so this much is known
            return Listener(tls=True)
        raise
    correlation, code, count = struct.unpack(">ihi", answer[:10])
    if correlation != 1:
        return Listener(tls=encrypted)
    found = _texts(answer[10:], count) if code == _UNSUPPORTED_MECHANISM else ()
    return Listener(tls=encrypted, kafka=True, mechanisms=found)


def _exactly(stream: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        part = stream.recv(size - len(read))
        if not part:
            raise ConnectionError("closed")
        read += part
    return read


def _texts(data: bytes, count: int) -> tuple[str, ...]:
    found = []
    for _ in range(count):
        (size,) = struct.unpack(">h", data[:2])
        found.append(data[2 : 2 + size].decode())
        data = data[2 + size :]
    return tuple(found)
