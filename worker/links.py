"""How long a byte takes to another node and back, and how many get there in a second.

Who measures connects, shows a key, sends single bytes that are echoed, and then as many as it
can until the other side says how many came in how long.
"""

import hmac
import select
import socket
import statistics
import struct
import time
from contextlib import suppress
from threading import Thread

from gradloom.worker.inspection import LinkFacts

CONNECT_SECONDS = 5.0
# Long enough for a stream to reach its speed, and for the whole of a large cluster to be quick.
STREAM_SECONDS = 0.3
ROUND_TRIPS = 21

_ECHO, _STREAM = b"e", b"s"
_RESULT = struct.Struct("<dQ")
_CHUNK = bytes(1 << 18)


class Listener:
    """Answers those who measure the way to this node, one after the other, until it is closed."""

    def __init__(self, host: str, key: bytes) -> None:
        self._key = key
        self._socket = socket.create_server((host, 0))
        self.port: int = self._socket.getsockname()[1]
        Thread(target=self._serve, name="listener", daemon=True).start()

    def close(self) -> None:
        """Answers nobody any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                stream, _ = self._socket.accept()
                with stream, suppress(OSError):  # whoever measures notices it at the other end
                    stream.settimeout(CONNECT_SECONDS)
                    self._answer(stream)

    def _answer(self, stream: socket.socket) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not hmac.compare_digest(_exactly(stream, len(self._key)), self._key):
            return
        while (wish := stream.recv(1)) == _ECHO:
            stream.sendall(wish)
        if wish == _STREAM:
            _receive(stream)


def _receive(stream: socket.socket) -> None:
    """Counts what comes for a while, says how much it was, and lets the rest come to nothing."""
    buffer = bytearray(len(_CHUNK))
    count, start = 0, time.monotonic()
    while (seconds := time.monotonic() - start) < STREAM_SECONDS:
        received = stream.recv_into(buffer)
        if not received:
            return
        count += received
    stream.sendall(_RESULT.pack(seconds, count))
    while stream.recv_into(buffer):
        pass


def measure(host: str, port: int, key: bytes) -> LinkFacts:
    """What the way to a listener is like; a failure is one of the facts."""
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.sendall(key)
            round_trips = [_round_trip(stream) for _ in range(ROUND_TRIPS)]
            return LinkFacts(statistics.median(round_trips), _speed(stream))
    except (OSError, struct.error) as error:
        return LinkFacts(failure=str(error) or type(error).__name__)


def _round_trip(stream: socket.socket) -> float:
    start = time.perf_counter()
    stream.sendall(_ECHO)
    _exactly(stream, 1)
    return time.perf_counter() - start


def _speed(stream: socket.socket) -> float:
    """Bytes a second, as the receiver counted them: none that a buffer on the way still holds."""
    stream.sendall(_STREAM)
    deadline = time.monotonic() + CONNECT_SECONDS
    while time.monotonic() < deadline:
        readable, writable, _ = select.select([stream], [stream], [], CONNECT_SECONDS)
        if readable:
            seconds, count = _RESULT.unpack(_exactly(stream, _RESULT.size))
            return float(count / seconds)
        if writable:
            stream.send(_CHUNK, socket.MSG_DONTWAIT)
    raise TimeoutError(f"no answer to a stream within {CONNECT_SECONDS:.0f} s")


def _exactly(stream: socket.socket, size: int) -> bytes:
    """So many bytes; OSError where the other side ends before."""
    received = b""
    while len(received) < size:
        part = stream.recv(size - len(received))
        if not part:
            raise ConnectionError("the other side hung up")
        received += part
    return received
