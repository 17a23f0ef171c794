"""The connection that waits: for objects in the own mailbox, and for what others put on shelves.

Rules of this file:
- One blocking read is under way at a time, of the mailbox and of all that is wished for, asked for when nothing else is left
  to do; it returns after a second at the latest, so that a server that says nothing is known to be gone. A wish that comes
  meanwhile has it cut short.
- The id of the last object that was read whole is remembered: on a new connection reading goes on after it.
- An object is handed over from the buffer; the body of one that is known to belong somewhere is read to its place.
- Objects that have been read are removed from the stream now and then, with the next read.
"""

from __future__ import annotations

import re
import select
from collections import deque
from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Any, Final

from fmi_mpi.channels.mailbox.objects import HEAD
from fmi_mpi.channels.mailbox.store import Events, Usage
from fmi_mpi.channels.redis.line import Line, Refusal
from fmi_mpi.channels.redis.resp import NOTHING, Incomplete, ProtocolError, Push, ReplyError, pack, parse, stream_id
from fmi_mpi.channels.redis.shelf import Id, Wish
from fmi_mpi.channels.redis.url import Server

__all__ = ["Reader"]

_COUNT: Final = 32  # objects in one answer
_BLOCK: Final = 1000  # milliseconds
_TRIM_COUNT: Final = 128
_TRIM_BYTES: Final = 1 << 21
_SLACK: Final = 1 << 17
_WORTHWHILE: Final = 1 << 13  # missing bytes of a body from which it is read to its place
_ANSWER: Final = re.compile(rb"%(\d{1,9})\r\n")
_STREAM: Final = re.compile(rb"\$\d+\r\n([^\r]*)\r\n\*(\d{1,9})\r\n")
_ENTRY: Final = re.compile(rb"\*2\r\n\$\d+\r\n(\d{1,20})-(\d{1,20})\r\n\*2\r\n\$1\r\no\r\n\$(\d{1,12})\r\n")


