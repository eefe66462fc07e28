"""R8: what is nearer gives up sooner, so that the right member is named."""

from gradloom.worker.exchange.deadlines import (
    BEAT,
    CONNECT,
    KEEPALIVE_IDLE,
    KEEPALIVE_PROBES,
    MOMENT,
    PEER_SOCKET,
    for_follower,
    for_leader,
    for_own_leader,
)


def test_the_inner_deadline_passes_before_the_outer_one() -> None:
    for patience in (0.0, 2.0, 30.0):
        assert for_follower(patience) + BEAT < for_leader(patience)
        assert for_leader(patience) + BEAT < for_own_leader(patience)


def test_who_waits_is_heard_of_before_anybody_gives_it_up() -> None:
    assert for_leader(0.0) + BEAT >= MOMENT + 2 * BEAT
    assert MOMENT < 0.1, "a death is noticed within 100 ms"


def test_a_cut_is_noticed_within_the_time_for_peer_sockets() -> None:
    assert KEEPALIVE_IDLE * KEEPALIVE_PROBES <= PEER_SOCKET
    assert CONNECT <= PEER_SOCKET
