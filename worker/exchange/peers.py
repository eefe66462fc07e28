"""The peers that a member talks to: one loop over all their sockets, with a deadline on every wait.

Connections are made, and made again where they break, by the same loop: one side calls, the other
is called. A peer is given up where nobody listens at its address any more, where the network says
so, where a third frame is damaged, or where it is silent for longer than its patience.
"""

import errno
import os
import selectors
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep

from gradloom.worker.exchange.deadlines import BEAT, CONNECT, FAREWELL, RETRY
from gradloom.worker.exchange.exchange import Broken, NoRoom, Why
from gradloom.worker.exchange.frames import Damaged, Frame, Kind
from gradloom.worker.exchange.greeting import Greeted, Greeting, Stranger, answer, call
from gradloom.worker.exchange.link import Gone, Link
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.exchange.sealing import Seal, Sealed, Sealing
from gradloom.worker.exchange.sockets import (
    UNREACHABLE,
    begin_call,
    failure,
    is_cut_off,
    set_up,
)
from gradloom.worker.exchange.verdict import packed, unpacked
from gradloom.worker.messages import Formation

# A frame that is damaged is sent again; the third time the peer is given up.
_MOST_FAULTS = 3


class Meeting:
    """A connection that is under way: it has to be answered, and the greeting to be said."""

    def __init__(
        self,
        connection: socket.socket,
        greeting: Greeting | None,
        seal: Seal | None = None,
    ) -> None:
        """Without a greeting it only finds out whether somebody listens; seal is for TLS."""
        self.connection = connection
        self.began = monotonic()
        self.is_answered = False
        self._greeting = greeting
        self._seal = seal
        self._wanted = -1
        self._come = b""

    @property
    def is_question(self) -> bool:
        """Whether nothing is to be said."""
        return self._greeting is None

    def go_on(self) -> Greeted | None:
        """Who the peer is, once that is known. Raises Stranger, Gone, OSError."""
        assert self._greeting is not None
        try:
            if self._wanted < 0:
                if not self._is_private():
                    return None
                self._say(next(self._greeting))
            self._listen(self._greeting)
        except StopIteration as stop:
            greeted: Greeted = stop.value
            return greeted
        return None

    def _is_private(self) -> bool:
        """Whether the greeting may begin: under TLS, once both have shown the certificate."""
        if self._seal is None:
            return True
        if not isinstance(self.connection, Sealed):
            self.connection = self._seal(self.connection)
        try:
            self.connection.do_handshake()
        except BlockingIOError:
            return False
        return True

    def _say(self, saying: tuple[bytes, int]) -> None:
        said, self._wanted = saying
        if said:
            self.connection.sendall(said)

    def _listen(self, greeting: Greeting) -> None:
        while self._has_come():
            come, self._come = self._come, b""
            self._say(greeting.send(come))

    def _has_come(self) -> bool:
        while len(self._come) < self._wanted:
            try:
                part = self.connection.recv(self._wanted - len(self._come))
            except BlockingIOError:
                return False
            if not part:
                raise Gone(None)
            self._come += part
        return True


@dataclass(slots=True, eq=False)
class Peer:
    """A link, and how its connection comes about: calls tells whether this side makes it."""

    link: Link
    patience: float
    calls: bool
    is_local: bool
    meeting: Meeting | None = None
    call_at: float = 0.0
    absent_since: float = field(default_factory=monotonic)
    heard_at: float = 0.0
    is_given_up: bool = False
    is_writing: bool = False

    @property
    def worker(self) -> int:
        """The number of the worker it is."""
        return self.link.peer.worker

    @property
    def is_connected(self) -> bool:
        """Whether frames can be exchanged."""
        return self.link.connection is not None


