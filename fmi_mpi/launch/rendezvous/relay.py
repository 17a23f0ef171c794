"""The relay: joins two ranks that cannot connect to each other, each of which has connected to it.

Rules of this file:
- A pair of calls, one from each rank, becomes one stream in both directions. What is in it is the ranks' business: they
  prove the job's key to each other and seal what they send (``channels.relay``).
- Memory is bounded: from each end no more is read than the other end has room for, one buffer; the rest stays with the
  sender, whose own socket fills up.
- It lives in somebody's selectors loop: entries carry a callable without arguments as data.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fmi_mpi.bootstrap.relaying import (
    CALL,
    CALLER,
    JOINED,
    NONCE_SIZE,
    PARK,
    REQUEST_SIZE,
    Request,
    greeting,
    read_request,
)
from fmi_mpi.launch.listening import Listener
from fmi_mpi.launch.rendezvous.metrics import Metrics

__all__ = ["Relay"]

_BUFFER: Final = 1 << 18
_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE
_HANDSHAKE: Final = 10.0  # seconds for a connection to say what it wants
_UNANSWERED: Final = 60.0  # seconds for a rank that is called to appear

_NOT_LET_IN, _USED_UP, _NOT_THERE, _FULL = 2, 3, 4, 5

_Seat = tuple[bytes, int]
_Pair = tuple[bytes, int, int]


class _End:
    """A connection; ``other`` is the one that it is joined with."""

    __slots__ = ("data", "deadline", "ending", "mask", "nonce", "other", "out", "request", "sock")

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self.nonce = os.urandom(NONCE_SIZE)
        self.data = b""
        self.request: Request | None = None
        self.other: _End | None = None
        self.out: memoryview | bytes = b""
        self.ending = False
        self.mask = _READ


class Relay:
    """The server, listening from now on.

    Args:
        selector: of the loop that serves it.
        host, port: numeric address to listen at; port 0 takes a free one. ``::`` listens for IPv4, too.
        key_of: gives the key by which members of the job with this tag prove that they are.
        quota: bytes that one job may send.
        limit: connections held at a time.

    Raises OSError.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        host: str,
        port: int,
        key_of: Callable[[bytes], bytes],
        quota: int,
        metrics: Metrics,
        limit: int = 20_000,
    ) -> None:
        self._selector = selector
        self._key_of = key_of
        self._quota = quota
        self._metrics = metrics
        self._limit = limit
        self._ends: set[_End] = set()
        self._parked: dict[_Seat, _End] = {}
        self._calls: dict[_Pair, _End] = {}
        self._used: dict[bytes, int] = {}
        self._buffer = memoryview(bytearray(_BUFFER))
        self._listener = Listener(selector, host, port, self._accept)
        self.port = self._listener.port

    def tick(self, now: float) -> None:
        """Give up connections that have waited too long."""
        for end in [end for end in self._ends if end.deadline <= now]:
            self._refuse(end, _NOT_THERE)

    def close(self) -> None:
        """Close everything. Idempotent."""
        for end in list(self._ends):
            self._drop(end)
        self._listener.close()

    # -- coming and going ----------------------------------------------------------------------------------------

    def _accept(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        end = _End(sock, time.monotonic() + _HANDSHAKE)
        self._ends.add(end)
        self._selector.register(sock, _READ, partial(self._serve, end))
        if len(self._ends) > self._limit:
            self._refuse(end, _FULL)
            return
        with contextlib.suppress(OSError):
            sock.send(greeting(end.nonce))

    def _serve(self, end: _End) -> None:
        try:
            if end.out:
                self._flush(end)
            if end not in self._ends or not end.mask & _READ:
                return
            if end.other is not None:
                self._forward(end, end.other)
            elif end.request is None:
                self._listen_to(end)
            elif not end.sock.recv(1, socket.MSG_PEEK):
                self._drop(end)
            else:
                self._watch(end, end.mask & ~_READ)  # it speaks before it is joined: that waits in its socket
        except BlockingIOError:
            return
        except OSError:
            self._end(end)

    def _listen_to(self, end: _End) -> None:
        data = end.sock.recv(REQUEST_SIZE - len(end.data))
        if not data:
            self._drop(end)
            return
        end.data += data
        if len(end.data) < REQUEST_SIZE:
            return
        request = read_request(end.data)
        if request is None:
            self._drop(end)
        elif not request.proves(self._key_of(request.tag), end.nonce):
            self._refuse(end, _NOT_LET_IN)
        elif self._used.get(request.tag, 0) > self._quota:
            self._refuse(end, _USED_UP)
        else:
            end.request = request
            end.deadline = float("inf")
            (self._park if request.kind == PARK else self._call)(end, request)

    def _park(self, end: _End, request: Request) -> None:
        seat = request.tag, request.rank
        former = self._parked.pop(seat, None)
        if former is not None:
            self._drop(former)
        self._parked[seat] = end
        for (tag, _, _), call in list(self._calls.items()):
            asked = call.request
            if tag == request.tag and asked is not None and asked.peer == request.rank:
                call.deadline = float("inf")
                self._ring(end, call, asked.rank)

    def _call(self, end: _End, request: Request) -> None:
        pair = request.tag, min(request.rank, request.peer), max(request.rank, request.peer)
        other = self._calls.pop(pair, None)
        if other is not None and other.request is not None and other.request.rank != request.rank:
            self._join(end, other)
            return
        if other is not None:
            self._drop(other)
        self._calls[pair] = end
        parked = self._parked.get((request.tag, request.peer))
        if parked is not None:
            self._ring(parked, end, request.rank)
        else:
            end.deadline = time.monotonic() + _UNANSWERED

    def _ring(self, parked: _End, call: _End, rank: int) -> None:
        self._write(parked, CALLER.pack(rank, call.nonce))

    def _join(self, first: _End, second: _End) -> None:
        self._metrics["relay_calls"] += 1
        first.other, second.other = second, first
        for end, other in ((first, second), (second, first)):
            end.deadline = float("inf")
            self._write(end, bytes([JOINED]) + other.nonce)
            self._watch(end, end.mask | _READ)

    def _refuse(self, end: _End, reason: int) -> None:
        self._metrics["relay_refused"] += 1
        with contextlib.suppress(OSError):
            end.sock.send(bytes([reason]))
        self._drop(end)

    # -- the stream ----------------------------------------------------------------------------------------------

    def _forward(self, end: _End, other: _End) -> None:
        """Read once and write it to the other end; what does not fit stops the reading."""
        count = end.sock.recv_into(self._buffer)
        if not count:
            self._end(end)
            return
        self._count(end, count)
        if other in self._ends:
            self._write(other, self._buffer[:count])
        if end in self._ends and other.out:
            self._watch(end, end.mask & ~_READ)

    def _count(self, end: _End, count: int) -> None:
        assert end.request is not None
        tag = end.request.tag
        used = self._used[tag] = self._used.get(tag, 0) + count
        self._metrics["relay_bytes"] += count
        if used > self._quota and end.other is not None:
            self._drop(end.other)
            self._drop(end)

    def _write(self, end: _End, data: bytes | memoryview) -> None:
        done = 0
        if not end.out:
            try:
                done = end.sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self._end(end)
                return
        if done < len(data):
            end.out = bytes(end.out) + bytes(data[done:])
            self._watch(end, end.mask | _WRITE)

    def _flush(self, end: _End) -> None:
        with contextlib.suppress(BlockingIOError):
            end.out = memoryview(end.out)[end.sock.send(end.out) :]
        if end.out:
            return
        end.out = b""
        if end.ending:
            self._drop(end)
            return
        self._watch(end, end.mask & ~_WRITE)
        if end.other is not None and end.other in self._ends:
            self._watch(end.other, end.other.mask | _READ)

    def _end(self, end: _End) -> None:
        """One end has closed: the other gets what is still on its way to it, and is closed."""
        self._drop(end)
        other = end.other
        if other is not None and other in self._ends:
            if other.out:
                other.ending = True
                self._watch(other, _WRITE)
            else:
                self._drop(other)

    def _watch(self, end: _End, mask: int) -> None:
        if end not in self._ends or mask == end.mask:
            return
        data = partial(self._serve, end)
        if not mask:
            self._selector.unregister(end.sock)
        elif not end.mask:
            self._selector.register(end.sock, mask, data)
        else:
            self._selector.modify(end.sock, mask, data)
        end.mask = mask

    def _drop(self, end: _End) -> None:
        if end not in self._ends:
            return
        self._ends.discard(end)
        if end.mask:
            self._selector.unregister(end.sock)
        end.sock.close()
        request = end.request
        if request is None:
            return
        if request.kind == CALL:
            pair = request.tag, min(request.rank, request.peer), max(request.rank, request.peer)
            if self._calls.get(pair) is end:
                del self._calls[pair]
        elif self._parked.get((request.tag, request.rank)) is end:
            del self._parked[request.tag, request.rank]
