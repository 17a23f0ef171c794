"""One authenticated stream of frames.

Rules of this file:
- Reading: whole small frames are taken out of one shared buffer without copying; a frame that is not complete
  yet is given its sink by the receiver, and the rest is read straight into it.
- Writing: straight from the caller's memory by one ``sendmsg``; what the kernel does not take is queued. The rest
  of a small payload is copied, so that its sender need not wait.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from fmi_mpi.channels.base import Payload, Receiver
from fmi_mpi.engine.frames import HEADER_SIZE

__all__ = ["Connection"]

COPY_LIMIT = 1 << 16
_LENGTH = slice(40, 48)  # the header's ``length`` field


class Connection:
    """A connected, authenticated socket to ``peer``."""

    __slots__ = ("missing", "peer", "queue", "rest", "sink", "sock", "token")

    def __init__(self, sock: socket.socket, peer: int) -> None:
        self.sock = sock
        self.peer = peer
        self.queue: deque[tuple[memoryview, object]] = deque()
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
                done = self.sock.sendmsg(views)
            except BlockingIOError:
                pass
            if done == total:
                return True
        return self._enqueue(views, done, token)

    def _enqueue(self, views: Sequence[memoryview | bytes], done: int, token: object) -> bool:
        remaining = _after(views, done)
        if sum(map(len, remaining)) <= COPY_LIMIT:
            self.queue.append((memoryview(b"".join(remaining)), None))
            return True
        for view in remaining[:-1]:
            self.queue.append((memoryview(view), None))
        self.queue.append((memoryview(remaining[-1]), token))
        return token is None

    def flush(self, receiver: Receiver) -> bool:
        """Write what is queued; True if anything went out."""
        moved = False
        while self.queue:
            view, token = self.queue[0]
            try:
                done = self.sock.send(view)
            except BlockingIOError:
                return moved
            moved = True
            if done < len(view):
                self.queue[0] = (view[done:], token)
                continue
            self.queue.popleft()
            if token is not None:
                receiver.sent(token)
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
