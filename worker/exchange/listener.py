"""Where a worker's peers reach it: a TCP port, and a name for those on the same node."""

import errno
import socket

_BACKLOG = 256
_TRIES = 5


class Listener:
    """Listens for as long as its process lives; who is to be answered, an exchange knows."""

    def __init__(self, host: str) -> None:
        """host is the address at which peers on other nodes reach this one."""
        self._distant = _bound(host)
        self._host = host
        self._local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._local.bind(local_name(self.address))
        self._local.listen(_BACKLOG)
        for listening in self.sockets:
            listening.setblocking(False)

    @property
    def address(self) -> str:
        """host:port."""
        port: int = self._distant.getsockname()[1]
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    @property
    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """What peers on other nodes call, and what those on this one do."""
        return self._distant, self._local

    def close(self) -> None:
        """Nobody reaches this worker any more."""
        for listening in self.sockets:
            listening.close()


def local_name(address: str) -> bytes:
    """The name, in the kernel's own space of names, of who listens at an address."""
    return f"\0gradloom {address}".encode()


def distant_name(address: str) -> tuple[str, int]:
    """Host and port of an address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _bound(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tries_left in reversed(range(_TRIES)):
        try:
            return socket.create_server((host, 0), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries_left:
                raise
    raise AssertionError("unreachable")
