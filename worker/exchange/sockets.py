"""How sockets between peers are set up, and what the kernel knows of a silent one."""

import errno
import socket
import struct

from gradloom.worker.exchange.deadlines import (
    KEEPALIVE_IDLE,
    KEEPALIVE_PROBES,
    MOMENT,
    PEER_SOCKET,
    SILENCE,
)
from gradloom.worker.exchange.listener import distant_name, local_name
from gradloom.worker.exchange.sealing import Sealed

# The place of tcpi_last_ack_recv, milliseconds, in Linux' struct tcp_info.
_LAST_ACKNOWLEDGED = struct.Struct("<56xI")

# What the kernel says where the way to a peer is cut.
UNREACHABLE = {
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.ENETDOWN,
}
# Some pieces of a vector: a peer that is busy with one does not have the others wait.
_BUFFER = 1 << 22

_UNDER_WAY = {0, errno.EINPROGRESS}


def set_up(connection: socket.socket) -> None:
    """Not blocking; across nodes without delay, and such that a cut is noticed."""
    connection.setblocking(False)
    if connection.family == socket.AF_UNIX:
        return
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * PEER_SOCKET)),
    ):
        connection.setsockopt(level, option, value)


def make_patient(connection: socket.socket) -> None:
    """Has it wait for a moment where it is not told not to: the cheapest way to wait for one."""
    if isinstance(connection, Sealed):
        connection.patience = MOMENT
        return
    connection.setblocking(True)
    moment = struct.pack("@ll", 0, int(1e6 * MOMENT))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, moment)


def begin_call(address: str, *, is_local: bool) -> socket.socket:
    """A connection under way to who listens at an address. Raises OSError."""
    name = local_name(address) if is_local else distant_name(address)
    family = socket.AF_UNIX if is_local else _family(address)
    connection = socket.socket(family, socket.SOCK_STREAM)
    set_up(connection)
    code = connection.connect_ex(name)
    if code not in _UNDER_WAY:
        connection.close()
        raise OSError(code, f"{address}: {errno.errorcode.get(code, code)}")
    return connection


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if address.startswith("[") else socket.AF_INET


def failure(connection: socket.socket) -> int:
    """Why a call came to nothing; 0 where it is answered."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def is_cut_off(connection: socket.socket) -> bool:
    """Whether not even the peer's kernel has answered for a while."""
    if connection.family == socket.AF_UNIX:
        return False
    size = _LAST_ACKNOWLEDGED.size
    known = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    (milliseconds,) = _LAST_ACKNOWLEDGED.unpack(known.ljust(size, b"\0"))
    return bool(milliseconds > 1000 * SILENCE)
