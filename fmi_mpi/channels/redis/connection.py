"""A connection to the server that is made, and made again, without blocking.

Rules of this file:
- ``stage`` goes from "down" over "connecting", "securing" (TLS) and "greeting" to "up". Between calls of ``serve``
  nobody waits.
- Errors of the socket are OSError or EOFError; the owner then calls ``drop`` and decides when to try again.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from fmi_mpi.channels.redis.url import Server

if TYPE_CHECKING:
    from ssl import SSLSocket

__all__ = ["Connection"]

_READ = select.EPOLLIN
_WRITE = select.EPOLLOUT
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""So a link that is cut is noticed in 25 s, though this process computes and neither writes nor reads."""


class Connection:
    """One socket to ``server``, registered with ``epoll`` while it is open."""

    def __init__(self, server: Server, epoll: select.epoll) -> None:
        self.server = server
        self.stage = "down"
        self.fd = -1
        self.again: tuple[type[Exception], ...] = (BlockingIOError,)
        self._epoll = epoll
        self._sock: socket.socket | None = None
        self._mask = 0
        self._attempts = 0
        self.scattered = server.tls is None
        """Several buffers can be read into at once."""

    def start(self) -> None:
        """Begin to connect."""
        server = self.server
        places = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = places[self._attempts % len(places)]
        self._attempts += 1
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        error = sock.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        self._adopt(sock, _WRITE)
        self.stage = "connecting"

    def advance(self) -> bool:
        """Go on connecting; True once commands may be sent."""
        sock = self._sock
        assert sock is not None
        if self.stage == "connecting":
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            if self.server.tls is None:
                self.stage = "greeting"
                self.watch(_READ)
                return True
            self._secure(sock)
        return self._shake_hands()

    def _secure(self, sock: socket.socket) -> None:
        import ssl

        assert self.server.tls is not None
        self._epoll.unregister(self.fd)
        secured = self.server.tls.wrap_socket(sock, do_handshake_on_connect=False, server_hostname=self.server.host)
        self.again = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._adopt(secured, _READ | _WRITE)
        self.stage = "securing"

    def _shake_hands(self) -> bool:
        import ssl

        try:
            cast("SSLSocket", self._sock).do_handshake()
        except ssl.SSLWantReadError:
            self.watch(_READ)
            return False
        except ssl.SSLWantWriteError:
            self.watch(_READ | _WRITE)
            return False
        self.stage = "greeting"
        self.watch(_READ)
        return True

    def _adopt(self, sock: socket.socket, mask: int) -> None:
        self._sock = sock
        self.fd = sock.fileno()
        self._mask = mask
        self._epoll.register(self.fd, mask)

    def watch(self, mask: int) -> None:
        """Be told of these events from now on."""
        if mask != self._mask:
            self._mask = mask
            self._epoll.modify(self.fd, mask)

    def write(self, parts: Sequence[bytes | memoryview]) -> int:
        """Write what the kernel takes; how many bytes."""
        sock: Any = self._sock
        try:
            if self.scattered:
                return cast(int, sock.send(parts[0]) if len(parts) == 1 else sock.sendmsg(parts))
            done = 0
            for part in parts:
                view = memoryview(part)
                while view:
                    try:
                        count = sock.send(view)
                    except self.again:
                        return done
                    done += count
                    view = view[count:]
            return done
        except self.again:
            return 0

    def read(self, first: memoryview, second: memoryview | None = None) -> int:
        """Read into ``first`` and, if given and possible, on into ``second``; -1: nothing is there. Raises EOFError."""
        sock = self._sock
        assert sock is not None
        try:
            if second is None or not self.scattered:
                count = sock.recv_into(first)
            else:
                count = sock.recvmsg_into((first, second))[0]
        except self.again:
            return -1
        if not count:
            raise EOFError("the server closed the connection")
        return count

    def drop(self) -> None:
        """Close. Idempotent."""
        self.stage = "down"
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self.fd = -1
            self.again = (BlockingIOError,)
