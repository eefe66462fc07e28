"""The newest records by the bytes they are stored as, so that they need not be read from them anew.

Those who train a job, who wait for its turn and who watch it ask for it after each change.
"""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

_MOST = 64

Record = TypeVar("Record")


class Recent(Generic[Record]):
    """Records that were written or read last; safe to share between threads, as they are."""

    def __init__(self, read: Callable[[bytes], Record], most: int = _MOST) -> None:
        """read gives the record of its bytes."""
        self._read = read
        self._most = most
        self._records: dict[bytes, Record] = {}
        self._lock = Lock()

    def add(self, body: bytes, record: Record) -> None:
        """Remembers what a record is stored as."""
        with self._lock:
            self._records[body] = record
            if len(self._records) > self._most:
                del self._records[next(iter(self._records))]

    def read(self, body: bytes) -> Record:
        """The record of its bytes. Raises what reading them raises."""
        record = self._records.get(body)
        if record is None:
            record = self._read(body)
            self.add(body, record)
        return record
