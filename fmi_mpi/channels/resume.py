"""Frames that survive the connections that carry them: what is not acknowledged is sent again, what has come is not.

Rules of this file:
- Frames are numbered by their order; nothing is added to them. Each end tells by control frames (kinds that the engine
  does not know) how many it has got: now and then, and first of all on each new connection.
- A frame is remembered until it is acknowledged: small ones as copies, so that their memory is free at once; of others
  the sender waits.
- A frame that was cut off halfway comes again from its beginning, into the place that it was given the first time.
- No socket, no clock: a ``Session`` stands between a connection, which it is the receiver of, and the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from fmi_mpi.channels.base import Payload, Receiver, Salvage
from fmi_mpi.engine.frames import HEADER_SIZE, FrameError, pack_header, unpack_header

__all__ = ["Kept", "Session"]

_WORD: Final = 0x464D_01F0  # as in engine.frames; these kinds never reach an engine
_GREETING: Final = _WORD  # first on a connection; message = frames got so far
_ACK: Final = _WORD | 1  # message = frames got so far
_BYE: Final = _WORD | 2  # the sender closes; nothing follows

_COPY: Final = 1 << 16  # payload bytes up to which a frame is copied
_COPIES: Final = 16 << 20  # bytes of unacknowledged copies to one peer beyond which senders wait
_FRAMES: Final = 32  # got and not acknowledged: time to do so
_BYTES: Final = 1 << 18


Kept = tuple[bytes, Payload, object]
"""A frame that the peer may not have got; its token as in ``Channel.send``, None if nobody waits."""


class Session:
    """The frames between this process and ``peer``, over however many connections.

    It is the ``Receiver`` of the connection of the day, and passes on to ``receiver`` what is new.

    Args:
        again: called when the peer has greeted on a new connection: write what is ``unacknowledged``, before all else.
    """

    def __init__(self, peer: int, receiver: Receiver, again: Callable[[], None]) -> None:
        self.peer = peer
        self.greeted = False  # the peer has told on this connection what it has got
        self.left = False  # the peer has said that it closes
        self._receiver = receiver
        self._again = again
        self._kept: deque[tuple[Kept, int]] = deque()  # and the bytes of its copy, 0 if it is none
        self._acknowledged = 0
        self._copies = 0
        self._received = 0
        self._told = 0
        self._untold = 0  # payload bytes got since
        self._urgent = False
        self._cut_off: tuple[bytes, memoryview, object] | None = None

    # -- sending -------------------------------------------------------------------------------------------------

    def keep(self, header: bytes, payload: Payload, token: object) -> tuple[Payload, bool]:
        """Remember a frame; returns the payload to write, and whether the memory of the given one is free already."""
        views = () if payload is None else (payload,) if isinstance(payload, memoryview) else payload
        size = sum(map(len, views))
        if size <= _COPY and self._copies + size <= _COPIES:
            copy = memoryview(b"".join(views)) if size else None
            self._copies += size + HEADER_SIZE
            self._kept.append(((header, copy, None), size + HEADER_SIZE))
            return copy, True
        self._kept.append(((header, payload, token), 0))
        return payload, False

    def unacknowledged(self) -> list[Kept]:
        """Return what to send again when the peer has greeted."""
        return [kept for kept, _ in self._kept]

    @property
    def idle(self) -> bool:
        """The peer has acknowledged everything."""
        return not self._kept

    def salvage(self) -> Salvage:
        """Return what another channel needs to go on."""
        return Salvage(self._received, self._acknowledged, self.unacknowledged(), self._cut_off)

    def greeting(self) -> bytes:
        """Return the control frame that must go first on a new connection."""
        return self._tell(_GREETING)

    def bye(self) -> bytes:
        """Return the control frame that must go last."""
        return self._tell(_BYE)

    def due(self) -> bytes | None:
        """Return the acknowledgement that should be sent now, if any."""
        new = self._received - self._told
        if new >= _FRAMES or self._untold >= _BYTES or (new and self._urgent):
            return self._tell(_ACK)
        return None

    def cut(self) -> None:
        """The connection is gone."""
        self.greeted = False

    def _tell(self, word: int) -> bytes:
        self._told = self._received
        self._untold = 0
        self._urgent = False
        return pack_header(word, 0, 0, 0, 0, 0, 0, 0, 0, self._received, 0)

    def _acknowledge(self, count: int) -> None:
        """The peer has got so many frames; raises FrameError if that cannot be."""
        new = count - self._acknowledged
        if not 0 <= new <= len(self._kept):
            raise FrameError(f"process {self.peer} acknowledges frame {count}, which was not sent or not kept")
        self._acknowledged = count
        for _ in range(new):
            kept, copied = self._kept.popleft()
            self._copies -= copied
            if kept[2] is not None:
                self._receiver.sent(kept[2])

    # -- channels.base.Receiver ----------------------------------------------------------------------------------

    def frame(self, peer: int, header: bytes | bytearray | memoryview, payload: memoryview) -> None:
        """Take a whole frame."""
        if int.from_bytes(header[:4], "little") & 0xFFFF_FFF0 == _WORD:
            self._control(header, payload)
            return
        self._expect_greeting()
        if self._cut_off is not None:
            sink, token = self.begin(peer, header)
            sink[:] = payload
            self.end(peer, token)
            return
        self._receiver.frame(peer, header, payload)
        self._count(len(payload))

    def begin(self, peer: int, header: bytes | bytearray | memoryview) -> tuple[memoryview, object]:
        """Take a header; if its frame had begun before, its place is the same."""
        self._expect_greeting()
        if self._cut_off is None:
            if int.from_bytes(header[:4], "little") & 0xFFFF_FFF0 == _WORD:
                raise FrameError("a control frame has no payload")
            sink, token = self._receiver.begin(peer, header)
            self._cut_off = (bytes(header[:HEADER_SIZE]), sink, token)
        known, sink, token = self._cut_off
        if known != bytes(header[:HEADER_SIZE]):
            raise FrameError("the frame that was cut off does not come again")
        return sink, token

    def end(self, peer: int, token: object) -> None:
        """The frame has come to its end."""
        assert self._cut_off is not None
        size = len(self._cut_off[1])
        self._cut_off = None
        self._receiver.end(peer, token)
        self._count(size)

    def sent(self, token: object) -> None:
        """Nothing: what the connection has handed over may still be lost."""

    def lost(self, peer: int, reason: str) -> None:
        """Pass on."""
        self._receiver.lost(peer, reason)

    def _expect_greeting(self) -> None:
        if not self.greeted:
            raise FrameError("the peer does not greet")

    def _count(self, size: int) -> None:
        self._received += 1
        self._untold += size
        self._urgent = self._urgent or size > _COPY

    def _control(self, header: bytes | bytearray | memoryview, payload: memoryview) -> None:
        fields = unpack_header(header)
        word, count = fields[0], fields[9]
        if len(payload) or word not in (_GREETING, _ACK, _BYE) or self.greeted is (word == _GREETING):
            raise FrameError("not a control frame, or not the time for it")
        self._acknowledge(count)
        self.left = self.left or word == _BYE
        if word == _GREETING:
            self.greeted = True
            self._again()