class Peers:
    """All the peers of a member. What it is waiting for raises Broken, or NoRoom where told so."""

    def __init__(
        self, formation: Formation, worker: int, listener: Listener, peers: Sequence[Peer]
    ) -> None:
        self._formation = formation
        self._worker = worker
        self._all = tuple(peers)
        self._callers = {peer.worker: peer for peer in peers if not peer.calls}
        self._selector = selectors.DefaultSelector()
        self._guests: set[Meeting] = set()
        self._is_broken = False
        is_sealed = formation.certificate and not all(peer.is_local for peer in peers)
        self._sealing = Sealing(formation.certificate) if is_sealed else None
        distant, local = listener.sockets
        for listening, is_local in ((distant, False), (local, True)):
            if any(peer.is_local == is_local for peer in self._callers.values()):
                admit = partial(self._admit, listening, self._seal(is_local, is_called=True))
                self._watch(listening, selectors.EVENT_READ, admit)

    def connect(self) -> None:
        """Waits until all peers are there; says which one is not when the others are."""
        first: Broken | NoRoom | None = None
        while self._awaited():
            try:
                self._wait(self._awaited)
            except (Broken, NoRoom) as error:
                first = first or error
        if first:
            self._tell(first)
            raise first

    def _awaited(self) -> list[Peer]:
        return [peer for peer in self._all if not (peer.is_connected or peer.is_given_up)]

    def wait(self, missing: Callable[[], Sequence[Peer]]) -> None:
        """Waits until nobody is missing; tells the others who is to blame where that fails."""
        try:
            self._wait(missing)
        except (Broken, NoRoom) as error:
            self._tell(error)
            raise

    def hear(self, peers: Sequence[Peer], kind: Kind) -> list[Frame]:
        """The next frame of each peer, which is of that kind, once all have come."""
        missing = [peer for peer in peers if not peer.link.has(kind)]
        if missing:
            self.wait(lambda: [peer for peer in peers if not peer.link.has(kind)])
        return [peer.link.take() for peer in peers]

    def hear_note(self, peer: Peer, kind: Kind) -> bytes:
        """The next frame of one peer, which is short; most often no other one is looked at."""
        try:
            body = peer.link.hear(kind)
        except (Gone, Damaged) as error:
            self._fail(peer, error)
            body = None
        if body is not None:
            return body
        # What has come instead may be its last word, after which nothing comes.
        (frame,) = self.hear((peer,), kind)
        return bytes(frame.body)

    def say(self, peers: Sequence[Peer], kind: Kind, body: bytes) -> None:
        """Tells some peers something short."""
        for peer in peers:
            try:
                peer.link.say(kind, body)
            except Gone as error:
                self._fail(peer, error)
        self.settle(peers)

    def _fail(self, peer: Peer, error: Gone | Damaged) -> None:
        try:
            with self._heeding(peer):
                raise error
        except (Broken, NoRoom) as broken:
            self._tell(broken)
            raise

    def send(self, peer: Peer, frame: Frame) -> None:
        """Begins to send a frame; settle goes on."""
        with self._heeding(peer):
            peer.link.send(frame)
        self._attend(peer)

    def settle(self, peers: Sequence[Peer]) -> None:
        """Waits until all that they are sent has left."""
        for peer in peers:
            self._attend(peer)
        if any(peer.link.owes for peer in peers):
            self.wait(lambda: [peer for peer in peers if peer.link.owes])

    def flush(self, peers: Sequence[Peer]) -> None:
        """Begins to send what their links have more of."""
        for peer in peers:
            with self._heeding(peer):
                peer.link.flush()
            self._attend(peer)

    def _wait(self, missing: Callable[[], Sequence[Peer]]) -> None:
        began = monotonic()
        look_at = began + BEAT
        while late := missing():
            for peer in late:
                self._heed(peer)
            self._check_left(late)
            is_calling = self._call_again()
            events = self._selector.select(RETRY if is_calling else BEAT)
            for key, mask in events:
                key.data(mask)
            now = monotonic()
            if now >= look_at:
                look_at = now + BEAT
                self._look_after(missing(), began, now)

    def _check_left(self, late: Sequence[Peer]) -> None:
        for peer in late:
            if peer.link.has_left:
                raise self._blame(peer, Why.LOST, "has left the formation")

    def _look_after(self, late: Sequence[Peer], began: float, now: float) -> None:
        self._say_that_it_lives()
        for peer in self._all:
            meeting = peer.meeting
            if meeting and not meeting.is_answered and now - meeting.began > CONNECT:
                raise self._blame(peer, Why.UNREACHABLE, f"does not answer for {CONNECT:.0f} s")
        for guest in [each for each in self._guests if now - each.began > CONNECT]:
            self._dismiss(guest)
        for peer in late:
            silent = now - max(peer.heard_at, began)
            if silent > peer.patience:
                raise self._overdue(peer, silent)

    def _say_that_it_lives(self) -> None:
        for peer in self._all:
            if peer.is_connected and not peer.link.owes:
                self.send(peer, Frame(Kind.WAITING))

    def glance(self) -> None:
        """Hears what has come, and writes what there is room for, without waiting."""
        try:
            for key, mask in self._selector.select(0):
                key.data(mask)
        except (Broken, NoRoom) as error:
            self._tell(error)
            raise

    def linger(self) -> None:
        """Hears what has come, and tells all that this member lives, while none is waited for."""
        self.glance()
        try:
            self._say_that_it_lives()
        except (Broken, NoRoom) as error:
            self._tell(error)
            raise

    def _overdue(self, peer: Peer, silent: float) -> Broken:
        connection, meeting = peer.link.connection, peer.meeting
        is_cut = is_cut_off(connection) if connection else meeting and not meeting.is_answered
        if is_cut:
            return self._blame(peer, Why.UNREACHABLE, f"cannot be reached for {silent:.1f} s")
        return self._blame(
            peer, Why.FROZEN, f"has said nothing for {silent:.1f} s: it is frozen or far too slow"
        )

    def _blame(self, peer: Peer, why: Why, what: str) -> Broken:
        peer.is_given_up = True
        return Broken(peer.worker, why, f"worker {peer.worker} at {peer.link.peer.address} {what}")

    @property
    def sent(self) -> tuple[int, int]:
        """Frames and bytes that have gone to all of them so far."""
        links = [peer.link for peer in self._all]
        return sum(link.sent_frames for link in links), sum(link.sent_bytes for link in links)

    # Connections that stand.

    def _serve(self, peer: Peer, mask: int) -> None:
        with self._heeding(peer):
            if mask & selectors.EVENT_READ:
                if peer.link.receive():
                    peer.heard_at = monotonic()
                self._heed(peer)
            if mask & selectors.EVENT_WRITE:
                peer.link.flush()
        self._attend(peer)

    @contextmanager
    def _heeding(self, peer: Peer) -> Iterator[None]:
        try:
            yield
        except Damaged as damage:
            self._heed(peer)
            self._again(peer, f"sends {damage}")
        except Gone as gone:
            # What it said before it went counts.
            with suppress(Gone, Damaged):
                peer.link.receive()
            self._heed(peer)
            self._gone(peer, gone)

    def _heed(self, peer: Peer) -> None:
        """What a peer says last."""
        if not peer.link.inbox:
            return
        last = peer.link.inbox[-1]
        if last.kind == Kind.BYE:
            peer.link.has_left = True
        if last.kind == Kind.BROKEN:
            peer.is_given_up = True
            raise unpacked(last.body)

    def _gone(self, peer: Peer, gone: Gone) -> None:
        connection = peer.link.connection
        # Python's ssl takes whatever the kernel says for an end of file.
        is_cut = isinstance(connection, Sealed) and is_cut_off(connection)
        self._detach(peer)
        if peer.link.has_left or peer.is_given_up:
            return
        if is_cut:
            raise self._blame(peer, Why.UNREACHABLE, "cannot be reached")
        if gone.error and gone.error.errno in UNREACHABLE:
            raise self._blame(peer, Why.UNREACHABLE, f"cannot be reached: {gone.error.strerror}")
        if peer.is_local:
            raise self._blame(peer, Why.LOST, "is gone: its socket was closed")
        # It lives: it may have closed the connection because what came there was damaged.
        self._again(peer, "closes connections")

    def _again(self, peer: Peer, what: str) -> None:
        """Closes the connection; another one takes its place, twice."""
        self._detach(peer)
        peer.link.faults += 1
        if peer.is_local or peer.link.faults >= _MOST_FAULTS:
            raise self._blame(peer, Why.CORRUPT, f"{what}: {peer.link.faults} faults in a row")
        peer.call_at = 0.0
        self._call_again()

    def _attend(self, peer: Peer) -> None:
        """Looks out for room to write where something is owed."""
        owes, connection = peer.link.owes, peer.link.connection
        if connection is None or owes == peer.is_writing:
            return
        peer.is_writing = owes
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if owes else 0)
        self._selector.modify(connection, wanted, partial(self._serve, peer))

    def _attach(self, peer: Peer, connection: socket.socket, heard: int) -> None:
        peer.link.attach(connection, heard)
        peer.is_writing = False
        peer.heard_at = monotonic()
        self._watch(connection, selectors.EVENT_READ, partial(self._serve, peer))
        with self._heeding(peer):
            peer.link.flush()
        self._attend(peer)

    def _detach(self, peer: Peer) -> None:
        if peer.link.connection:
            self._selector.unregister(peer.link.connection)
            peer.link.detach()
            peer.absent_since = monotonic()

    # Connections that are made.

    def _call_again(self) -> bool:
        """Calls peers that are not there, or asks whether they live; whether any may be soon."""
        now = monotonic()
        absent = [peer for peer in self._awaited() if not peer.link.has_left]
        for peer in absent:
            if peer.meeting is None and now >= peer.call_at:
                self._call(peer)
        return any(peer.meeting is None and peer.calls for peer in absent)

    def _call(self, peer: Peer) -> None:
        greeting = (
            call(self._formation, self._worker, peer.worker, peer.link.heard)
            if peer.calls
            else None
        )
        try:
            connection = begin_call(peer.link.peer.address, is_local=peer.is_local)
        except OSError as error:
            self._failed(peer, error.errno or 0)
            return
        peer.meeting = Meeting(connection, greeting, self._seal(peer.is_local, is_called=False))
        answered = partial(self._answered, peer, peer.meeting)
        self._watch(connection, selectors.EVENT_WRITE, answered)

    def _answered(self, peer: Peer, meeting: Meeting, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            code = failure(meeting.connection)
            meeting.is_answered = True
            if code or meeting.is_question:
                self._end_call(peer, meeting)
                self._failed(peer, code)
                return
            self._selector.modify(
                meeting.connection, selectors.EVENT_READ, partial(self._answered, peer, meeting)
            )
        try:
            greeted = meeting.go_on()
        except (Stranger, Gone, OSError):
            self._end_call(peer, meeting)
            self._failed(peer, 0)
            return
        if greeted:
            self._selector.unregister(meeting.connection)
            peer.meeting = None
            self._attach(peer, meeting.connection, greeted.heard)

    def _end_call(self, peer: Peer, meeting: Meeting) -> None:
        self._selector.unregister(meeting.connection)
        meeting.connection.close()
        peer.meeting = None

    def _failed(self, peer: Peer, code: int) -> None:
        """A call came to nothing; where the peer lives it is made again."""
        if code == errno.ECONNREFUSED:
            raise self._blame(peer, Why.LOST, "is gone: nobody listens there any more")
        now = monotonic()
        if code in UNREACHABLE and now - peer.absent_since > CONNECT:
            raise self._blame(peer, Why.UNREACHABLE, f"cannot be reached: {os.strerror(code)}")
        # A way that has just been healed is not known everywhere at once.
        peer.call_at = now + (RETRY if peer.calls and not code else BEAT)

    def _seal(self, is_local: bool, *, is_called: bool) -> Seal | None:
        """What leaves the machine is sealed where the formation has a certificate."""
        if self._sealing is None or is_local:
            return None
        return partial(self._sealing.sealed, is_called=is_called)

    def _admit(self, listening: socket.socket, seal: Seal | None, _mask: int) -> None:
        heard = {worker: partial(self._heard, peer) for worker, peer in self._callers.items()}
        with suppress(BlockingIOError):
            while True:
                connection, _ = listening.accept()
                set_up(connection)
                guest = Meeting(connection, answer(self._formation, self._worker, heard), seal)
                self._guests.add(guest)
                self._watch(connection, selectors.EVENT_READ, partial(self._greet, guest))

    def _heard(self, peer: Peer) -> int:
        """How much of its frames has come; nothing more comes on the old connection."""
        self._detach(peer)
        return peer.link.heard

    def _greet(self, guest: Meeting, _mask: int) -> None:
        try:
            greeted = guest.go_on()
        except (Stranger, Gone, OSError):
            self._dismiss(guest)
            return
        if greeted:
            self._selector.unregister(guest.connection)
            self._guests.discard(guest)
            self._attach(self._callers[greeted.worker], guest.connection, greeted.heard)

    def _dismiss(self, guest: Meeting) -> None:
        self._selector.unregister(guest.connection)
        guest.connection.close()
        self._guests.discard(guest)

    def _watch(self, sock: socket.socket, events: int, heed: Callable[[int], None]) -> None:
        self._selector.register(sock, events, heed)

    # The end.

    def tell(self, error: Broken | NoRoom) -> None:
        """Tells all peers why the formation cannot go on, as far as they can be told."""
        self._is_broken = True
        self._say_last(Frame(Kind.BROKEN, packed(error)))

    _tell = tell

    def _say_last(self, frame: Frame) -> None:
        there = [peer for peer in self._all if peer.is_connected and not peer.link.has_left]
        for peer in there:
            with suppress(Gone):
                peer.link.send_last(frame)
        until = monotonic() + FAREWELL
        while any(peer.link.owes for peer in there) and monotonic() < until:
            for peer in there:
                with suppress(Gone):
                    peer.link.flush()
            sleep(FAREWELL / 16)

    def close(self) -> None:
        """Takes leave of peers, and closes all connections."""
        if not self._is_broken:
            self._say_last(Frame(Kind.BYE))
        for peer in self._all:
            self._detach(peer)
            peer.link.close()
            if peer.meeting:
                self._end_call(peer, peer.meeting)
        for guest in tuple(self._guests):
            self._dismiss(guest)
        self._selector.close()
