"""Frames to and from one peer, in order and whole, over connections that may be replaced."""

import array
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from gradloom.worker.exchange.frames import (
    HEADER,
    LONGEST,
    Body,
    Damaged,
    Frame,
    Header,
    Kind,
    check,
    packed,
    unpacked,
    whole,
)
from gradloom.worker.exchange.sealing import is_holding
from gradloom.worker.exchange.sockets import make_patient
from gradloom.worker.messages import Member

# What is read at once where no long frame is under way.
_GULP = 4096
# Seconds in which a short frame is waited for without sleep.
_AWAKE = 0.001
_MOST_DESCRIPTORS = 250
# After so many bytes others have their turn.
_AT_ONCE = 1 << 20


class Gone(Exception):
    """The connection is no more; error is what the kernel says, None where the peer closed it."""

    def __init__(self, error: OSError | None) -> None:
        super().__init__(str(error) if error else "the connection was closed")
        self.error = error


@dataclass(frozen=True, slots=True)
class _Sent:
    """A frame as it went out."""

    sequence: int
    parts: list[memoryview]


def _nowhere(header: Header) -> memoryview:
    raise Damaged(f"a frame of kind {header.kind} that nobody waits for")


class Link:
    """One peer. Where it keeps what it sent, a new connection goes on where the old one broke.

    Where connections are sealed, TLS vouches for bodies, and checksums cover headers alone.
    """

    def __init__(
        self, peer: Member, job: int, formation: int, *, keeps: bool, is_sealed: bool = False
    ) -> None:
        self.peer = peer
        self.keeps = keeps
        self.is_sealed = is_sealed
        self.connection: socket.socket | None = None
        self.inbox: deque[Frame] = deque()
        self.faults = 0
        self.has_left = False
        # Where pieces of vectors belong, and who is told when one is whole.
        self.place: Callable[[Header], memoryview] = _nowhere
        self.arrived: Callable[[Header], None] = lambda _: None
        # More frames, made when there is room for them.
        self.more: Callable[[], Frame | None] = lambda: None
        self.heard = 0
        self.sent_frames = self.sent_bytes = 0
        self._job, self._formation = job, formation & 0xFFFFFFFF
        self._next = 0
        self._kept: deque[_Sent] = deque()
        self._queue: deque[Frame] = deque()
        self._leaving: list[memoryview] = []
        self._descriptors: tuple[int, ...] = ()
        self._room = memoryview(bytearray(_GULP))
        # Within a node, until the cell's memory is shared.
        self.takes_descriptors = not keeps
        self._come: list[int] = []
        self._forget_partial()

    def _forget_partial(self) -> None:
        self._first, self._last = 0, 0
        self._header: Header | None = None
        self._raw = b""
        self._body: memoryview | bytearray = bytearray()
        self._filled = 0

    def attach(self, connection: socket.socket, heard: int) -> None:
        """Goes on over a new connection; the peer has all our frames up to the one heard."""
        self.connection = connection
        make_patient(connection)
        self._forget_partial()
        self._forget(heard)
        self._leaving = [part for sent in self._kept for part in sent.parts]

    def detach(self) -> None:
        """Closes the connection, if there is one."""
        if self.connection:
            self.connection.close()
        self.connection = None

    @property
    def owes(self) -> bool:
        """Whether something is still to be written."""
        return bool(self._leaving or self._queue)

    def send(self, frame: Frame) -> None:
        """Writes a frame, or as much as there is room for; flush goes on. Raises Gone."""
        self._queue.append(frame)
        self.flush()

    def say(self, kind: Kind, body: bytes) -> None:
        """Writes a short frame: as send, and sooner where nothing else is to be written."""
        connection = self.connection
        if connection is None or self._leaving or self._queue or len(body) > _GULP:
            self.send(Frame(kind, body))
            return
        sequence, self._next = self._next, (self._next + 1) & 0xFFFFFFFF
        header = (self._job, kind, 0, self._formation, sequence, self.heard, len(body), 0)
        data = packed(header, self._checked(body)) + body
        if self.keeps:
            self._kept.append(_Sent(sequence, [memoryview(data)]))
        self.sent_frames += 1
        try:
            count = connection.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            count = 0
        except OSError as error:
            raise Gone(error) from error
        self.sent_bytes += count
        if count < len(data):
            self._leaving = [memoryview(data)[count:]]

    def hear(self, kind: Kind) -> bytes | None:
        """A frame of that kind, if it is the next thing to come within a moment.

        None where it is not; what has come then is received. Raises Gone, Damaged.
        """
        connection = self.connection
        if connection is None or self.inbox or self._last or self._header or self.takes_descriptors:
            return None
        try:
            data = self._soon(connection)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Gone(error) from error
        header = whole(data, covers_body=not self.is_sealed)
        if header and header.kind == kind and self._is_next(header):
            self.heard = (self.heard + 1) & 0xFFFFFFFF
            self._forget(header.heard)
            return data[HEADER:]
        if not data:
            raise Gone(None)
        self._last = len(data)
        self._room[: self._last] = data
        self._parse()
        if is_holding(connection):
            self.receive()
        return None

    def _soon(self, connection: socket.socket) -> bytes:
        """What comes, asked for again and again at first: to be woken takes as long as a sum.

        Others that want the processor have it in between.
        """
        until = perf_counter() + _AWAKE
        while perf_counter() < until:
            with suppress(BlockingIOError):
                return connection.recv(_GULP, socket.MSG_DONTWAIT)
            os.sched_yield()
        return connection.recv(_GULP)

    def _is_next(self, header: Header) -> bool:
        return (
            header.sequence == self.heard
            and header.job == self._job
            and header.formation == self._formation
        )

    def send_last(self, frame: Frame) -> None:
        """Writes a frame before all that has not begun to leave, which is dropped."""
        self._queue.clear()
        self.more = lambda: None
        self.send(frame)

    def flush(self) -> None:
        """Writes what there is room for. Raises Gone."""
        while self.connection and (self._leaving or self._begin_next()):
            try:
                count = self._write(self.connection)
            except BlockingIOError:
                return
            except OSError as error:
                raise Gone(error) from error
            self.sent_bytes += count
            self._leave(count)

    def _begin_next(self) -> bool:
        frame = self._queue.popleft() if self._queue else self.more()
        if frame is None:
            return False
        body, kind, row = frame.body, frame.kind, frame.row
        sequence, self._next = self._next, (self._next + 1) & 0xFFFFFFFF
        header = packed(
            (self._job, kind, row, self._formation, sequence, self.heard, len(body), frame.offset),
            self._checked(body),
        )
        pieces = (header, body) if len(body) > _GULP else (b"".join((header, body)),)
        parts = [memoryview(piece) for piece in pieces]
        if self.keeps:
            self._kept.append(_Sent(sequence, parts))
        self.sent_frames += 1
        self._descriptors = frame.descriptors
        self._leaving = parts.copy()
        return True

    def _write(self, connection: socket.socket) -> int:
        if not self._descriptors:
            return connection.sendmsg(self._leaving[:64], (), socket.MSG_DONTWAIT)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self._descriptors))
        count = connection.sendmsg(self._leaving, [rights], socket.MSG_DONTWAIT)
        self._descriptors = ()
        return count

    def _leave(self, count: int) -> None:
        leaving, gone = self._leaving, 0
        while gone < len(leaving) and count >= len(leaving[gone]):
            count -= len(leaving[gone])
            gone += 1
        del leaving[:gone]
        if count:
            leaving[0] = leaving[0][count:]

    def receive(self) -> bool:
        """Takes in what has come: pieces to their places, other frames to the inbox.

        Returns whether anything came. Raises Gone, Damaged.
        """
        come = 0
        while self.connection and (come < _AT_ONCE or is_holding(self.connection)):
            try:
                count = self._read(self.connection)
            except BlockingIOError:
                return come > 0
            except OSError as error:
                raise Gone(error) from error
            if not count:
                raise Gone(None)
            come += count
            if count < _GULP and self._header is None and not is_holding(self.connection):
                break
        return come > 0

    def _read(self, connection: socket.socket) -> int:
        if self._header is not None:
            count = connection.recv_into(self._rest, 0, socket.MSG_DONTWAIT)
            self._filled += count
            self._end_if_whole()
            return count
        count = self._gulped(connection, self._room[self._last :])
        self._last += count
        self._parse()
        return count

    def _gulped(self, connection: socket.socket, room: memoryview) -> int:
        if not self.takes_descriptors:
            return connection.recv_into(room, 0, socket.MSG_DONTWAIT)
        size = socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        count, rights, _, _ = connection.recvmsg_into([room], size, flags)
        for level, kind, data in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._come += array.array("i", data[: len(data) // 4 * 4])
        return count

    @property
    def _rest(self) -> memoryview:
        return memoryview(self._body)[self._filled :]

    def _parse(self) -> None:
        """Takes apart what was gulped; a long body is read to its place directly."""
        while self._header is None and self._last - self._first >= HEADER:
            begin, body = self._first, self._first + HEADER
            self._raw = bytes(self._room[begin:body])
            self._expect(unpacked(self._raw))
            self._filled = min(len(self._body), self._last - body)
            self._first = body + self._filled
            self._body[: self._filled] = self._room[body : self._first]
            self._end_if_whole()
        left = self._last - self._first
        if left:
            self._room[:left] = self._room[self._first : self._last]
        self._first, self._last = 0, left

    def _expect(self, header: Header) -> None:
        if (header.job, header.formation) != (self._job, self._formation):
            raise Damaged("a frame of another job or formation")
        if header.sequence != self.heard:
            raise Damaged(f"frame {header.sequence} where {self.heard} should come")
        if header.kind in _PIECES:
            self._body = self.place(header)
        elif header.kind in _KINDS and header.length <= LONGEST:
            self._body = bytearray(header.length)
        else:
            raise Damaged(f"a frame of kind {header.kind} with {header.length} bytes")
        self._header = header

    def _end_if_whole(self) -> None:
        header = self._header
        if header is None or self._filled < header.length:
            return
        check(self._raw, self._checked(self._body))
        self._header = None
        self.heard = (self.heard + 1) & 0xFFFFFFFF
        self._forget(header.heard)
        if header.kind in _PIECES:
            self.arrived(header)
        elif header.kind != Kind.WAITING:
            come, self._come = tuple(self._come), []
            frame = Frame(Kind(header.kind), self._body, header.row, header.offset, come)
            self.inbox.append(frame)

    def _checked(self, body: Body) -> Body:
        return b"" if self.is_sealed else body

    def _forget(self, heard: int) -> None:
        """Lets go of frames that have arrived."""
        while self._kept and (heard - self._kept[0].sequence - 1) & 0xFFFFFFFF < 1 << 31:
            self._kept.popleft()

    def has(self, kind: Kind) -> bool:
        """Whether a frame of that kind is next."""
        return bool(self.inbox) and self.inbox[0].kind == kind

    def take(self) -> Frame:
        """The next frame."""
        return self.inbox.popleft()

    def close(self) -> None:
        """Closes what it holds."""
        self.detach()
        self._kept.clear()
        self._queue.clear()
        for descriptor in self._come:
            os.close(descriptor)
        self._come = []


_KINDS = frozenset(map(int, Kind))
_PIECES = frozenset({int(Kind.ROOTS), int(Kind.SUM)})
