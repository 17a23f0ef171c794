"""One authenticated stream of frames.

Rules of this file:
- Reading: whole small frames are taken out of one shared buffer without copying; a frame that is not complete
  yet is given its sink by the receiver, and the rest is read straight into it. For a while after a long frame
  headers are read alone, so that no payload takes the way through the buffer.
- Writing: straight from the caller's memory; what the kernel does not take is queued, and the sender waits for it:
  only while it waits does somebody write the rest.
- A long payload is written in pieces. While the kernel copies one, the peer cannot take the one before out of the
  socket: pieces of 256 KiB let both ends copy at the same time (1 MiB over loopback: 130 us, in one piece 260 to 340).
  From 4 MiB on, fewer and larger ones do better (8 MiB: 1.5 ms in pieces of 1 MiB, 2.2 in pieces of 256 KiB).
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterable, Sequence

from fmi_mpi.channels.base import Payload, Receiver
from fmi_mpi.engine.frames import HEADER_SIZE

__all__ = ["Connection"]

_VIEWS = 1024  # the most that one sendmsg takes (IOV_MAX)
_PIECE = 1 << 18
_LARGE_PIECE = 1 << 20
_LARGE = 1 << 22
_JOINED = 1 << 10  # bytes up to which joining is faster than a vector
_LONG = 1 << 14  # payload bytes from which reading the header alone saves more than it costs
_MEMORY = 8  # frames during which a long one is remembered
_length_at = struct.Struct("<40xQ").unpack_from


class _Frame:
    """What the kernel has not taken yet of a frame."""

    __slots__ = ("piece", "token", "views")

    def __init__(self, views: Iterable[memoryview | bytes], total: int, token: object) -> None:
        self.views = deque(views)
        self.piece = _PIECE if total < _LARGE else _LARGE_PIECE
        self.token = token

    def write(self, sock: socket.socket) -> bool:
        """Write a piece; True when that was the last. Raises BlockingIOError."""
        views, limit = self.views, self.piece
        size = 0
        piece: list[memoryview | bytes] = []
        for view in views:
            if size + len(view) > limit:
                piece.append(memoryview(view)[: limit - size])
                break
            piece.append(view)
            size += len(view)
            if len(piece) == _VIEWS:
                break
        done = sock.sendmsg(piece)
        while views and done >= len(views[0]):
            done -= len(views.popleft())
        if done:
            views[0] = memoryview(views[0])[done:]
        return not views


class Connection:
    """A connected, authenticated socket to ``peer``."""

    __slots__ = ("long", "peer", "queue", "rest", "sink", "sock", "token")

    def __init__(self, sock: socket.socket, peer: int) -> None:
        self.sock = sock
        self.peer = peer
        self.queue: deque[_Frame] = deque()
        self.rest = b""  # beginning of a header
        self.sink: memoryview | None = None  # where the current payload's rest goes
        self.token: object = None
        self.long = 0  # frames during which headers are read alone

    # -- writing -------------------------------------------------------------------------------------------------

    def send(self, header: bytes, payload: Payload, token: object) -> bool:
        """Write a frame, or queue what does not fit; see ``channels.base.Channel.send``."""
        views: tuple[memoryview | bytes, ...]
        if payload is None:
            views = (header,)
            total = HEADER_SIZE
        elif type(payload) is memoryview:
            views = (header, payload)
            total = HEADER_SIZE + len(payload)
        else:
            views = (header, *payload)
            total = sum(map(len, views))
        queue = self.queue
        if queue or total > _PIECE or len(views) > _VIEWS:
            queue.append(_Frame(views, total, token))
            if len(queue) == 1:
                self._write()
            return not queue
        try:
            done = self.sock.send(b"".join(views)) if total <= _JOINED else self.sock.sendmsg(views)
        except BlockingIOError:
            done = 0
        if done == total:
            return True
        queue.append(_Frame(_after(views, done), total, token))
        return False

    def _write(self) -> None:
        """Write the only frame of the queue, as much as the kernel takes."""
        frame = self.queue[0]
        try:
            while not frame.write(self.sock):
                pass
        except BlockingIOError:
            return
        self.queue.popleft()

    def flush(self, receiver: Receiver) -> bool:
        """Write what is queued; True if anything went out."""
        queue = self.queue
        moved = False
        try:
            while queue:
                done = queue[0].write(self.sock)
                moved = True
                if done:
                    token = queue.popleft().token
                    if token is not None:
                        receiver.sent(token)
        except BlockingIOError:
            pass
        return moved

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, buffer: memoryview, receiver: Receiver) -> bool:
        """Read once and hand over what is complete; raises EOFError when the peer has closed."""
        if self.sink is not None:
            return self._read_into_sink(receiver)
        start = len(self.rest)
        if start:
            buffer[:start] = self.rest
        room = buffer[start:HEADER_SIZE] if self.long else buffer[start:] if start else buffer
        try:
            count = self.sock.recv_into(room)
        except BlockingIOError:
            return False
        if not count:
            raise EOFError
        end = start + count
        position = 0
        peer = self.peer
        while end - position >= HEADER_SIZE:
            (length,) = _length_at(buffer, position)
            body = position + HEADER_SIZE
            after = body + length
            if length >= _LONG:
                self.long = _MEMORY
            elif self.long:
                self.long -= 1
            if after <= end:
                receiver.frame(peer, buffer[position:body], buffer[body:after])
                position = after
                continue
            sink, self.token = receiver.begin(peer, buffer[position:body])
            have = end - body
            if have:
                sink[:have] = buffer[body:end]
                sink = sink[have:]
            self.sink = sink
            self.rest = b""
            self._read_into_sink(receiver)
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
