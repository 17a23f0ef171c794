"""Objects of one peer, on their way to become frames.

Rules of this file:
- Only genuine objects come here. They are used in the order of their numbers: what comes early is kept, within the
  window that its sender keeps to, what came before is dropped.
- A number that does not come though later ones have is an object that the store has lost; ``gap`` tells since when.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Final

from fmi_mpi.channels.base import Receiver
from fmi_mpi.channels.mailbox.objects import BYE, FRAME, HEAD, HELLO, MORE, Head
from fmi_mpi.engine.frames import HEADER_SIZE, FrameError

__all__ = ["Inbox", "Left"]

_length_at: Final = struct.Struct("<40xQ").unpack_from


class Left(Exception):
    """The peer has left the job."""


class Inbox:
    """What process ``peer`` sends here.

    Args:
        receiver: takes the frames.
        window: bytes that the peer leaves unread at most.
        acknowledged: told how many bytes the peer has consumed.
        introduced: told the peer's mailbox.
    """

    __slots__ = (
        "_acknowledged",
        "_early",
        "_early_bytes",
        "_introduced",
        "_peer",
        "_receiver",
        "_sink",
        "_token",
        "_window",
        "consumed",
        "expected",
        "gap",
    )

    def __init__(
        self,
        peer: int,
        receiver: Receiver,
        window: int,
        acknowledged: Callable[[int], None],
        introduced: Callable[[str], None],
    ) -> None:
        self.consumed = 0
        self.expected = 0
        self.gap = 0.0
        self._acknowledged = acknowledged
        self._early: dict[int, tuple[Head, bytes]] = {}
        self._early_bytes = 0
        self._introduced = introduced
        self._peer = peer
        self._receiver = receiver
        self._sink: memoryview | None = None
        self._token: object = None
        self._window = window

    def landing(self, head: Head) -> memoryview | None:
        """Return where the body of the object with this head may be read to before it is known to be genuine.

        It is the place of the very next object: should the body be forged, the genuine one replaces it.
        """
        kind, _, number, length, _ = head
        sink = self._sink
        if kind != MORE or number != self.expected or sink is None or not 0 < length <= len(sink):
            return None
        return sink[:length]

    def take(self, head: Head, body: memoryview, landed: bool = False) -> None:
        """Use an object; ``landed``: its body is where it belongs. Raises Left, and FrameError if its bytes are no frames."""
        number = head[2]
        if number != self.expected:
            if number > self.expected:
                self._keep(head, body)
            return
        self._use(head, body, landed)
        while self._early:
            kept = self._early.pop(self.expected, None)
            if kept is None:
                return
            self._early_bytes -= len(kept[1])
            self._use(kept[0], memoryview(kept[1]))
        self.gap = 0.0

    def _keep(self, head: Head, body: memoryview) -> None:
        if not self._early:
            self.gap = time.monotonic()
        if head[2] not in self._early and self._early_bytes + len(body) <= self._window:
            self._early[head[2]] = (head, bytes(body))
            self._early_bytes += len(body)

    def _use(self, head: Head, body: memoryview, landed: bool = False) -> None:
        kind, _, _, length, consumed = head
        self.expected += 1
        self.consumed += length + HEAD
        self._acknowledged(consumed)
        if kind == FRAME:
            self._begin(body)
        elif kind == MORE:
            self._go_on(body, landed)
        elif kind == BYE:
            raise Left
        elif kind == HELLO:
            self._introduced(bytes(body).decode(errors="replace"))

    def _begin(self, body: memoryview) -> None:
        if len(body) < HEADER_SIZE or self._sink is not None:
            raise FrameError("an object that begins no frame")
        header, rest = body[:HEADER_SIZE], body[HEADER_SIZE:]
        length = _length_at(header)[0]
        if length == len(rest):
            self._receiver.frame(self._peer, header, rest)
            return
        if length < len(rest):
            raise FrameError(f"a frame of {length} bytes in an object of {len(rest)}")
        self._sink, self._token = self._receiver.begin(self._peer, header)
        if len(rest):
            self._go_on(rest, False)

    def _go_on(self, body: memoryview, landed: bool) -> None:
        sink = self._sink
        if sink is None or len(body) > len(sink):
            raise FrameError("an object beyond the end of its frame")
        if not landed:
            sink[: len(body)] = body
        if len(body) < len(sink):
            self._sink = sink[len(body) :]
            return
        self._sink = None
        token, self._token = self._token, None
        self._receiver.end(self._peer, token)
