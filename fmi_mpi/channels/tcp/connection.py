"""One authenticated stream of frames.

Rules of this file:
- Reading: whole small frames are taken out of one shared buffer without copying; a frame that is not complete
  yet is given its sink by the receiver, and the rest is read straight into it.
- Writing: straight from the caller's memory by one ``sendmsg``; what the kernel does not take is queued, and the
  sender waits for it: only while it waits does somebody write the rest.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from fmi_mpi.channels.base import Payload, Receiver
from fmi_mpi.engine.frames import HEADER_SIZE

__all__ = ["Connection"]

_VIEWS = 1024  # the most that one sendmsg takes (IOV_MAX)
_LENGTH = slice(40, 48)  # the header's ``length`` field


class _Frame:
    """What the kernel has not taken yet of a frame."""

    __slots__ = ("token", "views")

    def __init__(self, views: list[memoryview | bytes], token: object) -> None:
        self.views = views
        self.token = token


class Connection:
    """A connected, authenticated socket to ``peer``."""

    __slots__ = ("missing", "peer", "queue", "rest", "sink", "sock", "token")

    def __init__(self, sock: socket.socket, peer: int) -> None:
        self.sock = sock
        self.peer = peer
        self.queue: deque[_Frame] = deque()
        self.rest = b""  # beginning of a header
        self.sink: memoryview | None = None  # where the current payload's rest goes
        self.missing = 0
        self.token: object = None

    # -- writing -------------------------------------------------------------------------------------------------

    def send(self, header: bytes, payload: Payload, token: object) -> bool:
        """Write a frame, or queue what does not fit; see ``channels.base.Channel.send``."""
        views: list[memoryview | bytes]
        if payload is None:
            views = [header]
            total = HEADER_SIZE
        elif isinstance(payload, memoryview):
            views = [header, payload]
            total = HEADER_SIZE + len(payload)
        else:
            views = [header, *payload]
            total = sum(map(len, views))
        done = 0
        if not self.queue:
            try:
                done = self.sock.sendmsg(views if len(views) <= _VIEWS else views[:_VIEWS])
            except BlockingIOError:
                pass
            if done == total:
                return True
        self.queue.append(_Frame(_after(views, done), token))
        return False

    def flush(self, receiver: Receiver) -> bool:
        """Write what is queued; True if anything went out."""
        moved = False
        queue = self.queue
        while queue:
            frame = queue[0]
            try:
                done = self.sock.sendmsg(frame.views[:_VIEWS])
            except BlockingIOError:
                return moved
            moved = True
            frame.views = _after(frame.views, done)
            if not frame.views:
                queue.popleft()
                if frame.token is not None:
                    receiver.sent(frame.token)
        return moved

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, buffer: memoryview, receiver: Receiver) -> bool:
        """Read once and hand over what is complete; raises EOFError when the peer has closed."""
        if self.sink is not None:
            return self._read_into_sink(receiver)
        start = len(self.rest)
        if start:
            buffer[:start] = self.rest
        try:
            count = self.sock.recv_into(buffer[start:] if start else buffer)
        except BlockingIOError:
            return False
        if not count:
            raise EOFError
        end = start + count
        position = 0
        peer = self.peer
        while end - position >= HEADER_SIZE:
            header = buffer[position : position + HEADER_SIZE]
            length = int.from_bytes(header[_LENGTH], "little")
            body = position + HEADER_SIZE
            if length <= end - body:
                receiver.frame(peer, header, buffer[body : body + length])
                position = body + length
                continue
            sink, self.token = receiver.begin(peer, header)
            have = end - body
            sink[:have] = buffer[body:end]
            self.sink = sink[have:]
            self.rest = b""
            return True
        self.rest = bytes(buffer[position:end]) if position < end else b""
        return True

    def _read_into_sink(self, receiver: Receiver) -> bool:
        sink = self.sink
        assert sink is not None
        try:
            count = self.sock.recv_into(sink)
        except BlockingIOError:
            return False
        if not count:
            raise EOFError
        if count < len(sink):
            self.sink = sink[count:]
            return True
        self.sink = None
        token, self.token = self.token, None
        receiver.end(self.peer, token)
        return True


def _after(views: Sequence[memoryview | bytes], done: int) -> list[memoryview | bytes]:
    """Return the views without their first ``done`` bytes."""
    remaining: list[memoryview | bytes] = []
    for view in views:
        if done >= len(view):
            done -= len(view)
        else:
            remaining.append(memoryview(view)[done:] if done else view)
            done = 0
    return remaining
