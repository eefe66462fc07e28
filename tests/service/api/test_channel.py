"""What both ends of a connection agree on."""

from gradloom.service.api.channel import CLIENT_OPTIONS, SERVER_OPTIONS


def test_a_client_never_pings_more_often_than_the_server_allows() -> None:
    allowed = dict(SERVER_OPTIONS)["grpc.http2.min_recv_ping_interval_without_data_ms"]
    assert dict(CLIENT_OPTIONS)["grpc.keepalive_time_ms"] > allowed


def test_f21_a_port_is_not_shared() -> None:
    assert dict(SERVER_OPTIONS)["grpc.so_reuseport"] == 0
