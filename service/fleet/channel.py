"""One end of a socket that carries whole messages, for a thread that must not wait for the other.

A process that is stopped neither reads nor ends what it was writing. So nothing here blocks: what
the socket does not take now is kept, and an unfinished message is completed when more has come.
The other end is a multiprocessing.connection.Connection, whose frames these are.
"""

import socket
import struct
from collections import deque
from collections.abc import Iterator

_SHORT = struct.Struct("!i")
_LONG = struct.Struct("!iQ")
_LONGEST_SHORT = 0x7FFF_FFFF
_CHUNK = 1 << 20


class Channel:
    """Sends and receives messages as far as that goes without waiting."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._leaving: deque[memoryview] = deque()
        self._coming = bytearray()

    def fileno(self) -> int:
        """The socket's descriptor, for those who wait for several."""
        return self._end.fileno()

    @property
    def has_more_to_send(self) -> bool:
        """Whether flush has to be called when the socket takes more."""
        return bool(self._leaving)

    def send(self, message: bytes) -> None:
        """Sends a message, or begins to. Raises OSError where the other end is gone."""
        self._leaving.append(memoryview(_header(len(message))))
        self._leaving.append(memoryview(message))
        self.flush()

    def flush(self) -> None:
        """Sends what the socket takes now. Raises OSError where the other end is gone."""
        try:
            while self._leaving:
                sent = self._end.send(self._leaving[0])
                self._leaving[0] = self._leaving[0][sent:]
                if not self._leaving[0]:
                    self._leaving.popleft()
        except BlockingIOError:
            return

    def receive(self) -> tuple[bytes, ...]:
        """Messages that are whole by now. Raises EOFError or OSError where none can follow."""
        is_over = self._read()
        messages = tuple(self._whole())
        if is_over and not messages:
            raise EOFError
        return messages

    def _read(self) -> bool:
        """Reads what is there; whether the other end is closed."""
        try:
            while chunk := self._end.recv(_CHUNK):
                self._coming += chunk
        except BlockingIOError:
            return False
        return True

    def _whole(self) -> Iterator[bytes]:
        while (bounds := _bounds(self._coming)) is not None:
            start, end = bounds
            if len(self._coming) < end:
                return
            message = bytes(memoryview(self._coming)[start:end])
            del self._coming[:end]
            yield message

    def close(self) -> None:
        """The other end reads an end of file."""
        self._end.close()


def _header(length: int) -> bytes:
    return _SHORT.pack(length) if length <= _LONGEST_SHORT else _LONG.pack(-1, length)


def _bounds(data: bytearray) -> tuple[int, int] | None:
    """Where the first message begins and ends, once its length is known."""
    if len(data) < _SHORT.size:
        return None
    (length,) = _SHORT.unpack_from(data)
    if length >= 0:
        return _SHORT.size, _SHORT.size + length
    if len(data) < _LONG.size:
        return None
    _, length = _LONG.unpack_from(data)
    return _LONG.size, _LONG.size + length
