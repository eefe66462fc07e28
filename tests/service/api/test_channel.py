"""What both ends of a connection agree on."""

from gradloom.service.api.channel import CLIENT_OPTIONS, SERVER_OPTIONS
from gradloom.service.watching import LONGEST_PAUSE


def test_a_client_never_pings_more_often_than_the_server_allows() -> None:
    allowed = dict(SERVER_OPTIONS)["grpc.http2.min_recv_ping_interval_without_data_ms"]
    assert dict(CLIENT_OPTIONS)["grpc.keepalive_time_ms"] > allowed


def test_f21_a_port_is_not_shared() -> None:
    assert dict(SERVER_OPTIONS)["grpc.so_reuseport"] == 0


def test_f57_a_connection_is_tried_again_before_a_stream_gives_up_its_pause() -> None:
    """Were it tried less often than streams are, their attempts would meet no service at all."""
    assert dict(CLIENT_OPTIONS)["grpc.max_reconnect_backoff_ms"] < LONGEST_PAUSE * 1000 / 2
