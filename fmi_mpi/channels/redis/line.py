"""A connection that keeps what it has been asked: the greeting, and an outage with its attempts and its end.

Rules of this file:
- A line serves its connection and knows since when nothing has been heard; what is said on it is the subclass's business.
- ``Refusal`` is an answer that no further attempt changes.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

from fmi_mpi.channels.mailbox.backoff import Backoff
from fmi_mpi.channels.redis.connection import Connection
from fmi_mpi.channels.redis.resp import Incomplete, ReplyError, parse
from fmi_mpi.channels.redis.url import RIGHTS, Server

__all__ = ["Line", "Refusal", "Trouble"]

_SILENCE = 6.0  # seconds without an answer after which the connection is given up
_BLOCKED = 1.0  # seconds that a read may take which nothing comes for
_LOGIN = {
    "WRONGPASS": "check the user and the password in the URL",
    "NOAUTH": "the server wants a password: write redis://:password@host or redis://user:password@host",
    "NOPERM": f"let this user use {RIGHTS}",
}
_PASSING = frozenset(
    ["LOADING", "BUSY", "TRYAGAIN", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "UNBLOCKED"]
)  # fmt: skip


class Refusal(Exception):
    """The server answers, but will not do what is asked."""


class Trouble(Exception):
    """The server cannot do it now."""


class Line:
    """One of the connections of a store; ``ready`` is called when the server has let it in."""

    ready: Callable[[], None]

    def __init__(self, server: Server, epoll: select.epoll) -> None:
        self.connection = Connection(server, epoll)
        self.backoff: Backoff | None = None
        self.heard = time.monotonic()
        self._greetings = 0
        self._buffer = bytearray(1 << 16)
        self._view = memoryview(self._buffer)
        self._end = 0

    # -- what subclasses say -------------------------------------------------------------------------------------

    def greeting(self) -> list[bytes]:
        """Return the commands that the connection begins with."""
        return self.connection.server.greeting()

    def reply(self, value: Any) -> None:
        """An answer has come."""
        raise NotImplementedError

    def waits(self) -> bool:
        """An answer is owed."""
        raise NotImplementedError

    def writable(self) -> None:
        """There is room for more."""

    # -- what is common ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect."""
        self._end = 0
        self.heard = time.monotonic()
        self.connection.start()

    def drop(self) -> None:
        """Close the connection; what was under way is forgotten."""
        self.connection.drop()

    def serve(self, mask: int) -> bool:
        """Something has happened on the connection; True if anything was moved."""
        connection = self.connection
        if connection.stage == "up":
            if mask & select.EPOLLOUT:
                self.writable()
            if mask & ~select.EPOLLOUT:
                return self.receive()
            return True
        if connection.stage != "greeting":
            if connection.advance():
                commands = self.greeting()
                self._greetings = len(commands)
                data = b"".join(commands)
                if connection.write((data,)) < len(data):
                    raise OSError("a new connection takes nothing")
            return True
        return self.receive()

    def receive(self) -> bool:
        """Read and handle answers; True if there were any."""
        moved = False
        while True:
            if self._end == len(self._buffer):
                self._grow()
            count = self.connection.read(self._view[self._end :])
            if count < 0:
                return moved
            self._end += count
            self.heard = time.monotonic()
            moved = True
            self._consume()
            if self.connection.scattered or self.connection.stage == "down":
                return True

    def _consume(self) -> None:
        """Handle the answers in the buffer, as far as they are whole."""
        position = 0
        try:
            while position < self._end:
                value, position = parse(self._buffer, position, self._end)
                self.answer(value)
        except Incomplete:
            pass
        rest = self._end - position
        if position and rest:
            self._view[:rest] = self._view[position : self._end]
        self._end = rest

    def answer(self, value: Any) -> None:
        """Handle an answer: of the greeting here, of others where they were asked for."""
        if not self._greetings:
            self.reply(value)
            return
        if isinstance(value, ReplyError):
            self.judge(value)
        self._greetings -= 1
        if not self._greetings:
            self.connection.stage = "up"
            self.ready()

    def judge(self, error: ReplyError) -> None:
        """Raise Trouble if the server may be well again soon, else Refusal."""
        code = error.code
        if code in _PASSING or str(error).startswith("ERR max number of clients"):
            raise Trouble(str(error))
        if code == "MOVED":
            self._move(str(error))
        remedy = _LOGIN.get(code, "")
        if not remedy and ("unknown command" in str(error) or "syntax" in str(error) or code == "NOPROTO"):
            remedy = "Redis 6.2 or Valkey 7.2 is the oldest that will do"
        raise Refusal(f"{error}" + (f"; {remedy}" if remedy else ""))

    def _move(self, text: str) -> None:
        """Another server of the cluster has this job's keys."""
        host, _, port = text.rsplit(maxsplit=1)[-1].rpartition(":")
        if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
            raise Refusal(text)
        server = self.connection.server
        server.host, server.port = host.strip("[]") or server.host, int(port)
        raise Trouble(text)

    def _grow(self) -> None:
        buffer = bytearray(2 * len(self._buffer))
        buffer[: self._end] = self._view[: self._end]
        self._buffer = buffer
        self._view = memoryview(buffer)

    def is_mute(self, now: float) -> bool:
        """Tell whether an answer is owed for too long."""
        if self.connection.stage == "up" and not self.waits():
            self.heard = now
        return self.connection.stage != "down" and now - self.heard > min(
            _SILENCE, self.connection.server.patience + _BLOCKED
        )
