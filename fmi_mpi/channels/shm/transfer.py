"""Large payloads: copied once, between the two address spaces, and from some size on by both processes at once.

Rules of this file:
- The receiver copies from the front, the sender from the back, in chunks, until they meet. A sender that is busy
  elsewhere claims nothing, and the receiver copies everything.
- A chunk is claimed before it is copied. Claims may cross, so that both copy the same chunk: the bytes are the same,
  and nobody needs an atomic operation.
- The receiver closes the transfer when everything is claimed. From then on the sender claims nothing, and the
  receiver waits only for a chunk that the sender has begun. "Claim, then look whether it is closed" and "close, then
  look for claims" are separated by fences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fmi_mpi.channels.shm.inbox import BACK, CLOSED, COMPLETED, DONE, FRONT, JOINED, OPENED, SINK
from fmi_mpi.channels.shm.memory import AddressSpaces, Regions, address_of, regions_of
from fmi_mpi.engine.frames import FrameError

__all__ = ["SHARED_FROM", "Pair", "Pull", "Push"]

SHARED_FROM: Final = 768 << 10
"""Payload bytes from which the sender's help is worth the coordination."""

_SMALLEST_CHUNK: Final = 256 << 10
_LARGEST_CHUNK: Final = 512 << 10
_SHARES: Final = 4
_LOOKS: Final = range(100)
"""Looks at the sender's last chunk before others get their turn."""


def _chunk(nbytes: int) -> int:
    return max(_SMALLEST_CHUNK, min(_LARGEST_CHUNK, (nbytes // _SHARES) & -4096))


class Pair:
    """What all transfers in one direction between two processes have in common.

    Args:
        words: the receiver's inbox. slot: index of the sender's slot. pid: the other process.
    """

    __slots__ = ("fence", "pid", "slot", "spaces", "words")

    def __init__(
        self, words: memoryview, slot: int, pid: int, spaces: AddressSpaces, fence: Callable[[], None]
    ) -> None:
        self.words = words
        self.slot = slot
        self.pid = pid
        self.spaces = spaces
        self.fence = fence


class Pull:
    """The receiver's half.

    Args:
        number: the transfer's. remote: the payload in the sender's memory.
        sink: where to put it; ``token`` goes with it.
    """

    __slots__ = ("_chunk", "_front", "_local", "_pair", "_remote", "number", "sink", "token")

    def __init__(self, pair: Pair, number: int, remote: Regions, sink: memoryview, token: object) -> None:
        nbytes = remote.nbytes
        address = address_of(sink)
        self._pair = pair
        self._remote = remote
        self._local = Regions((address,), (nbytes,))
        self._front = 0
        self._chunk = _chunk(nbytes)
        self.number = number
        self.sink = sink
        self.token = token
        words, slot = pair.words, pair.slot
        words[slot + FRONT] = 0
        words[slot + SINK] = address
        pair.fence()
        words[slot + OPENED] = number

    def advance(self) -> bool:
        """Copy what the sender has not claimed; True when the payload is complete. Raises FrameError."""
        pair, number, nbytes = self._pair, self.number, self._remote.nbytes
        words, slot = pair.words, pair.slot
        while True:
            joined = words[slot + JOINED] == number
            back = min(words[slot + BACK], nbytes) if joined else nbytes
            front = self._front
            if front < back:
                stop = min(front + self._chunk, back)
                words[slot + FRONT] = stop
                try:
                    pair.spaces.pull(pair.pid, self._local, self._remote, front, stop)
                except OSError as error:
                    raise FrameError(f"its memory cannot be read: {error.strerror}") from error
                self._front = stop
            elif words[slot + CLOSED] != number:
                words[slot + CLOSED] = number
                pair.fence()
            else:
                for _ in _LOOKS:
                    if not joined or words[slot + DONE] == words[slot + BACK]:
                        break
                complete = not joined or words[slot + DONE] == back
                pair.fence()
                return complete

    def ready(self) -> bool:
        """The sender has no chunk in hand."""
        words, slot = self._pair.words, self._pair.slot
        return bool(words[slot + DONE] == words[slot + BACK])

    def complete(self) -> None:
        """Tell the sender that its memory is free."""
        self._pair.words[self._pair.slot + COMPLETED] = self.number


class Push:
    """The sender's half.

    Args:
        number: the transfer's. views: the payload.
        token: goes to ``Receiver.sent`` when the memory is free.
    """

    __slots__ = ("_pair", "_views", "number", "token")

    def __init__(self, pair: Pair, number: int, views: Sequence[memoryview], token: object) -> None:
        self._pair = pair
        self._views = views
        self.number = number
        self.token = token

    def help(self) -> bool:
        """Copy from the back what the receiver has not claimed yet, if it wants help; False if it does not."""
        pair, number = self._pair, self.number
        words, slot, fence = pair.words, pair.slot, pair.fence
        if words[slot + OPENED] != number or words[slot + CLOSED] == number or words[slot + JOINED] == number:
            return False
        local = regions_of(self._views)
        back = nbytes = local.nbytes
        remote = Regions((words[slot + SINK],), (nbytes,))
        chunk = _chunk(nbytes)
        words[slot + BACK] = words[slot + DONE] = back
        fence()
        words[slot + JOINED] = number
        while True:
            start = max(words[slot + FRONT], back - chunk)
            if start >= back:
                return True
            words[slot + BACK] = start
            fence()
            try:
                if words[slot + CLOSED] == number:
                    raise OSError("too late")
                pair.spaces.push(pair.pid, local, remote, start, back)
            except OSError:
                words[slot + BACK] = back  # the receiver copies this chunk, or is gone
                return True
            fence()
            words[slot + DONE] = back = start
