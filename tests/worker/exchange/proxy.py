"""Somebody between two members who knows where frames begin, and spoils some of them."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from threading import Lock, Thread

from gradloom.worker.exchange.frames import HEADER, unpacked
from gradloom.worker.exchange.greeting import SAID_BY_CALLED, SAID_BY_CALLER

# What becomes of a frame: the frames that travel on; None cuts the connection.
Spoil = Callable[[bytes], list[bytes] | None]


class Proxy:
    """Passes on what is said to an address; of the frames it sees, spoils so many."""

    def __init__(self, address: str, spoil: Spoil, times: int, after: int = 3) -> None:
        """Of the first connection it lets the first frames through, as many as after says."""
        self._target = address.rpartition(":")[::2]
        self._spoil, self._left, self._after = spoil, times, after
        self._lock = Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.spoiled = 0
        self._open = [self._server]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._server.accept()
                after, self._after = self._after, 0
                called = socket.create_connection((self._target[0], int(self._target[1])))
                self._open += [caller, called]
                for source, sink, said in (
                    (caller, called, SAID_BY_CALLER),
                    (called, caller, SAID_BY_CALLED),
                ):
                    Thread(target=self._pass, args=(source, sink, said, after), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, said: int, after: int) -> None:
        with contextlib.suppress(OSError, EOFError):
            for _ in range(said):
                sink.sendall(_exactly(source, 1))
            for number, frame in enumerate(_frames(source)):
                passed = self._spoiled(frame) if number >= after else [frame]
                if passed is None:
                    sink.sendall(frame[: len(frame) // 2])
                    break
                sink.sendall(b"".join(passed))
        _shut(source, sink)

    def _spoiled(self, frame: bytes) -> list[bytes] | None:
        with self._lock:
            if not self._left:
                return [frame]
            self._left -= 1
            self.spoiled += 1
        return self._spoil(frame)

    def close(self) -> None:
        """Nothing passes any more."""
        for each in self._open:
            each.close()


class Tap(Proxy):
    """Knows nothing of frames: keeps all that it hears, and spoils what comes at once."""

    # Bytes that any handshake and greeting fit into.
    _BEGINNING = 1 << 14

    def __init__(self, address: str, spoil: Spoil = lambda data: [data], times: int = 0) -> None:
        """Of the first connection it lets the beginning through."""
        self._voices: list[bytearray] = []
        super().__init__(address, spoil, times, self._BEGINNING)

    @property
    def heard(self) -> bytes:
        """All that was said, one side after the other: both may speak at once."""
        return b"".join(self._voices)

    def _pass(self, source: socket.socket, sink: socket.socket, said: int, after: int) -> None:
        passed, voice = 0, bytearray()
        self._voices.append(voice)
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                voice += data
                spoiled = self._spoiled(data) if passed >= after else [data]
                if spoiled is None:
                    break
                sink.sendall(b"".join(spoiled))
                passed += len(data)
        _shut(source, sink)


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = source.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _frames(source: socket.socket) -> Iterator[bytes]:
    while True:
        header = _exactly(source, HEADER)
        yield header + _exactly(source, unpacked(header).length)
