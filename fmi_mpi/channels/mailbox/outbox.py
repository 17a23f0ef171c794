"""Frames to one peer, on their way to become objects in its mailbox.

Rules of this file:
- A frame that fits is one object. Of a longer one the first object holds the frame's header only: the receiver has a
  place for the rest once it has read that, and takes it without a copy.
- At most ``window`` bytes lie in the store unread; the rest waits here, in order, until the peer has consumed some.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from fmi_mpi.channels.base import Payload
from fmi_mpi.channels.mailbox.objects import ACK, BYE, FRAME, HEAD, HELLO, MORE, Sealer
from fmi_mpi.channels.mailbox.store import Store
from fmi_mpi.engine.frames import HEADER_SIZE

__all__ = ["Frame", "Outbox"]


class Frame:
    """A frame whose memory is in use: what is not put yet, and how many of its objects are not stored yet."""

    __slots__ = ("kind", "rest", "token", "unstored", "views")

    def __init__(self, views: Iterable[bytes | memoryview], rest: int, token: object) -> None:
        self.kind = FRAME
        self.views = deque(views)
        self.rest = rest
        self.token = token
        self.unstored = 1  # one for what is not put yet

    def stored(self) -> bool:
        """One more of its objects is stored; True if that was the last."""
        self.unstored -= 1
        return not self.unstored

    def cut(self, size: int) -> list[bytes | memoryview]:
        """Take the next ``size`` bytes."""
        self.rest -= size
        parts: list[bytes | memoryview] = []
        views = self.views
        while size:
            view = views.popleft()
            if len(view) > size:
                view = memoryview(view)
                views.appendleft(view[size:])
                view = view[:size]
            if len(view):
                parts.append(view)
            size -= len(view)
        return parts


class Outbox:
    """The way from process ``proc`` to the owner of mailbox ``box``.

    ``consumed`` is how many bytes of the peer's objects have been consumed here, which every object tells; ``told``
    what the last one told. ``sent`` is called with the token of a frame for which ``send`` returned False, never from
    within that call: of such a frame the longest object is not copied, so it is stored later.
    """

    __slots__ = (
        "_acked",
        "_number",
        "_proc",
        "_put_bytes",
        "_sealer",
        "_sent",
        "_store",
        "_window",
        "box",
        "closed",
        "consumed",
        "queue",
        "told",
    )

    def __init__(
        self, proc: int, box: str, sealer: Sealer, store: Store, window: int, sent: Callable[[object], None]
    ) -> None:
        self.box = box
        self.closed = False
        self.queue: deque[Frame] = deque()
        self.consumed = 0
        self.told = 0
        self._proc = proc
        self._sealer = sealer
        self._store = store
        self._window = window
        self._number = 0
        self._put_bytes = 0
        self._acked = 0
        self._sent = sent

    def send(self, header: bytes, payload: Payload, token: object) -> bool:
        """See ``channels.base.Channel.send``."""
        if payload is None:
            views: tuple[bytes | memoryview, ...] = (header,)
            size = HEADER_SIZE
        elif type(payload) is memoryview:
            views = (header, payload)
            size = HEADER_SIZE + len(payload)
        else:
            views = (header, *payload)
            size = sum(map(len, views))
        if size <= self._store.copies - HEAD and not self.queue and self._has_room(size):
            return self._put(FRAME, views, size, token)
        if self.closed:
            return False
        self.queue.append(Frame(views, size, token))
        if len(self.queue) == 1:
            self.advance()
        return False

    def acknowledged(self, consumed: int) -> None:
        """The peer has consumed so many bytes in all."""
        if consumed > self._acked:
            self._acked = min(consumed, self._put_bytes)
            if self.queue:
                self.advance()

    def advance(self) -> None:
        """Put as much of what waits as there is room for."""
        while self.queue:
            frame = self.queue[0]
            size = frame.rest
            if size + HEAD > self._store.limit:
                size = HEADER_SIZE if frame.kind == FRAME else self._store.limit - HEAD
            if not self._has_room(size):
                return
            parts = frame.cut(size)
            kind, frame.kind = frame.kind, MORE
            if frame.rest:
                frame.unstored += 1
            else:
                self.queue.popleft()
            if self._put(kind, parts, size, frame) and frame.stored() and frame.token is not None:
                self._sent(frame.token)

    def introduce(self, box: str) -> None:
        """Tell the peer this process's own mailbox, before anything else."""
        name = box.encode()
        self._put(HELLO, (name,), len(name), None)

    def acknowledge(self) -> None:
        """Tell the peer how much has been consumed, by an object of its own."""
        self._put(ACK, (), 0, None)

    def leave(self) -> None:
        """Tell the peer that this process leaves the job."""
        self._put(BYE, (), 0, None)

    def close(self) -> None:
        """The peer is gone: nothing is put any more."""
        self.closed = True
        self.queue.clear()
        self._window = -1
        self._put_bytes = self._acked + 1

    def _has_room(self, size: int) -> bool:
        unread = self._put_bytes - self._acked
        return not unread or unread + size + HEAD <= self._window

    def _put(self, kind: int, body: Iterable[bytes | memoryview], size: int, ticket: object) -> bool:
        parts = self._sealer.seal(kind, self._proc, self._number, self.consumed, tuple(body))
        self._number += 1
        self._put_bytes += size + HEAD
        self.told = self.consumed
        return self._store.put(self.box, parts, size + HEAD, ticket)
