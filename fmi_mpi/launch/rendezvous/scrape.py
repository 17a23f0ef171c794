"""Metrics over HTTP, for Prometheus: every request is answered with all figures, and the connection closed.

Rules of this file:
- It lives in somebody's selectors loop. What is asked does not matter; who asks at length, or not at all, is cut off.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fmi_mpi.launch.listening import Listener

__all__ = ["Scrape"]

_REQUEST: Final = 1 << 13
_LIMIT: Final = 32
_END: Final = b"\r\n\r\n"


class Scrape:
    """The server, listening from now on.

    Args:
        selector: of the loop that serves it.
        host, port: to listen at; port 0 takes a free one.
        text: gives the figures.

    Raises OSError.
    """

    def __init__(self, selector: selectors.BaseSelector, host: str, port: int, text: Callable[[], str]) -> None:
        self._selector = selector
        self._text = text
        self._asking: dict[socket.socket, bytes] = {}
        self._listener = Listener(selector, host, port, self._accept)
        self.port = self._listener.port

    def close(self) -> None:
        """Close everything. Idempotent."""
        for sock in list(self._asking):
            self._drop(sock)
        self._listener.close()

    def _accept(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        if len(self._asking) >= _LIMIT:
            self._drop(next(iter(self._asking)))
        self._asking[sock] = b""
        self._selector.register(sock, selectors.EVENT_READ, partial(self._serve, sock))

    def _serve(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_REQUEST)
            self._asking[sock] += data
            if data and _END not in self._asking[sock] and len(self._asking[sock]) < _REQUEST:
                return
            if _END in self._asking[sock]:
                body = self._text().encode()
                head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                sock.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)  # fits into an empty socket
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        del self._asking[sock]
        self._selector.unregister(sock)
        sock.close()
