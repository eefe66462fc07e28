"""TLS between cells: nobody reads along, no stranger enters, what is spoiled is sent again."""

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.training.certificate import fresh_certificate
from gradloom.worker.exchange.exchange import Broken, Layout
from gradloom.worker.exchange.join import join
from gradloom.worker.exchange.listener import Listener, distant_name
from gradloom.worker.exchange.loom import Loom
from gradloom.worker.exchange.sealing import Sealed, Sealing
from gradloom.worker.messages import Formation
from tests.worker.exchange.formations import (
    CERTIFICATE,
    enter,
    formation,
    leaf,
    steps,
    together,
)
from tests.worker.exchange.proxy import Spoil, Tap
from tests.worker.exchange.test_frames_on_the_way import SPOILS

# Some pieces for each slice.
LAYOUT = Layout(20 * 8192 + 5, 2, 2)
# What the first cell sends the second one, among other things.
SECRET = leaf(0, LAYOUT.size)[-100:].tobytes()

Tapped = Callable[..., tuple[Tap, list[object]]]


@pytest.fixture
def tapped(listeners: list[Listener], tmp_path: Path) -> Iterator[Tapped]:
    """Makes steps of two cells of one member with a tap between them."""
    taps: list[Tap] = []

    def run(certificate: bytes, spoil: Spoil | None = None) -> tuple[Tap, list[object]]:
        ears = listeners[:2]
        formed = formation(ears, (0, 1), (0, 1, 2), tmp_path, certificate=certificate)
        taps.append(Tap(ears[0].address, spoil, 1) if spoil else Tap(ears[0].address))
        first = replace(formed.members[0], address=taps[0].address)
        formed = replace(formed, members=(first, formed.members[1]))
        return taps[0], steps(formed, enter(formed, ears, LAYOUT), LAYOUT, 3)

    yield run
    for tap in taps:
        tap.close()


def test_who_listens_on_the_way_hears_nothing_of_the_gradient(tapped: Tapped) -> None:
    tap, results = tapped(CERTIFICATE)
    assert results == [True] * 6
    assert len(tap.heard) > 4 * LAYOUT.size
    assert SECRET not in tap.heard


def test_without_a_certificate_the_gradient_is_there_to_read(tapped: Tapped) -> None:
    tap, _ = tapped(b"")
    assert SECRET in tap.heard


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_was_spoiled_is_sent_again(spoil: Spoil, tapped: Tapped) -> None:
    tap, results = tapped(CERTIFICATE, spoil)
    assert results == [True] * 6
    assert tap.spoiled == 1


@pytest.mark.parametrize("others", [b"", fresh_certificate()], ids=["plain", "another's"])
@pytest.mark.parametrize("stranger", [0, 1])
def test_who_does_not_have_the_certificate_does_not_come_in(
    stranger: int, others: bytes, listeners: list[Listener], tmp_path: Path
) -> None:
    ears = listeners[:2]
    formed = formation(ears, (0, 1), (0, 1, 2), tmp_path, patience=0.5, certificate=CERTIFICATE)
    formations = [formed, formed]
    formations[stranger] = replace(formed, certificate=others)
    results = together(
        [
            lambda f=each, n=number: join(f, n, ears[n], LAYOUT)
            for number, each in enumerate(formations)
        ]
    )
    assert [type(result) for result in results] == [Broken, Broken]


def test_a_caller_who_takes_any_certificate_has_to_show_the_right_one() -> None:
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    calling, called = socket.socketpair()
    with Sealing(CERTIFICATE).sealed(called, is_called=True) as sealed:
        sealed.settimeout(5)

        def call() -> bytes:
            with careless.wrap_socket(calling) as careless_side:
                return careless_side.recv(1)

        results = together([sealed.do_handshake, call])
    assert [type(result) for result in results] == [ssl.SSLError] * 2


def test_a_caller_who_says_nothing_keeps_nobody_out(
    listeners: list[Listener], tmp_path: Path
) -> None:
    ears = listeners[:2]
    formed = formation(ears, (0, 1), (0, 1, 2), tmp_path, certificate=CERTIFICATE)
    callers = [socket.create_connection(distant_name(ear.address)) for ear in ears]
    assert steps(formed, enter(formed, ears, LAYOUT), LAYOUT, 1) == [True] * 2
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("length", [0, 4000, 4096, 4097, 16384, 100_000])
def test_notes_of_any_length_come_at_once(
    length: int, listeners: list[Listener], tmp_path: Path
) -> None:
    """What TLS has read and not given away yet is nothing that a selector would wake up for."""
    ears = listeners[:3]
    formed = formation(ears, (0, 1, 2), (0, 1, 2, 2), tmp_path, certificate=CERTIFICATE)
    entered = enter(formed, ears, LAYOUT)
    notes = [bytes([number]) * length for number in range(3)]
    for _ in range(3):
        agreed = together(
            [lambda e=e, n=n: e.agree(n) for e, n in zip(entered, notes, strict=True)]
        )
        assert agreed == [tuple(notes)] * 3


def test_within_a_node_nothing_is_sealed(listeners: list[Listener], tmp_path: Path) -> None:
    ears = listeners[:3]
    formed = formation(ears, (0, 0, 1), (0, 1, 1, 2), tmp_path, certificate=CERTIFICATE)
    first, *_ = enter(formed, ears, LAYOUT)
    assert {peer.is_local: isinstance(peer.link.connection, Sealed) for peer in peers(first)} == {
        True: False,
        False: True,
    }


def peers(loom: Loom) -> Sequence[object]:
    return loom._role._peers._all  # type: ignore[attr-defined]


def test_the_key_is_left_in_no_file() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    Sealing(CERTIFICATE)
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_formation_that_is_shown_shows_no_key() -> None:
    shown = repr(Formation(1, (), b"key", "", 1.0, CERTIFICATE))
    assert "PRIVATE" not in shown
