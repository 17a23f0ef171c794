"""The connection that commands go out on, many at a time.

Rules of this file:
- A command is kept until it is answered. When the connection breaks, all that are not answered are said again, in
  order, on the next one: what the server had done already, it does twice, and receivers know by the numbers.
- To be woken by an answer that nobody waits for costs more than the answer: those are read when there are many, or now and then.
- An answer that the server cannot do it now breaks the connection on purpose: nothing after it counts as answered.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from fmi_mpi.channels.redis.line import Line, Refusal
from fmi_mpi.channels.redis.resp import Push, ReplyError
from fmi_mpi.channels.redis.url import Server

__all__ = ["Command", "Writer", "is_repeated"]

_READ: Final = select.EPOLLIN
_LAZY: Final = select.EPOLLRDHUP
_MANY: Final = 64  # commands without an answer
_BATCH: Final = 1 << 20
_PARTS: Final = 512


def _is_about_key(error: ReplyError) -> bool:
    """The error concerns one mailbox or stream; who asked deals with it."""
    return error.code == "WRONGTYPE" or "no such key" in str(error) or is_repeated(error)


def is_repeated(error: ReplyError) -> bool:
    """An entry has been refused because the stream has gone beyond its id: when it is put twice, the second time."""
    return "equal or smaller" in str(error)


class Command:
    """Something asked of the server: its bytes, and who is told the answer, the last one if there are ``count``.

    ``urgent``: somebody waits for it.
    """

    __slots__ = ("answered", "answers", "box", "count", "parts", "size", "ticket", "urgent")

    def __init__(
        self,
        parts: Sequence[bytes | memoryview],
        answered: Callable[[Command, Any], None],
        box: str = "",
        ticket: object = None,
        count: int = 1,
        urgent: bool = True,
    ) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))
        self.answered = answered
        self.box = box
        self.ticket = ticket
        self.count = count
        self.urgent = urgent
        self.answers: list[Any] = []


class Writer(Line):
    """Commands to the server.

    Args:
        resumed: called when the connection is there; returns what is to be said before all else.
    """

    def __init__(self, server: Server, epoll: select.epoll, resumed: Callable[[], Sequence[Command]]) -> None:
        super().__init__(server, epoll)
        self.commands: deque[Command] = deque()
        self._unwritten: deque[Command] = deque()
        self._written = 0  # bytes of the first of them
        self._urgent = 0  # commands that somebody waits for
        self._resumed = resumed

    def ready(self) -> None:
        self.commands.extendleft(reversed(self._resumed()))
        for command in self.commands:
            command.answers.clear()
        self._urgent = sum(command.urgent for command in self.commands)
        self._unwritten = deque(self.commands)
        self._written = 0
        self.writable()

    def drop(self) -> None:
        super().drop()
        self._unwritten.clear()

    def waits(self) -> bool:
        return bool(self.commands)

    def say(self, command: Command) -> bool:
        """Send a command, or queue it; True if the kernel has taken all of it."""
        self.commands.append(command)
        self._urgent += command.urgent
        if self.connection.stage != "up":
            return False
        if not self._unwritten:
            self.connection.watch(self._interest())
        self._unwritten.append(command)
        if len(self._unwritten) > 1:
            return False
        try:
            done = self.connection.write(command.parts)
            if done == command.size:
                self._unwritten.pop()
                return True
            self._written = done
            self.writable()
        except OSError:
            pass  # the next poll sees it, too
        return False

    def hurry(self) -> None:
        """Somebody waits for the answers to all commands."""
        for command in self.commands:
            command.urgent = True
        self._urgent = len(self.commands)
        if self.connection.stage == "up" and not self._unwritten:
            self.connection.watch(_READ)

    def _interest(self) -> int:
        return _READ if self._urgent or len(self.commands) > _MANY else _LAZY

    def writable(self) -> None:
        """Write what is queued, as much as the kernel takes; be told when it takes more."""
        unwritten = self._unwritten
        while unwritten:
            batch, size = self._batch()
            done = self.connection.write(batch)
            self._advance(done)
            if done < size:
                self.connection.watch(_READ | select.EPOLLOUT)
                return
        self.connection.watch(self._interest())

    def _batch(self) -> tuple[list[bytes | memoryview], int]:
        skip = self._written
        batch: list[bytes | memoryview] = []
        size = 0
        for command in self._unwritten:
            for part in command.parts:
                if skip >= len(part):
                    skip -= len(part)
                    continue
                piece = memoryview(part)[skip:] if skip else part
                skip = 0
                batch.append(piece)
                size += len(piece)
            if size > _BATCH or len(batch) > _PARTS:
                break
        return batch, size

    def _advance(self, done: int) -> None:
        self._written += done
        unwritten = self._unwritten
        while unwritten and self._written >= unwritten[0].size:
            self._written -= unwritten.popleft().size

    def reply(self, value: Any) -> None:
        if isinstance(value, Push):
            return
        if not self.commands:
            raise OSError("an answer to nothing")
        if isinstance(value, ReplyError) and not _is_about_key(value):
            try:
                self.judge(value)
            except Refusal:
                self.commands.popleft()
                raise
        command = self.commands[0]
        command.answers.append(value)
        if len(command.answers) == command.count:
            self.commands.popleft()
            self._urgent -= command.urgent
            command.answered(command, value)

    def forget(self, box: str) -> None:
        """Nobody is to be told any more of what was put there."""
        for command in self.commands:
            if command.box == box:
                command.ticket = None
