"""A listening TCP socket in somebody's selectors loop, whose entries carry a callable without arguments as data."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Listener"]

_BACKLOG: Final = 1024


class Listener:
    """Listens from now on, and gives each visitor's socket, which does not block, and his address to ``accepted``.

    Args:
        host, port: numeric address to listen at; port 0 takes a free one. ``::`` listens for IPv4, too.

    Raises OSError.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        host: str,
        port: int,
        accepted: Callable[[socket.socket, tuple[Any, ...]], None],
    ) -> None:
        self._selector = selector
        self._accepted = accepted
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == "::":
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.bind((host, port))
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._socket.fileno() >= 0:
            self._selector.unregister(self._socket)
            self._socket.close()

    def _accept(self) -> None:
        try:
            sock, address = self._socket.accept()
        except OSError:
            return
        sock.setblocking(False)
        self._accepted(sock, address)
