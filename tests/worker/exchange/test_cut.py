"""F14 between two hosts: a cut is noticed by both sides, and is not called a frozen process."""

from pathlib import Path
from time import monotonic

import pytest

from benchmarks.hosts.faults import cut
from benchmarks.hosts.network import network
from benchmarks.hosts.tools import CannotUse
from gradloom.worker.exchange.deadlines import PEER_SOCKET
from gradloom.worker.exchange.exchange import Layout, Why
from tests.worker.exchange.formations import CERTIFICATE
from tests.worker.exchange.processes import Run

LAYOUT = Layout(2 * 8192 + 11, 2, 5)
# For a machine that is busy.
_SLACK = 4.0


@pytest.mark.parametrize(
    ("patience", "certificate"),
    [(2.0, b""), (30.0, b""), (30.0, CERTIFICATE)],
    ids=["soon frozen", "patient", "TLS"],
)
def test_a_cut_is_noticed_by_members_on_both_sides(
    patience: float, certificate: bytes, tmp_path: Path
) -> None:
    try:
        hosts = network(("host-a", "host-b"))
        up = hosts.__enter__()
    except CannotUse as reason:
        pytest.skip(str(reason))
    try:
        first, second = up.hosts
        places = {
            number: (host.address, host.keeper.inside(()))
            for number, host in enumerate((first, second))
        }
        with Run((0, 0, 1), LAYOUT, tmp_path, patience, places, certificate) as run:
            run.form()
            run.steps(2)
            with cut(up, second):
                began = monotonic()
                for process in run.processes.values():
                    process.tell("make", steps=1)
                answers = run.heard()
                assert monotonic() - began < PEER_SOCKET + 1.0 + _SLACK
            assert [answers[worker]["broken"]["culprit"] for worker in (0, 1, 2)] == [2, 2, 0]
            for answer in answers.values():
                assert answer["broken"]["why"] == Why.UNREACHABLE
            # Healed, all go on.
            assert [answer for answer in run.form().values() if "broken" in answer] == []
            run.steps(1)
    finally:
        hosts.__exit__(None, None, None)
