"""The reflector: tells who asks at which endpoint he is seen, on two ports of one host.

Rules of this file:
- It lives in somebody's selectors loop: entries carry a callable without arguments as data, as in ``launch.control``.
- It holds no secret and keeps nothing: the asker's own endpoint is all that anybody learns. Who sends anything but one
  request is cut off.
- Connections stay open, for they keep the asker's NAT mapping alive. When there are too many the oldest gives way, one of
  those that have not asked yet first.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from fmi_mpi.bootstrap.reflector import REQUEST_SIZE, Endpoint, answer, is_request
from fmi_mpi.launch.listening import Listener

__all__ = ["Reflector"]

_LIMIT: Final = 4096


class _Asker:
    """A connection."""

    __slots__ = ("answered", "data", "seen", "sock")

    def __init__(self, sock: socket.socket, seen: Endpoint) -> None:
        self.sock = sock
        self.seen = seen
        self.data = b""
        self.answered = False


class Reflector:
    """The server, listening from now on.

    Args:
        selector: of the loop that serves it.
        host: numeric address to listen on.
        ports: to listen on, 0 for any.
        limit: connections held at a time.

    Raises OSError.
    """

    def __init__(
        self, selector: selectors.BaseSelector, host: str, ports: Sequence[int] = (0, 0), limit: int = _LIMIT
    ) -> None:
        self._selector = selector
        self._limit = limit
        self._askers: dict[_Asker, None] = {}  # in the order of their coming
        self._listeners: list[Listener] = []
        try:
            for port in ports:
                self._listeners.append(Listener(selector, host, port, self._accept))
        except OSError:
            self.close()
            raise
        self.ports: tuple[int, ...] = tuple(listener.port for listener in self._listeners)

    def close(self) -> None:
        """Close everything. Idempotent."""
        for asker in list(self._askers):
            self._drop(asker)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _accept(self, sock: socket.socket, seen: tuple[Any, ...]) -> None:
        if len(self._askers) >= self._limit:
            self._drop(next((a for a in self._askers if not a.answered), next(iter(self._askers))))
        asker = _Asker(sock, (seen[0], seen[1]))
        self._askers[asker] = None
        self._selector.register(sock, selectors.EVENT_READ, partial(self._serve, asker))

    def _serve(self, asker: _Asker) -> None:
        try:
            data = asker.sock.recv(REQUEST_SIZE + 1 - len(asker.data))
            asker.data += data
            if data and not asker.answered and len(asker.data) < REQUEST_SIZE:
                return
            if data and not asker.answered and is_request(asker.data):
                asker.answered = True
                asker.sock.send(answer(asker.data, asker.seen))  # fits into the socket: it is the first thing sent
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(asker)

    def _drop(self, asker: _Asker) -> None:
        self._askers.pop(asker, None)
        self._selector.unregister(asker.sock)
        asker.sock.close()
