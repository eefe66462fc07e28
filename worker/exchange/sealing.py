"""Connections that nobody else can read or enter: TLS 1.3 among those who have one certificate."""

import os
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

# Python 3.11 has no name for what has a buffer.
_Buffer = Any

_WOULD_WAIT = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Sealed(ssl.SSLSocket):
    """A connection under TLS with the ways of a socket that does not wait, whatever flags say.

    Of what is offered it takes all or nothing; what it did not take has to be offered again first.
    """

    # Seconds that recv waits for something to come.
    patience = 0.0

    def do_handshake(self, block: bool = False) -> None:
        """Goes on with it; once it is over the peer is known to have the certificate."""
        try:
            super().do_handshake(block)
        except _WOULD_WAIT as error:
            raise BlockingIOError from error

    def send(self, data: _Buffer, _flags: int = 0) -> int:
        """See Sealed."""
        try:
            return super().send(data)
        except _WOULD_WAIT as error:
            raise BlockingIOError from error

    # SSLSocket has none.
    def sendmsg(self, buffers: Iterable[_Buffer], *_: object) -> int:  # type: ignore[override]
        """As many of the buffers as there is room for."""
        count = 0
        for buffer in buffers:
            try:
                count += self.send(buffer)
            except BlockingIOError:
                if not count:
                    raise
                break
        return count

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """What has come, or comes within its patience, unless the flags tell it not to wait."""
        if self.patience and not flags & socket.MSG_DONTWAIT and not self.pending():
            readable = select.poll()
            readable.register(self, select.POLLIN)
            readable.poll(1000 * self.patience)
        try:
            return super().recv(buflen)
        except _WOULD_WAIT as error:
            raise BlockingIOError from error

    def recv_into(self, buffer: _Buffer, _nbytes: int | None = None, _flags: int = 0) -> int:
        """See Sealed."""
        try:
            return super().recv_into(buffer)
        except _WOULD_WAIT as error:
            raise BlockingIOError from error


def is_holding(connection: socket.socket) -> bool:
    """Whether it has bytes to read of which a selector knows nothing."""
    return isinstance(connection, Sealed) and connection.pending() > 0


# Takes a connection over and puts it under TLS, before the handshake. Raises OSError.
Seal = Callable[[socket.socket], Sealed]


class Sealing:
    """Both sides show the same certificate and accept no other: who has its key is a member.

    Names and dates do not matter, since nothing but that certificate would do.
    """

    def __init__(self, certificate: bytes) -> None:
        """certificate is PEM and has its private key."""
        self._contexts = {
            is_called: _context(certificate, is_called=is_called) for is_called in (False, True)
        }

    def sealed(self, connection: socket.socket, *, is_called: bool) -> Sealed:
        """The connection, which is this object's from now on, before its handshake.

        Raises OSError.
        """
        sealed = self._contexts[is_called].wrap_socket(
            connection, server_side=is_called, do_handshake_on_connect=False
        )
        assert isinstance(sealed, Sealed)
        return sealed


def _context(certificate: bytes, *, is_called: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_called else ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = Sealed
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if is_called:
        # Nobody resumes a session: a new connection is a new handshake.
        context.num_tickets = 0
    context.load_verify_locations(cadata=_public(certificate))
    _show(context, certificate)
    return context


def _public(certificate: bytes) -> str:
    """Without the private key."""
    text = certificate.decode()
    return text[text.index(ssl.PEM_HEADER) :]


def _show(context: ssl.SSLContext, certificate: bytes) -> None:
    """ssl wants a file's name, and no disk is to have the key: a file of memory alone has one."""
    with os.fdopen(os.memfd_create("gradloom"), "wb") as file:
        file.write(certificate)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
