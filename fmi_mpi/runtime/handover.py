"""What happens to the frames of a channel that has lost a peer while another channel still reaches it.

Rules of this file:
- Each end gives the channel up, tells the other over the next channel how many frames it had taken, and sends again, in
  order, what the other has not; until it knows, what is sent waits. So nothing is lost, doubled or overtaken.
- A channel that cannot tell what it has taken (no ``channels.base.Salvaging``) is not handed over: the peer is lost.
- Each such change is said once, when it has succeeded: a peer that is dead is the control's business.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import cast

from fmi_mpi.channels.base import Channel, Payload, Salvage, Salvaging
from fmi_mpi.engine.extension import Arrival, RawHeader
from fmi_mpi.engine.frames import ROUTE, FrameError, pack_header, unpack_header

__all__ = ["Handover", "Handovers", "number_of"]


def number_of(name: str) -> int:
    """Return a number that stands for a channel's name."""
    return zlib.crc32(name.encode())


class Handover:
    """From channel ``old`` to ``new`` for one peer. Takes the place of the channel in the meantime."""

    def __init__(self, peer: int, old: Channel, new: Channel, reason: str) -> None:
        self.peer = peer
        self.old = old
        self.new = new
        self.reason = reason
        self.done = False
        self._salvage: Salvage = cast(Salvaging, old).salvage(peer)
        self.begun = self._salvage.begun
        self._waiting: list[tuple[bytes, Payload, object]] = []

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        """See ``channels.base.Channel.send``."""
        if self.done:
            return self.new.send(peer, header, payload, token)
        self._waiting.append((header, payload, token))
        return False

    def begin(self, proc: int) -> None:
        """Tell the peer what has been taken from it."""
        taken = self._salvage.received
        header = pack_header(ROUTE, 0, proc, 0, 0, 0, 0, 0, 0, number_of(self.old.name), taken)
        self.new.send(self.peer, header, None, None)

    def complete(self, taken: int, sent: Callable[[object], None]) -> None:
        """The peer has taken so many frames: send the rest again, and what has waited."""
        frames = self._salvage.frames
        known = taken - self._salvage.acknowledged
        if not 0 <= known <= len(frames):
            raise FrameError(f"process {self.peer} says that it has taken {taken} frames, which cannot be")
        self.done = True
        for _, _, token in frames[:known]:
            if token is not None:
                sent(token)
        for header, payload, token in (*frames[known:], *self._waiting):
            if self.new.send(self.peer, header, payload, token) and token is not None:
                sent(token)
        self._waiting.clear()


class Handovers:
    """All handovers of a process; takes the frames that peers send about theirs (engine.extension.Extension).

    Args:
        proc: this process's number.
        start: begins a handover that the peer has begun: (peer, channel's number) -> the handover, None if that cannot be.
        sent: told that a frame is out (channels.base.Receiver).
        over: told when a handover is complete.
    """

    def __init__(
        self,
        proc: int,
        start: Callable[[int, int], Handover | None],
        sent: Callable[[object], None],
        over: Callable[[Handover], None],
    ) -> None:
        self._proc = proc
        self._start = start
        self._sent = sent
        self._over = over
        self._known: dict[tuple[int, int], Handover] = {}

    def add(self, handover: Handover) -> None:
        """Begin a handover."""
        self._known[handover.peer, number_of(handover.old.name)] = handover
        handover.begin(self._proc)

    def frame(self, peer: int, header: RawHeader, payload: memoryview) -> None:
        """The peer says how much it had taken."""
        number, taken = unpack_header(header)[9:]
        handover = self._known.get((peer, number)) or self._start(peer, number)
        if handover is None or handover.done:
            raise FrameError(f"process {peer} has given up a channel that it cannot give up")
        handover.complete(taken, self._sent)
        self._over(handover)
        sys.stderr.write(
            f"fmi_mpi: rank {self._proc}: {handover.old.name} to rank {peer} has failed ({handover.reason}); "
            f"going on over {handover.new.name}\n"
        )

    def begin(self, peer: int, header: RawHeader) -> tuple[memoryview, Arrival]:
        """There is never a payload."""
        raise FrameError(f"process {peer} says more about a channel than there is to say")

    def lost(self, peer: int) -> None:
        """A process is gone."""
        for key in [key for key in self._known if key[0] == peer]:
            del self._known[key]