class Reader(Line):
    """Reads the stream ``box`` of a process, and shelves; ``limit`` is the length of the longest object.

    ``hungry``: a read has brought some of what is waited for, and the next is better asked for a moment later.
    ``client``: what the server calls this connection. ``ready``: called when the server has let it in; reading begins
    with the next poll.
    """

    def __init__(
        self, server: Server, epoll: select.epoll, limit: int, usage: Usage, ready: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(server, epoll)
        self.ready = ready
        self.asked = False
        self.box = ""
        self.client = 0
        self.hungry = False
        self.last: Id = (0, 0)
        self.wishes: dict[bytes, deque[Wish]] = {}
        self._events: Events
        self._limit = limit
        self._usage = usage
        self._buffer = bytearray(limit + _SLACK)
        self._view = memoryview(self._buffer)
        self._asked: dict[bytes, Wish] = {}  # what the read under way is to bring
        self.cut = False  # it is to be cut short
        self._streams = 0  # still to come in this answer
        self._entries = 0  # still to come of this stream
        self._own = True  # it is the mailbox
        self._wish: Wish | None = None  # what it is read for otherwise
        self._skip = 0  # bytes to be thrown away
        self._place: memoryview | None = None  # where the rest of the body goes
        self._landing: tuple[memoryview, memoryview] | None = (
            None  # head and place of the object whose body is read to it
        )
        self._reading: Id = (0, 0)
        self._read_count = 0
        self._read_bytes = 0
        self._extra = 0  # answers other than the read's that are owed

    def attach(self, box: str, events: Events) -> None:
        """Say what is read and who is told."""
        self.box = box
        self._events = events
        self._name = box.encode()
        self._prefix = pack("XREAD", "COUNT", str(_COUNT), "BLOCK", str(_BLOCK), "STREAMS", box, "")[: -len(NOTHING)]

    def greeting(self) -> list[bytes]:
        """Besides, let peers see that this process lives: it listens on a channel with its mailbox's name."""
        return [*super().greeting(), pack("SUBSCRIBE", self.box)]

    def start(self) -> None:
        self.asked = self.cut = False
        self._entries = self._streams = self._skip = self._extra = 0
        self._place = self._landing = None
        super().start()

    def drop(self) -> None:
        super().drop()
        self._place = self._landing = None

    def waits(self) -> bool:
        return self.asked

    def ask(self) -> None:
        """Ask for what comes after the last object, and for the removal of what has been read."""
        ident = b"%d-%d" % self.last
        self._asked = self._foremost()
        if self._asked:
            command = self._read_all(ident)
        else:
            command = b"%b$%d\r\n%b\r\n" % (self._prefix, len(ident), ident)
            self._usage.list += 1
        if self._read_count >= _TRIM_COUNT or self._read_bytes >= _TRIM_BYTES:
            command = self.trim() + command
            self._extra += 1
        self.asked = True
        if self.connection.write((command,)) < len(command):
            raise OSError("the server takes no more commands")

    def _foremost(self) -> dict[bytes, Wish]:
        """Return the first wish of each stream."""
        found = {}
        for key, queue in tuple(self.wishes.items()):
            while queue and queue[0].over:
                queue.popleft()
            if queue:
                found[key] = queue[0]
            else:
                del self.wishes[key]
        return found

    def _read_all(self, ident: bytes) -> bytes:
        """Return the command that reads the mailbox from ``ident`` on, and what is asked for."""
        wishes = self._asked.values()
        count = max(wish.pieces for wish in wishes)
        before = [b"%d-%d" % (wish.ident[0], wish.ident[1] - 1) for wish in wishes]
        head = ("XREAD", "COUNT", str(count), "BLOCK", str(_BLOCK), "STREAMS")
        return pack(*head, self._name, *self._asked, ident, *before)

    def want(self, wish: Wish) -> bool:
        """Wait for something on a shelf, too; True if the read under way must be cut short for that."""
        queue = self.wishes.setdefault(wish.key, deque())
        queue.append(wish)
        asked = self._asked.get(wish.key)
        if not self.asked or self.cut or (asked is not None and not asked.over):
            return False
        self.cut = True
        return True

    def withdraw(self, keys: Collection[bytes], reason: str) -> None:
        """What comes in these streams is not waited for any more."""
        for key in keys:
            for wish in tuple(self.wishes.get(key, ())):
                wish.fail(reason)

    def trim(self) -> bytes:
        """Return the command that removes what has been read."""
        self._read_count = self._read_bytes = 0
        self._usage.delete += 1
        return pack("XTRIM", self.box, "MINID", "=", b"%d-%d" % (self.last[0], self.last[1] + 1))

    def divert(self) -> None:
        """What is being read to its place has none any more."""
        if self._place is not None and self._own:
            self._skip = len(self._place) + 2
            self._place = self._landing = None
            self._count(self._reading, 0)

    # -- reading -------------------------------------------------------------------------------------------------

    def receive(self) -> bool:
        moved = False
        connection = self.connection
        while True:
            place = self._place
            room = self._view[self._end :]
            count = connection.read(room) if place is None else connection.read(place, room)
            if count < 0:
                return moved
            moved = True
            if place is not None:
                if count < len(place):
                    self._place = place[count:]
                    count = 0
                else:
                    count -= len(place)
                    self._place = None
                    self._end += count
                    count = 0
                    self._land()
            self._end += count
            self._consume()
            if connection.scattered or connection.stage == "down":
                return True

    def _land(self) -> None:
        assert self._landing is not None
        (head, body), self._landing = self._landing, None
        self._skip = 2
        self._count(self._reading, 0)
        if self._own:
            self._events.landed(head)
        elif self._wish is not None:
            self._wish.take(self._reading, head, body, landed=True)

    def _consume(self) -> None:
        position = 0
        try:
            while position < self._end:
                position = self._step(position)
        except Incomplete:
            pass
        position = min(position, self._end)
        rest = self._end - position
        if position and rest:
            self._view[:rest] = self._view[position : self._end]
        self._end = rest
        if rest == len(self._buffer):
            raise Refusal("the mailbox holds something that is too long")

    def _step(self, position: int) -> int:
        """Handle what begins here, and return where the next thing does; raises Incomplete."""
        if self._skip:
            count = min(self._skip, self._end - position)
            self._skip -= count
            return position + count
        if self._entries:
            return self._entry(position)
        if self._streams:
            match = _STREAM.match(self._buffer, position, self._end)
            if match is None:
                raise Incomplete
            self._own = match[1] == self._name
            self._wish = self._asked.get(match[1])
            self._entries = _some(match[2])
            return match.end()
        match = _ANSWER.match(self._buffer, position, self._end)
        if match is not None and self.connection.stage == "up":
            self._streams = _some(match[1])
            return match.end()
        value, position = parse(self._buffer, position, self._end)
        self.answer(value)
        return position

    def _entry(self, position: int) -> int:
        match = _ENTRY.match(self._buffer, position, self._end)
        if match is None:  # incomplete, or by somebody else
            value, position = parse(self._buffer, position, self._end)
            self._came(stream_id(value[0] if isinstance(value, list) and value else None), memoryview(b""))
            return position
        first, second, size = match.groups()
        ident = (int(first), int(second))
        length = int(size)
        begin = match.end()
        stop = begin + length
        if stop + 2 <= self._end:
            self._came(ident, self._view[begin:stop])
            return stop + 2
        return self._incomplete(ident, begin, length)

    def _incomplete(self, ident: Id, begin: int, length: int) -> int:
        """An object has not come whole yet: find out where the rest goes."""
        have = self._end - begin
        if length > self._limit:
            self._skip = length + 2
            self._came(ident, memoryview(b""))
            return begin
        if have < HEAD or length - have < _WORTHWHILE:
            raise Incomplete
        head = self._view[begin : begin + HEAD]
        if self._own:
            place = self._events.landing(head)
        else:
            place = None if self._wish is None else self._wish.landing(ident, length - HEAD)
        if place is None or len(place) != length - HEAD:
            raise Incomplete
        place[: have - HEAD] = self._view[begin + HEAD : self._end]
        self._landing = memoryview(bytes(head)), place
        self._place = place[have - HEAD :]
        self._reading = ident
        if self._own:
            self._read_bytes += length
        self._usage.read += length
        return self._end

    def _came(self, ident: Id, thing: memoryview) -> None:
        """An entry is there whole, or there will not be more of it."""
        self._count(ident, len(thing))
        if self._own:
            self._events.arrived(thing)
        elif self._wish is not None:
            self._wish.take(ident, thing[:HEAD], thing[HEAD:])

    def _count(self, ident: Id, length: int) -> None:
        """An entry has been read."""
        if self._own:
            self.last = ident
            self._read_count += 1
            self._read_bytes += length
        self.backoff = None
        self._usage.read += length
        self._entries -= 1
        if not self._entries:
            self._streams -= 1
            if not self._streams:
                self.asked = self.cut = False
                self.hungry = len(self._asked) > 1

    def answer(self, value: Any) -> None:
        if self.connection.stage == "greeting" and isinstance(value, list):
            self.client = next((one for name, one in pairwise(value) if name == b"id"), self.client)
        super().answer(value)

    def reply(self, value: Any) -> None:
        if isinstance(value, Push):
            return
        if isinstance(value, ReplyError):
            self.judge(value)
        if self._extra:
            self._extra -= 1
        elif value is None:
            self.asked = self.cut = False
            self.backoff = None
            if self._read_count:
                self._read_count = _TRIM_COUNT
        else:
            raise Refusal("the server answers a read with something else")


def _some(text: bytes) -> int:
    """Return a number of things that come; raises ProtocolError if it is none."""
    if not int(text):
        raise ProtocolError("a read that is answered with nothing")
    return int(text)
