"""The receiving end of a ring.

Rules of this file:
- What the sender wrote is not trusted: counters and lengths are checked before memory is touched, and each is read
  once. Anything irregular is a FrameError, and the channel gives the peer up.
- Small frames are handed over where they lie; only their headers are copied.
- Room is given back a quarter of the ring at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from fmi_mpi.channels.base import Receiver
from fmi_mpi.channels.shm.barrier import WEAK
from fmi_mpi.channels.shm.doorbell import Bell
from fmi_mpi.channels.shm.inbox import COMPLETED, DIRECT, HEAD, WAITING, WORD_SIZE, Inbox
from fmi_mpi.channels.shm.memory import AddressSpaces, Regions, address_of
from fmi_mpi.channels.shm.ring import (
    ADDRESS,
    CODE,
    DESCRIPTOR,
    LENGTH,
    LINE,
    PAD,
    REGIONS,
    chunk_size,
    padded,
)
from fmi_mpi.channels.shm.transfer import SHARED_FROM, Pair, Pull
from fmi_mpi.engine.frames import FrameError

__all__ = ["Incoming"]

_NOTHING: Final = memoryview(b"")
_CORRUPT: Final = "its ring's counter is corrupt"
_LOOKS: Final = range(64)
"""Looks at the counter of a sender that is in the middle of a long frame, before others get their turn."""


class Incoming:
    """A peer's ring in this process's inbox.

    Args:
        peer: the sender. inbox: this process's. bell: the sender's.
        readable: this process may read the sender's memory.
    """

    def __init__(
        self,
        peer: int,
        inbox: Inbox,
        bell: Bell,
        receiver: Receiver,
        spaces: AddressSpaces,
        fence: Callable[[], None],
        readable: bool,
    ) -> None:
        self.peer = peer
        self.bell = bell
        self.transfer: Pull | None = None
        self._receiver = receiver
        self._frame = receiver.frame
        self._begin_frame = receiver.begin
        self._end_frame = receiver.end
        self._pull_one = partial(spaces.pull_one, bell.pid)
        self._fence = fence
        self._memory = inbox.memory
        self._view = inbox.view
        self._words = inbox.words
        self._base = inbox.base(peer)
        self._slot = inbox.slot(peer)
        self._completed = self._slot + COMPLETED
        self._counter = inbox.tail(peer)
        self._ring = inbox.ring
        self._mask = inbox.ring - 1
        self._edge = self._base + inbox.ring
        self._quarter = inbox.ring >> 2
        self._chunk = chunk_size(inbox.ring)
        self._pair = Pair(inbox.words, self._slot, bell.pid, spaces, fence)
        self._position = 0
        self._published = 0
        self._sink: memoryview | None = None  # where the rest of a long frame goes
        self._token: object = None
        self._number = 0
        self._words[self._slot + DIRECT] = 1 if readable else 2

    def drain(self) -> bool:
        """Hand over what has arrived; False if that ends in a transfer that is not complete. Raises FrameError."""
        if self.transfer is not None:
            return False
        words = self._words
        position = self._position
        tail = words[self._counter]
        if not 0 <= tail - position <= self._ring or tail & 63:
            raise FrameError(_CORRUPT)
        if WEAK:
            self._fence()
        if self._sink is not None:
            position = self._stream(position, tail)
        base, mask, chunk = self._base, self._mask, self._chunk
        while position < tail:
            at = base + (position & mask)
            length = words[(at >> 3) + LENGTH]
            if length > chunk:
                if length == DESCRIPTOR and position + 128 <= tail and self._copy(at):
                    position = self._position
                    continue
                position = self._take_long(position, tail, at, length)
                if self.transfer is not None:
                    return False
                continue
            body = at + 64
            end = body + length
            position += (length + 127) & -64
            if position > tail or end > self._edge:
                raise FrameError("its frame is longer than what it wrote")
            self._position = position
            self._frame(self.peer, self._memory[at:body], self._view[body:end] if length else _NOTHING)
        if position - self._published >= self._quarter:
            self._publish()
        return True

    def moved(self) -> bool:
        """The sender has copied its part of a transfer."""
        return self.transfer is not None and self.transfer.ready()

    def resume(self) -> bool:
        """Go on with a transfer; True if it is complete now. Raises FrameError."""
        transfer = self.transfer
        if transfer is None or not transfer.advance():
            return False
        self.transfer = None
        self._receiver.end(self.peer, transfer.token)
        transfer.complete()
        self._notify()
        return True

    def _take_long(self, position: int, tail: int, at: int, length: int) -> int:
        """Take an entry that is not a small frame; return the position after it, or after what is there of it."""
        if length == PAD:
            position += self._ring - (position & self._mask)
            if position > tail:
                raise FrameError("it skips more than it wrote")
            self._position = position
        elif length == DESCRIPTOR:
            self._open(at, tail)
            position = self._position
        elif length < CODE:
            self._position = position = position + LINE
            body = at + LINE
            header = self._memory[at:body]
            if body + length <= self._edge and position + length <= tail:
                self._position = position = position + padded(length)
                self._frame(self.peer, header, self._view[body : body + length])
            else:
                self._sink, self._token = self._begin(header, length)
                position = self._stream(position, tail)
        else:
            raise FrameError(f"its ring holds an unknown code {length:#x}")
        if position - self._published >= self._quarter:
            self._publish()
        return position

    def _begin(self, header: bytes, length: int) -> tuple[memoryview, object]:
        sink, token = self._receiver.begin(self.peer, header)
        if len(sink) != length:
            raise FrameError("the length of its frame changed")
        return sink, token

    def _stream(self, position: int, tail: int) -> int:
        """Copy what is there of a long frame; return the new position."""
        sink = self._sink
        assert sink is not None
        view, mask = self._view, self._mask
        done, length = 0, len(sink)
        while True:
            offset = position & mask
            size = tail - position
            if size > length - done:
                size = length - done
            if offset + size > self._ring:
                size = self._ring - offset
            at = self._base + offset
            sink[done : done + size] = view[at : at + size]
            done += size
            self._position = position = position + ((size + 63) & -64)
            if done == length:
                break
            if position - self._published >= self._quarter:
                self._publish()
            if position == tail:
                tail = self._next_tail(position)
                if position == tail:
                    self._sink = sink[done:]
                    return position
        self._sink = None
        token, self._token = self._token, None
        self._receiver.end(self.peer, token)
        return position

    def _next_tail(self, position: int) -> int:
        """Read how far the sender has got, looking more than once as it is in the middle of a frame."""
        words, counter = self._words, self._counter
        for _ in _LOOKS:
            if words[counter] != position:
                break
        tail = int(words[counter])
        if not 0 <= tail - position <= self._ring or tail & 63:
            raise FrameError(_CORRUPT)
        if WEAK:
            self._fence()
        return tail

    def _copy(self, at: int) -> bool:
        """Make a transfer of one region in which the sender takes no part; False if this is not one."""
        words = self._words
        index = at >> 3
        length = words[index + LENGTH + 8]
        if words[index + REGIONS] != 1 or not 0 < length < SHARED_FROM or at + 128 > self._edge:
            return False
        self._position += 128
        self._number += 1
        sink, token = self._begin_frame(self.peer, self._memory[at + 64 : at + 128])
        if len(sink) != length:
            raise FrameError("the length of its frame changed")
        try:
            self._pull_one(address_of(sink), words[index], length)
        except OSError as error:
            raise FrameError(f"its memory cannot be read: {error.strerror}") from error
        words[self._completed] = self._number
        self._end_frame(self.peer, token)
        self._notify()
        return True

    def _open(self, at: int, tail: int) -> None:
        """Begin a transfer, and complete it unless the sender has a part in it that is not ready."""
        words = self._words
        index = at >> 3
        regions = words[index + REGIONS]
        length = words[index + LINE // WORD_SIZE + LENGTH]
        size = 2 * LINE + (padded(16 * regions) if regions > 1 else 0)
        if size > tail - self._position or at + size > self._edge or not regions or not 0 < length < CODE:
            raise FrameError("its descriptor is corrupt")
        self._position += size
        self._number += 1
        header = self._memory[at + LINE : at + 2 * LINE]
        if regions == 1:
            remote = Regions((words[index + ADDRESS],), (length,))
        else:
            flat = self._view[at + 2 * LINE : at + 2 * LINE + 16 * regions].cast("Q").tolist()
            remote = Regions(flat[::2], flat[1::2])
            if remote.nbytes != length or not all(flat[1::2]):
                raise FrameError("its descriptor contradicts its header")
        sink, token = self._begin(header, length)
        self.transfer = Pull(self._pair, self._number, remote, sink, token)
        self._notify()
        self.resume()

    def _publish(self) -> None:
        """Give room back."""
        if WEAK:
            self._fence()
        self._words[self._slot + HEAD] = self._published = self._position
        self._notify()

    def _notify(self) -> None:
        """Wake the sender if it sleeps until one of the words of this end changes."""
        self._fence()
        if self._words[self._slot + WAITING]:
            self._words[self._slot + WAITING] = 0
            self.bell.ring()
