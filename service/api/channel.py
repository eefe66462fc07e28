"""What both ends of a connection must agree on: message size and keepalive."""

ChannelOptions = tuple[tuple[str, int], ...]

MESSAGE_BYTES = 4 * 2**20

# A peer that vanished is noticed after the time and the timeout together. A server closes the
# connection of a client that pings more often than it allows, so it allows twice as often as ours
# does; streams are the only calls that live long enough to need a ping.
KEEPALIVE_MILLISECONDS = 20_000
KEEPALIVE_TIMEOUT_MILLISECONDS = 10_000
SHORTEST_PING_MILLISECONDS = KEEPALIVE_MILLISECONDS // 2

_BOTH: ChannelOptions = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MILLISECONDS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
)

# A service that was away is found again in no more than this; gRPC's own backoff grows to 2
# minutes, during which every call fails although the service is back.
LONGEST_RECONNECT_MILLISECONDS = 2_000

CLIENT_OPTIONS: ChannelOptions = (
    *_BOTH,
    ("grpc.initial_reconnect_backoff_ms", LONGEST_RECONNECT_MILLISECONDS // 10),
    ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_MILLISECONDS),
)

SERVER_OPTIONS: ChannelOptions = (
    *_BOTH,
    ("grpc.http2.min_recv_ping_interval_without_data_ms", SHORTEST_PING_MILLISECONDS),
    ("grpc.keepalive_permit_without_calls", 0),
    # Two services on one port would each get a share of the calls, without a word.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 1_000),
)
