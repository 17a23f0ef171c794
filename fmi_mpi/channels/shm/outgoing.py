"""The sending end of a ring.

Rules of this file:
- A small frame goes out by plain stores: header, payload, tail counter, and one look whether the owner sleeps.
- What finds no room waits in ``queue``, in order, and is not copied: a send is complete when the peer can read
  it without further help from here.
- Large payloads stay where they are: a descriptor goes out, and both processes copy (see ``transfer``).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence

from fmi_mpi.channels.base import Payload, Receiver
from fmi_mpi.channels.shm.barrier import WEAK
from fmi_mpi.channels.shm.doorbell import Bell
from fmi_mpi.channels.shm.inbox import ASLEEP, COMPLETED, DIRECT, HEAD, OWNER_LINE, WAITING, WORD_SIZE, Inbox
from fmi_mpi.channels.shm.memory import AddressSpaces, address_of, regions_of
from fmi_mpi.channels.shm.ring import (
    ADDRESS,
    DESCRIPTOR,
    DIRECT_ALWAYS,
    DIRECT_FROM,
    LENGTH,
    LINE,
    PAD,
    REGIONS,
    chunk_size,
    most_regions,
    padded,
)
from fmi_mpi.channels.shm.transfer import Pair, Push

__all__ = ["Outgoing"]


class _Entry:
    """A frame that is not out yet, or only in part.

    ``views``, of the first all but ``done`` bytes, is what is still to be written; ``length`` its bytes.
    """

    __slots__ = ("begun", "done", "header", "length", "token", "views")

    def __init__(self, header: bytes, views: list[memoryview], length: int, token: object) -> None:
        self.header = header
        self.views = views
        self.length = length
        self.token = token
        self.begun = False
        self.done = 0


class Outgoing:
    """This process's ring in the inbox of a peer.

    Args:
        proc: this process. inbox: the peer's. bell: the peer's.
        engage: told when ``progress`` must be called, until no longer ``busy``.
        readable: this process may read and write the peer's memory.
        fenced: looking whether the owner sleeps needs a fence (see ``barrier``).
    """

    def __init__(
        self,
        proc: int,
        inbox: Inbox,
        bell: Bell,
        receiver: Receiver,
        engage: Callable[[Outgoing], None],
        spaces: AddressSpaces,
        fence: Callable[[], None],
        readable: bool,
        fenced: bool,
    ) -> None:
        self.inbox = inbox
        self.bell = bell
        self.queue: deque[_Entry] = deque()
        self.transfers: deque[Push] = deque()
        self._receiver = receiver
        self._engage = engage
        self._fence = fence
        self._fenced = fenced
        self._direct_from = DIRECT_ALWAYS if not readable or not spaces.quick() else DIRECT_FROM
        self._readable: bool | None = None if readable else False  # None: this end may, the owner has not said
        self._memory = inbox.memory
        self._words = inbox.words
        self._base = inbox.base(proc)
        self._slot = inbox.slot(proc)
        self._pair = Pair(inbox.words, self._slot, bell.pid, spaces, fence)
        self._line = slice(self._slot * WORD_SIZE, self._slot * WORD_SIZE + OWNER_LINE)
        self._seen = b""
        self._completed = self._slot + COMPLETED
        self._counter = inbox.tail(proc)
        self._ring = inbox.ring
        self._mask = inbox.ring - 1
        self._chunk = chunk_size(inbox.ring)
        self._most_regions = most_regions(inbox.ring)
        self._tail = 0
        self._limit = inbox.ring
        self._number = 0

    def send(self, header: bytes, payload: Payload, token: object) -> bool:
        """See ``channels.base.Channel.send``."""
        if payload is None:
            length = 0
        elif type(payload) is memoryview:
            length = len(payload)
            if length >= self._direct_from and self._send_direct(header, payload, token):
                return False
        else:
            return self._send_slowly(header, [view for view in payload if len(view)], token)
        size = (length + 127) & -64
        tail = self._tail
        offset = tail & self._mask
        if length > self._chunk or offset + size > self._ring or tail + size > self._limit or self.queue:
            return self._send_slowly(header, [payload] if payload else [], token)
        at = self._base + offset
        memory = self._memory
        at_payload = at + 64
        memory[at:at_payload] = header
        if payload is not None:
            memory[at_payload : at_payload + length] = payload
        if WEAK:
            self._fence()
        self._tail = tail = tail + size
        words = self._words
        words[self._counter] = tail
        if self._fenced:
            self._fence()
        if words[ASLEEP]:
            self._wake()
        return True

    @property
    def busy(self) -> bool:
        """Frames wait for room, or payloads for being copied."""
        return bool(self.queue or self.transfers)

    def progress(self) -> bool:
        """Continue if the peer has moved; True if so."""
        line = self._memory[self._line]
        if line == self._seen:
            return False
        self._seen = line
        transfers = self.transfers
        if transfers:
            completed = self._words[self._completed]
            if transfers[0].number > completed:
                if transfers[0].help():
                    self._publish()
                completed = self._words[self._completed]
            while transfers and transfers[0].number <= completed:
                token = transfers.popleft().token
                if token is not None:
                    self._receiver.sent(token)
        if self.queue:
            self._flush()
        return True

    def arm(self) -> None:
        """Ask the peer to ring when it moves."""
        self._words[self._slot + WAITING] = 1

    def disarm(self) -> None:
        """Do not ask any more."""
        self._words[self._slot + WAITING] = 0

    def moved(self) -> bool:
        """The peer has moved since ``progress`` last looked."""
        return self._memory[self._line] != self._seen

    def drop(self) -> None:
        """The peer is gone: forget what was meant for it."""
        self.queue.clear()
        self.transfers.clear()

    # -- the slow path -------------------------------------------------------------------------------------------

    def _send_slowly(self, header: bytes, views: list[memoryview], token: object) -> bool:
        length = sum(map(len, views))
        if length >= self._direct_from and not self.queue and self._describe(header, views, length, token):
            return False
        entry = _Entry(header, views, length, token)
        if not self.queue and self._advance(entry):
            return not entry.length
        self.queue.append(entry)
        self._seen = b""
        self._engage(self)
        return False

    def _flush(self) -> None:
        queue = self.queue
        while queue and self._advance(queue[0]):
            entry = queue.popleft()
            if entry.token is not None and not entry.length:
                self._receiver.sent(entry.token)

    def _advance(self, entry: _Entry) -> bool:
        """Write as much of an entry as there is room for; True when it need not be queued any more.

        Its length is then zero, unless it has become a transfer.
        """
        length = entry.length
        if not entry.begun:
            if length >= self._direct_from and self._describe(entry.header, entry.views, length, entry.token):
                return True
            at = self._reserve(LINE + (padded(length) if length <= self._chunk else 0))
            if at < 0:
                return False
            self._memory[at : at + LINE] = entry.header
            self._tail += LINE
            entry.begun = True
            if not length:
                self._publish()
                return True
        return self._stream(entry)

    def _stream(self, entry: _Entry) -> bool:
        """Write payload chunk by chunk, as far as there is room; True if that was all of it."""
        memory, base, mask, chunk = self._memory, self._base, self._mask, self._chunk
        tail, views = self._tail, entry.views
        while left := entry.length:
            offset = tail & mask
            at = base + offset
            size = chunk if left > chunk else left
            if offset + size > self._ring:
                size = self._ring - offset
            if tail + size > self._limit:
                self._limit = self._words[self._slot + HEAD] + self._ring
                if tail == self._limit:
                    return False
                size = min(size, self._limit - tail)
            if len(views) == 1:
                done = entry.done
                entry.done = end = done + size
                memory[at : at + size] = views[0][done:end]
            else:
                self._gather(at, views, size)
            entry.length = left - size
            self._tail = tail = tail + ((size + 63) & -64)
            self._publish()
        return True

    def _describe(self, header: bytes, views: list[memoryview], length: int, token: object) -> bool:
        """Write where a payload lies instead of the payload; False if the peer cannot read there, or for want of room."""
        if not self._readable and not self._may_read():
            return False
        count = len(views)
        if count > self._most_regions:
            return False
        size = 2 * LINE + (padded(16 * count) if count > 1 else 0)
        at = self._reserve(size)
        if at < 0:
            return False
        words, index = self._words, at >> 3
        words[index + ADDRESS] = address_of(views[0])
        words[index + LENGTH] = DESCRIPTOR
        words[index + REGIONS] = count
        self._memory[at + LINE : at + 2 * LINE] = header
        if count > 1:
            regions_of(views).write(self._memory, at + 2 * LINE)
        self._tail += size
        self._publish()
        self._expect(views, token)
        return True

    def _send_direct(self, header: bytes, view: memoryview, token: object) -> bool:
        """Do what ``_describe`` does, for one view and if nothing is in the way: in here every call counts."""
        tail = self._tail
        after = tail + 128
        offset = tail & self._mask
        if not self._readable or self.queue or offset + 128 > self._ring or after > self._limit:
            return False
        self._tail = after
        words, at = self._words, self._base + offset
        index = at >> 3
        words[index] = address_of(view)
        words[index + LENGTH] = DESCRIPTOR
        words[index + REGIONS] = 1
        self._memory[at + 64 : at + 128] = header
        if WEAK:
            self._fence()
        words[self._counter] = after
        if self._fenced:
            self._fence()
        if words[ASLEEP]:
            self._wake()
        self._expect((view,), token)
        return True

    def _expect(self, views: Sequence[memoryview], token: object) -> None:
        """A descriptor is out: help, and look for the transfer's end."""
        self._number += 1
        self._seen = b""
        self.transfers.append(Push(self._pair, self._number, views, token))
        self._engage(self)

    def _may_read(self) -> bool:
        """The owner has said that it can read this process's memory; one that cannot is not asked again."""
        if self._readable is None:
            said = self._words[self._slot + DIRECT]
            if said:
                self._readable = said == 1
        if self._readable is False:
            self._direct_from = sys.maxsize
        return bool(self._readable)

    def _gather(self, at: int, views: list[memoryview], size: int) -> None:
        """Write the first ``size`` bytes of several views and take them off the list."""
        done = 0
        for view in views:
            if size < len(view):
                self._memory[at : at + size] = view[:size]
                views[done] = view[size:]
                break
            self._memory[at : at + len(view)] = view
            at += len(view)
            size -= len(view)
            done += 1
        del views[:done]

    def _reserve(self, size: int) -> int:
        """Return where the next ``size`` bytes go, in one piece, or -1 if there is no room."""
        offset = self._tail & self._mask
        rest = self._ring - offset
        pad = rest if size > rest else 0
        if self._tail + pad + size > self._limit:
            self._limit = self._words[self._slot + HEAD] + self._ring
            if self._tail + pad + size > self._limit:
                return -1
        if pad:
            self._words[(self._base + offset) // WORD_SIZE + LENGTH] = PAD
            self._tail += pad
            offset = 0
        return self._base + offset

    def _publish(self) -> None:
        """Let the owner see all that has been written."""
        if WEAK:
            self._fence()
        words = self._words
        words[self._counter] = self._tail
        if self._fenced:
            self._fence()
        if words[ASLEEP]:
            self._wake()

    def _wake(self) -> None:
        """Ring; the others who see the flag need not. Whoever takes the flag down rings afterwards."""
        self._words[ASLEEP] = 0
        self.bell.ring()
