"""A worker at work says that it lives, from a thread that no read and no long sum keeps from it."""

import select
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from time import sleep

# Between two beats of a worker.
SECONDS = 0.5


class Line:
    """The worker's end of its socket: answers, and beats in between while it is at work."""

    def __init__(self, connection: Connection, beat: Callable[[], bytes]) -> None:
        """Beat gives what to say of a worker that lives."""
        self._connection = connection
        self._beat = beat
        self._says = threading.Lock()
        self._is_at_work = threading.Event()
        self._writable = select.poll()
        self._writable.register(connection, select.POLLOUT)
        threading.Thread(target=self._live, name="beats", daemon=True).start()

    def message(self) -> bytes:
        """The next message; at work from its first byte until it is answered. Raises EOFError."""
        self._connection.poll(None)
        self._is_at_work.set()
        return self._connection.recv_bytes()

    def answer(self, answer: bytes) -> None:
        """Says what became of the message; no beat follows it."""
        with self._says:
            self._is_at_work.clear()
            self._connection.send_bytes(answer)

    def _live(self) -> None:
        while self._is_at_work.wait():
            sleep(SECONDS)
            with suppress(OSError):  # who listened is gone, and the worker about to follow
                self._say()

    def _say(self) -> None:
        """Beats, unless something is being said; never waits for who does not listen."""
        if not self._says.acquire(blocking=False):
            return
        try:
            if self._is_at_work.is_set() and self._writable.poll(0):
                self._connection.send_bytes(self._beat())
        finally:
            self._says.release()
