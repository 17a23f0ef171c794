"""Mailboxes as streams of one server.

Rules of this file:
- Two connections: ``Writer`` puts, ``Reader`` waits for what comes. A process whose reader listens lives; peers ask
  once a second while they wait, and believe a silence only after ``patience``.
- Time in which nobody polls does not count against the server. If the reader's connection breaks then, somebody is asked to
  poll until there is another one: else peers would take a process that computes for dead.
- What lies on shelves is known by its keys: kept alive, compared after an outage, and removed in the end.
- A stream exists from ``open`` to ``close`` of its owner; nobody else makes it (NOMKSTREAM), so nothing is left behind.
- The server may be away for ``patience`` seconds. What it has forgotten then, it is asked for before anything is put:
  messages that are lost are an error, never a wait.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.backoff import Backoff
from fmi_mpi.channels.mailbox.objects import Sealer
from fmi_mpi.channels.mailbox.store import Events, Usage
from fmi_mpi.channels.redis.line import Line, Refusal, Trouble
from fmi_mpi.channels.redis.reader import Reader
from fmi_mpi.channels.redis.resp import NOTHING, ProtocolError, ReplyError, pack, stream_id
from fmi_mpi.channels.redis.shelf import Id, RedisShelf, Wish
from fmi_mpi.channels.redis.url import Server
from fmi_mpi.channels.redis.watch import Watch
from fmi_mpi.channels.redis.writer import Command, Writer, is_repeated

__all__ = ["RedisStore"]

_CHUNK: Final = (1 << 18) + 256
_COPIES: Final = (1 << 16) + 256
_AT_START: Final = 10.0  # seconds to wait for the server at the most
_AT_END: Final = 2.0
_LOOK: Final = 64  # polls between looks at the clock
_TICK: Final = 1.0
_ERRORS: Final = (OSError, EOFError, ProtocolError, Trouble, Refusal)
_LOST: Final = (
    "the server has lost messages: it was restarted without having saved all that it had accepted, or was flushed, or "
    "evicts keys; use appendonly yes with appendfsync always, and maxmemory-policy noeviction"
)


class RedisStore:
    """See ``mailbox.store.ShelfStore``; ``attend`` is ``channels.registry.Membership``'s."""

    limit = _CHUNK
    copies = _COPIES

    def __init__(self, server: Server, attend: Callable[[bool], None] = lambda needed: None) -> None:
        self.usage = Usage()
        self._server = server
        self._epoll = select.epoll()
        self._writer = Writer(server, self._epoll, self._resumed)
        self._reader = Reader(server, self._epoll, _CHUNK, self.usage, self._reading)
        self._attend = attend
        self._attended = False
        self._watch = Watch(self._unseen)
        self._events: Events
        self._box = ""
        self._failure = ""
        self._closed = False
        self._quiet = False
        self._prefixes: dict[str, bytes] = {}
        self._stored_ids: dict[str, Id] = {}
        self._shelves: list[RedisShelf] = []
        self._shelved: dict[str, Id] = {}  # last entry of ours that is known to be there, by key
        self._watched: set[str] = set()
        self._silent: dict[str, float] = {}
        self._looking = False
        self._renew = 0.0
        self._ticked = time.monotonic()
        self._next = self._ticked
        self._idle = 1

    # -- mailbox.store.Store -------------------------------------------------------------------------------------

    def open(self, box: str, events: Events) -> None:
        self._box = box
        self._events = events
        self._reader.attach(box, events)
        self._quiet = True
        made: list[object] = []
        self._ask(None, "XADD", box, "MAXLEN", "=", "0", "*", "o", "")
        self._ask(made.append, "EXPIRE", box, str(self._server.ttl))
        self._renew = time.monotonic() + self._server.ttl / 4
        until = time.monotonic() + min(self._server.patience, _AT_START)
        reason = "no answer"
        for line in (self._writer, self._reader):
            line.backoff = Backoff(min(self._server.patience, _AT_START))
        while not (made and self._reader.connection.stage == "up"):
            reason = self._turn(0.02) or reason
            if self._failure or time.monotonic() > until:
                reason = self._failure or reason
                self._shut()
                raise ChannelError(
                    f"redis: {self._server.label}: {reason}; see that a Redis or Valkey server can be "
                    "reached at the address that --channels gives"
                )
        self._quiet = False
        self._writer.backoff = self._reader.backoff = None

    def exist(self, boxes: Collection[str]) -> Collection[str]:
        if any(command.ticket is not None for command in self._writer.commands):
            return boxes  # no moment to wait for an answer: senders would be told before they have returned
        answers: dict[str, object] = {}
        for box in boxes:
            self._ask(partial(answers.__setitem__, box), "EXISTS", box)
        until = time.monotonic() + _AT_START
        while len(answers) < len(boxes) and not self._failure and time.monotonic() < until:
            self._turn(0.02, (self._writer,))
        return [box for box, there in answers.items() if there]

    def watch(self, box: str) -> None:
        self._watched.add(box)

    def forget(self, box: str) -> None:
        self._watched.discard(box)
        self._silent.pop(box, None)
        self._writer.forget(box)

    def divert(self) -> None:
        self._reader.divert()

    def put(self, box: str, thing: Sequence[bytes | memoryview], length: int, ticket: object) -> bool:
        if self._failure:
            return False
        usage = self.usage
        usage.put += 1
        usage.written += length
        prefix = self._prefixes.get(box)
        if prefix is None:
            prefix = self._prefixes[box] = pack("XADD", box, "NOMKSTREAM", "*", "o", "")[: -len(NOTHING)]
        if length > _COPIES:
            command = Command((b"%b$%d\r\n" % (prefix, length), *thing, b"\r\n"), self._stored, box, ticket)
            self._writer.say(command)
            return False
        data = b"".join((prefix, b"$%d\r\n" % length, *thing, b"\r\n"))
        command = Command((data,), self._stored, box, urgent=False)
        if self._writer.say(command):
            return True
        command.ticket = ticket
        self._writer.hurry()
        return False

    def poll(self) -> bool:
        reader = self._reader
        if reader.hungry:
            reader.hungry = False  # whoever runs now may bring more, and one read takes it all
        elif not reader.asked and reader.connection.stage == "up":
            self._attempt(reader, reader.ask)
        moved = False
        events = self._epoll.poll(0)
        if events:
            moved = self._serve(events)
        self._idle -= 1
        if self._idle <= 0:
            self._idle = _LOOK
            self._look_around()
        return moved

    def arm(self) -> bool:
        reader = self._reader
        if not reader.asked and reader.connection.stage == "up":
            self._attempt(reader, reader.ask)
        return True

    def disarm(self) -> None:
        if time.monotonic() - self._ticked > _TICK / 2:
            self._idle = 1

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return ((self._epoll.fileno(), select.POLLIN),)

    def pending(self) -> bool:
        if not any(command.box for command in self._writer.commands):
            return False
        self._writer.hurry()
        return True

    def close(self) -> None:
        if self._closed:
            return
        self._quiet = True
        if self._box and not self._failure:
            for command in self._writer.commands:
                command.ticket = None
            gone: list[object] = []
            self._ask(gone.append, "DEL", self._box, *self._shelved)
            until = time.monotonic() + _AT_END
            while not gone and not self._failure and time.monotonic() < until:
                self._turn(0.02, (self._writer,))
        self._shut()

    # -- shelves -------------------------------------------------------------------------------------------------

    def shelf(self, label: str, procs: Sequence[int], place: int, sealer: Sealer) -> RedisShelf:
        shelf = RedisShelf(self, label, procs, place, sealer)
        self._shelves.append(shelf)
        return shelf

    def desert(self, proc: int, reason: str) -> None:
        for shelf in self._shelves:
            shelf.desert(proc, reason)

    def change(
        self,
        key: str,
        parts: Sequence[bytes | memoryview],
        count: int,
        answered: Callable[[Sequence[Any], str], None],
        ident: Id = (0, 0),
        urgent: bool = True,
    ) -> None:
        """Have commands done to a key of a shelf, in one write.

        Args:
            parts: the commands; there are ``count`` of them.
            answered: given the answers, or the reason why there are none; then the memory is free.
            ident: of the entry that they add. urgent: somebody waits for the answers.
        """
        if self._failure:
            answered((), f"redis: {self._failure}")
            return
        if key not in self._shelved:
            self._shelved[key] = (0, 0)
            parts = (*parts, pack("EXPIRE", key, str(self._server.ttl)))
            count += 1

        def tell(command: Command, value: Any) -> None:
            self._writer.backoff = None
            for answer in command.answers:
                if isinstance(answer, ReplyError) and not is_repeated(answer):
                    self._fail(f"what collectives share cannot be written: {answer}")
                    answered((), f"redis: {self._failure}")
                    return
            self._shelved[key] = max(self._shelved[key], ident)
            answered(command.answers, "")

        self._writer.say(Command(parts, tell, key, count=count, urgent=urgent))

    def want(self, wish: Wish) -> None:
        """Wait for what comes on a shelf."""
        if self._failure:
            wish.fail(f"redis: {self._failure}")
        elif self._reader.want(wish):
            self._cut_short(0)

    def _cut_short(self, done: int) -> None:
        """End the read under way; the server may not have got it yet when it is told to, and says 0 then."""
        if not done and self._reader.cut:
            self._ask(self._cut_short, "CLIENT", "UNBLOCK", str(self._reader.client))

    def withdraw(self, keys: Collection[bytes], reason: str) -> None:
        """What comes in these streams is not waited for any more."""
        self._reader.withdraw(keys, reason)

    # -- connections ---------------------------------------------------------------------------------------------

    def _turn(self, seconds: float, lines: Sequence[Line] | None = None) -> str:
        """Connect and serve for a moment, waiting; returns what went wrong."""
        chosen = lines or (self._writer, self._reader)
        reason = ""
        for line in chosen:
            if line.connection.stage == "down" and not self._failure:
                reason = self._reconnect(line) or reason
        fds = {line.connection.fd: line for line in chosen}
        poller = select.poll()
        poller.register(self._epoll.fileno(), select.POLLIN)
        poller.poll(seconds * 1000)
        for fd, mask in self._epoll.poll(0):
            line_of = fds.get(fd)
            if line_of is not None and line_of.connection.fd == fd:
                reason = self._attempt(line_of, partial(line_of.serve, mask)) or reason
        return reason

    def _serve(self, events: Sequence[tuple[int, int]]) -> bool:
        moved = False
        for fd, mask in events:
            line: Line = self._writer if fd == self._writer.connection.fd else self._reader
            if fd != line.connection.fd:
                continue
            try:
                if line.serve(mask):
                    moved = True
            except _ERRORS as error:
                self._interrupted(line, error)
                moved = True
        return moved

    def _attempt(self, line: Line, action: Callable[[], object]) -> str:
        try:
            action()
        except _ERRORS as error:
            return self._interrupted(line, error)
        return ""

    def _reconnect(self, line: Line) -> str:
        if line.backoff is not None and time.monotonic() < line.backoff.due:
            return ""
        return self._attempt(line, line.start)

    def _interrupted(self, line: Line, error: Exception) -> str:
        """The connection is of no use any more: there will be another one, unless that would change nothing."""
        reason = (getattr(error, "strerror", None) or str(error)).strip()
        line.drop()
        if isinstance(error, (Refusal, ProtocolError, ValueError)):  # ssl's verification error is a ValueError
            self._fail(reason)
        else:
            if line.backoff is None or self._is_away(time.monotonic()):
                line.backoff = Backoff(self._server.patience)
            if not line.backoff.failed():
                self._fail(f"{reason}, for {self._server.patience:g} s")
            self._idle = 1
        return reason

    def _fail(self, reason: str) -> None:
        if self._failure:
            return
        self._failure = f"{self._server.label}: {reason}" if not self._quiet else reason
        for line in (self._writer, self._reader):
            line.drop()
        self._unattended()
        vain = [command for command in self._writer.commands if command.box in self._shelved]
        self._writer.commands.clear()
        if not self._quiet:
            self._events.broken(self._failure)
        for command in vain:
            command.answers[:] = [ReplyError(reason)]
            command.answered(command, None)
        self._reader.withdraw(tuple(self._reader.wishes), f"redis: {self._failure}")

    def _shut(self) -> None:
        self._closed = True
        self._failure = self._failure or "the channel is closed"
        self._watch.close()
        self._unattended()
        for line in (self._writer, self._reader):
            line.drop()
        self._writer.commands.clear()
        if not self._epoll.closed:
            self._epoll.close()

    # -- answers -------------------------------------------------------------------------------------------------

    def _ask(self, answered: Callable[[Any], object] | None, *words: str) -> None:
        """Ask something of the server besides objects; ``answered`` None: nobody waits for the answer."""
        self.usage.other += 1

        def tell(_: Command, value: Any) -> None:
            if answered is not None:
                answered(value)

        self._writer.say(Command((pack(*words),), tell, urgent=answered is not None))

    def _stored(self, command: Command, value: Any) -> None:
        """The answer to a put: the id of the object, or nothing if there is no such mailbox."""
        self._writer.backoff = None
        if isinstance(value, bytes):
            self._stored_ids[command.box] = stream_id(value)
            if command.ticket is not None:
                self._events.stored(command.ticket)
        elif command.box not in self._watched:
            return
        elif isinstance(value, ReplyError):
            self._events.refused(command.box, f"its mailbox at {self._server.label} cannot be written: {value}")
        else:
            self._events.refused(
                command.box, f"its mailbox is not at {self._server.label} any more: it has left, or {_LOST}"
            )

    def _resumed(self) -> Sequence[Command]:
        """The writer is connected anew: see what the server still knows."""
        self._looking = False
        self._silent.clear()
        boxes = [
            self._comparison(box, known, partial(self._events.refused, box, _LOST))
            for box, known in self._stored_ids.items()
            if box in self._watched
        ]
        lost = partial(self._fail, _LOST)
        return boxes + [self._comparison(key, known, lost) for key, known in self._shelved.items() if any(known)]

    def _comparison(self, stream: str, known: Id, lost: Callable[[], object]) -> Command:
        """Return what asks whether the server still has the last entry that it has accepted."""

        def compare(_: Command, value: Any) -> None:
            if isinstance(value, ReplyError) or stream_id(_pairs(value).get(b"last-generated-id")) < known:
                lost()

        return Command((pack("XINFO", "STREAM", stream),), compare)

    # -- the clock -----------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Connect again what is down, give up what is mute, see who lives."""
        if self._failure:
            return
        now = time.monotonic()
        away = self._is_away(now)
        self._ticked = now
        if away:
            self._silent.clear()
        for line in (self._writer, self._reader):
            if away and line.backoff is not None:
                line.backoff = Backoff(self._server.patience)
            if line.connection.stage == "down":
                self._reconnect(line)
                self._idle = 1
                continue
            if line is self._writer and line.waits():
                self._attempt(line, partial(line.serve, select.EPOLLIN))
            if away:
                line.heard = now
            elif line.is_mute(now):
                self._interrupted(line, OSError("the server does not answer"))
        if now >= self._next and self._writer.connection.stage == "up" and not self._looking:
            self._next = now + _TICK
            self._look_for_life(now)

    def _is_away(self, now: float) -> bool:
        """Tell whether nobody has polled for some time."""
        return now - self._ticked > 2 * _TICK

    def _unseen(self) -> None:
        """The reader's connection has broken, and perhaps nobody polls. Called from a thread of its own."""
        if not self._attended and not self._failure:
            self._attended = True
            self._attend(True)

    def _reading(self) -> None:
        """The reader is connected."""
        self._watch.look_at(self._reader.connection.fd)
        self._unattended()

    def _unattended(self) -> None:
        if self._attended:
            self._attended = False
            self._attend(False)

    def _look_for_life(self, now: float) -> None:
        if now > self._renew:
            self._renew = now + self._server.ttl / 4
            for key in (self._box, *self._shelved):
                self._ask(None, "EXPIRE", key, str(self._server.ttl))
        if self._watched:
            self._looking = True
            self._ask(self._seen_own, "EXISTS", self._box)
            self._ask(self._seen, "PUBSUB", "NUMSUB", *self._watched)

    def _seen_own(self, value: Any) -> None:
        if not value:
            self._fail(_LOST)

    def _seen(self, value: Any) -> None:
        """Take note of how many listen for each mailbox: its owner, or nobody."""
        self._looking = False
        self._writer.backoff = None
        now = time.monotonic()
        for name, count in _pairs(value).items():
            box = name.decode(errors="replace")
            if count:
                self._silent.pop(box, None)
            elif now - self._silent.setdefault(box, now) > self._server.patience and box in self._watched:
                self._events.refused(
                    box, f"its process has not been connected to the server for {self._server.patience:g} s"
                )


def _pairs(value: Any) -> dict[bytes, Any]:
    """Return an answer that is names and values by turns; raises ProtocolError."""
    if not isinstance(value, list):
        raise ProtocolError("an answer that is no list")
    return {name: one for name, one in zip(value[::2], value[1::2]) if isinstance(name, bytes)}
