"""The connection that waits for objects in the own mailbox.

Rules of this file:
- One blocking read is under way at a time, asked for when nothing else is left to do; it returns after a second at
  the latest, so that a server that says nothing is known to be gone.
- The id of the last object that was read whole is remembered: on a new connection reading goes on after it.
- An object is handed over from the buffer; the body of one that is known to belong somewhere is read to its place.
- Objects that have been read are removed from the stream now and then, with the next read.
"""

from __future__ import annotations

import re
import select
from typing import Any, Final

from fmi_mpi.channels.mailbox.objects import HEAD
from fmi_mpi.channels.mailbox.store import Events, Usage
from fmi_mpi.channels.redis.line import Line, Refusal
from fmi_mpi.channels.redis.resp import Incomplete, Push, ReplyError, pack, parse, stream_id
from fmi_mpi.channels.redis.url import Server

__all__ = ["Reader"]

_COUNT: Final = 32  # objects in one answer
_BLOCK: Final = 1000  # milliseconds
_TRIM_COUNT: Final = 128
_TRIM_BYTES: Final = 1 << 21
_SLACK: Final = 1 << 17
_WORTHWHILE: Final = 1 << 13  # missing bytes of a body from which it is read to its place
_ANSWER: Final = re.compile(rb"%1\r\n\$\d+\r\n[^\r]*\r\n\*(\d{1,9})\r\n")
_ENTRY: Final = re.compile(rb"\*2\r\n\$\d+\r\n(\d{1,20})-(\d{1,20})\r\n\*2\r\n\$1\r\no\r\n\$(\d{1,12})\r\n")
_NOTHING: Final = b"$0\r\n\r\n"
_Id = tuple[int, int]


class Reader(Line):
    """Reads the stream ``box`` of a process; ``limit`` is the length of the longest object."""

    def __init__(self, server: Server, epoll: select.epoll, limit: int, usage: Usage) -> None:
        super().__init__(server, epoll)
        self.asked = False
        self.box = ""
        self.last: _Id = (0, 0)
        self._events: Events
        self._limit = limit
        self._usage = usage
        self._buffer = bytearray(limit + _SLACK)
        self._view = memoryview(self._buffer)
        self._entries = 0  # still to come in this answer
        self._skip = 0  # bytes to be thrown away
        self._place: memoryview | None = None  # where the rest of the body goes
        self._landing: memoryview | None = None  # head of the object whose body is read to its place
        self._reading: _Id = (0, 0)
        self._read_count = 0
        self._read_bytes = 0
        self._extra = 0  # answers other than the read's that are owed

    def attach(self, box: str, events: Events) -> None:
        """Say what is read and who is told."""
        self.box = box
        self._events = events
        self._prefix = pack("XREAD", "COUNT", str(_COUNT), "BLOCK", str(_BLOCK), "STREAMS", box, "")[: -len(_NOTHING)]

    def greeting(self) -> list[bytes]:
        """Besides, let peers see that this process lives: it listens on a channel with its mailbox's name."""
        return [*super().greeting(), pack("SUBSCRIBE", self.box)]

    def start(self) -> None:
        self.asked = False
        self._entries = self._skip = self._extra = 0
        self._place = self._landing = None
        super().start()

    def drop(self) -> None:
        super().drop()
        self._place = self._landing = None

    def ready(self) -> None:
        """Reading begins with the next poll."""

    def waits(self) -> bool:
        return self.asked

    def ask(self) -> None:
        """Ask for what comes after the last object, and for the removal of what has been read."""
        ident = b"%d-%d" % self.last
        command = b"%b$%d\r\n%b\r\n" % (self._prefix, len(ident), ident)
        self._usage.list += 1
        if self._read_count >= _TRIM_COUNT or self._read_bytes >= _TRIM_BYTES:
            command = self.trim() + command
            self._extra += 1
        self.asked = True
        if self.connection.write((command,)) < len(command):
            raise OSError("the server takes no more commands")

    def trim(self) -> bytes:
        """Return the command that removes what has been read."""
        self._read_count = self._read_bytes = 0
        self._usage.delete += 1
        return pack("XTRIM", self.box, "MINID", "=", b"%d-%d" % (self.last[0], self.last[1] + 1))

    def divert(self) -> None:
        """What is being read to its place has none any more."""
        if self._place is not None:
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
        head, self._landing = self._landing, None
        assert head is not None
        self._skip = 2
        self._count(self._reading, 0)
        self._events.landed(head)

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
        match = _ANSWER.match(self._buffer, position, self._end)
        if match is not None:
            self._entries = int(match[1])
            return match.end()
        value, position = parse(self._buffer, position, self._end)
        self.answer(value)
        return position

    def _entry(self, position: int) -> int:
        match = _ENTRY.match(self._buffer, position, self._end)
        if match is None:  # incomplete, or by somebody else
            value, position = parse(self._buffer, position, self._end)
            self._count(stream_id(value[0] if isinstance(value, list) and value else None), 0)
            self._events.arrived(memoryview(b""))
            return position
        first, second, size = match.groups()
        ident = (int(first), int(second))
        length = int(size)
        begin = match.end()
        stop = begin + length
        if stop + 2 <= self._end:
            self._count(ident, length)
            self._events.arrived(self._view[begin:stop])
            return stop + 2
        return self._incomplete(ident, begin, length)

    def _incomplete(self, ident: _Id, begin: int, length: int) -> int:
        """An object has not come whole yet: find out where the rest goes."""
        have = self._end - begin
        if length > self._limit:
            self._skip = length + 2
            self._count(ident, 0)
            self._events.arrived(memoryview(b""))
            return begin
        if have < HEAD or length - have < _WORTHWHILE:
            raise Incomplete
        head = self._view[begin : begin + HEAD]
        place = self._events.landing(head)
        if place is None or len(place) != length - HEAD:
            raise Incomplete
        place[: have - HEAD] = self._view[begin + HEAD : self._end]
        self._landing = memoryview(bytes(head))
        self._place = place[have - HEAD :]
        self._reading = ident
        self._read_bytes += length
        self._usage.read += length
        return self._end

    def _count(self, ident: _Id, length: int) -> None:
        """An object has been read."""
        self.last = ident
        self.backoff = None
        self._read_count += 1
        self._read_bytes += length
        self._usage.read += length
        self._entries -= 1
        if not self._entries:
            self.asked = False

    def reply(self, value: Any) -> None:
        if isinstance(value, Push):
            return
        if isinstance(value, ReplyError):
            self.judge(value)
        if self._extra:
            self._extra -= 1
        elif value is None:
            self.asked = False
            self.backoff = None
            if self._read_count:
                self._read_count = _TRIM_COUNT
        else:
            raise Refusal("the server answers a read with something else")
