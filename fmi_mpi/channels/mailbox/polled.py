"""Mailboxes in a store of keys: an object for each thing, found by listing.

Rules of this file:
- A thing's key is the mailbox's name, a slash, the putter and the number in its head: one listing finds all that waits
  for a rank, each putter's things in order, and one that lies under another key than its putter gave it is known.
- The mailbox is listed only while somebody waits: at first soon after the last thing came, then more and more rarely; rarely,
  too, while nothing is waited for that a message could bring.
- What has been read is removed, many things at a time. What is left when a process dies expires (lifecycle, TTL).
- Who closes removes its mailbox, and what it has said last to those whose last words it finds there: they close, too.
- Requests are done by threads; the rank's own thread never waits for one but in ``open`` and ``close``.
"""

from __future__ import annotations

import random
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.errands import Errands
from fmi_mpi.channels.mailbox.keys import Found, Keys, spoilt
from fmi_mpi.channels.mailbox.objects import HEAD, Sealer, read_head
from fmi_mpi.channels.mailbox.shelf import MailboxShelf
from fmi_mpi.channels.mailbox.store import Events

__all__ = ["PolledStore"]

_COPIES: Final = 1 << 20
_SHORTEST: Final = 5e-4
_LONGEST: Final = 0.25
_GROWTH: Final = 1.3
"""Seconds between two listings: at least, at most, and how they grow while nothing comes."""
_RARELY: Final = 1.0
"""The same while nothing is expected: what a peer may want meanwhile is that its messages are taken off its account."""
_INTEREST: Final = 0.05
"""Seconds since the last poll after which nobody is taken to wait any more."""
_BATCH: Final = 32
"""Things read after which they are removed though more are coming."""
_LAST: Final = 4
"""Things that one who leaves may have left unread: an introduction, an acknowledgement, a farewell."""
_FAREWELL: Final = 30.0


class PolledStore:
    """See ``mailbox.store.ShelfStore``; ``expects`` is ``channels.registry.Membership``'s."""

    def __init__(self, keys: Keys, expects: Callable[[], bool] = lambda: True) -> None:
        self.keys = keys
        self._expects = expects
        self.limit = keys.piece
        self.copies = min(_COPIES, keys.piece)
        self.usage = keys.usage
        self._events: Events
        self._errands = Errands(keys.name, keys.threads)
        self._shelves: list[MailboxShelf] = []
        self._news = False
        self._tag = ""
        self._box = ""
        self._last: dict[str, deque[str]] = {}
        self._left: set[str] = set()
        self._boxes: dict[str, str] = {}
        self._put: Counter[str] = Counter()
        self._putting = 0
        self._known: set[str] = set()
        self._read: list[str] = []
        self._dropped: list[str] = []
        self._sought = False
        self._search = 0
        self._rarely = False
        self._waiting = False
        self._polled = 0.0
        self._took = _SHORTEST
        self._pause = 0.0
        self._broken = False
        self._closed = False

    # -- mailbox.store.Store -------------------------------------------------------------------------------------

    def open(self, box: str, events: Events) -> None:
        self.keys.check()
        self._box = box
        self._tag = _tag(box)
        self._events = events

    def exist(self, boxes: Collection[str]) -> Collection[str]:
        """All of them: a job has one URL for all its ranks."""
        self._boxes.update((_tag(box), box) for box in boxes)
        return boxes

    def watch(self, box: str) -> None:
        """Nothing in the store tells whether its owner lives; the job's control does."""

    def forget(self, box: str) -> None:
        self._left.add(_tag(box))

    def divert(self) -> None:
        """Nothing is read to its place."""

    def put(self, box: str, thing: Sequence[bytes | memoryview], length: int, ticket: object) -> bool:
        key = f"{box}/{self._tag}-{self._put[box]:010d}"
        self._put[box] += 1
        self._last.setdefault(box, deque(maxlen=_LAST)).append(key)
        self._putting += 1
        if length <= self.copies:
            self.ask(partial(self.keys.put, key, (b"".join(thing),), length), self._on_put)
            return True
        self.ask(partial(self.keys.put, key, thing, length), partial(self._on_put, ticket=ticket, told=True))
        return False

    def poll(self) -> bool:
        self._errands.collect()
        self._polled = time.monotonic()
        self._look()
        news, self._news = self._news, False
        return news

    def shelf(self, label: str, procs: Sequence[int], place: int, sealer: Sealer) -> MailboxShelf:
        shelf = MailboxShelf(self.keys, self.ask, label, place, sealer)
        self._shelves.append(shelf)
        return shelf

    def desert(self, proc: int, reason: str) -> None:
        """Who looks onto a shelf sees for himself."""

    def ask(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """See ``mailbox.store.Ask``; ``done`` is called from within ``poll``."""

        def told(answer: Any) -> None:
            self._news = True
            done(answer)

        self._errands.ask(work, told)

    def arm(self) -> bool:
        self._waiting = True
        if not self._errands.arm():
            return False
        self._look()
        return True

    def disarm(self) -> None:
        self._waiting = False
        self._polled = time.monotonic()
        self._errands.disarm()

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return ((self._errands.fd, select.POLLIN),)

    def pending(self) -> bool:
        return self._putting > 0

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for shelf in self._shelves:
            shelf.clear()
        until = time.monotonic() + _FAREWELL
        poll = select.poll()
        poll.register(self._errands.fd, select.POLLIN)
        while self._putting and not self._broken and time.monotonic() < until:
            if self._errands.arm():
                poll.poll(100)
            self._errands.disarm()
            self._errands.collect()
        self._errands.close()
        if self._box and not self._broken:
            try:
                left = [found.key for found in self.keys.find(self._box + "/")]
                self.keys.remove([*self._read, *left, *self._vain(left)])
            except ChannelError:
                pass  # it expires
        self.keys.close()

    def _vain(self, left: Sequence[str]) -> list[str]:
        """Return the keys of what was said last to those who have left, too: they do not read it any more."""
        head = memoryview(bytearray(HEAD))
        for tag, key in {_tag(key.rpartition("-")[0]): key for key in left}.items():
            if self.keys.fetch(key, 0, head) and self._events.farewell(head):
                self._left.add(tag)
        return [key for box, keys in self._last.items() if _tag(box) in self._left for key in keys]

    # -- putting and reading -------------------------------------------------------------------------------------

    def _on_put(self, answer: Any, ticket: object = None, told: bool = False) -> None:
        self._putting -= 1
        if isinstance(answer, ChannelError):
            self._break(answer)
        elif told:
            self._events.stored(ticket)

    def _look(self) -> None:
        """Somebody waits: see that the mailbox will be listed in time."""
        if not self._sought or (self._rarely and self._expects()):
            self._seek()

    def _seek(self) -> None:
        """List the mailbox when it is time, instead of what was to be listed later."""
        if self._box and not self._broken:
            self._sought = True
            self._search += 1
            self._rarely = not self._expects()
            self._known.difference_update(self._dropped)  # a listing from now on does not show them any more
            self._dropped.clear()
            pause = (_RARELY if self._rarely else self._pause) * random.uniform(0.8, 1.2)
            self._errands.ask(partial(self._list, self._search), partial(self._on_list, self._search), pause)

    def _list(self, search: int) -> tuple[Sequence[Found], float] | None:
        """Runs in a thread; None if nobody waits for this any more."""
        start = time.monotonic()
        if search != self._search or (not self._waiting and start - self._polled > _INTEREST):
            return None
        found = self.keys.find(self._box + "/")
        return found, time.monotonic() - start

    def _on_list(self, search: int, answer: Any) -> None:
        if search != self._search or self._closed:
            return  # the later listing shows all; this one may show what has been removed meanwhile
        self._sought = False
        if isinstance(answer, ChannelError):
            self._break(answer)
            return
        if answer is None:
            self._pause = 0.0
            return
        found, took = answer
        self._took += 0.2 * (took - self._took)
        new = [one for one in found if one.key not in self._known]
        if found and not new:
            self.usage.recount("list", "empty")
        for one in new:
            self._known.add(one.key)
            if one.size > self.limit:  # nobody of this job has put it
                self._arrive(one.key, b"")
            elif one.body is not None:
                self._arrive(one.key, one.body)
            else:
                self._errands.ask(partial(self._fetch, one), partial(self._on_fetch, one.key))
        shortest = max(_SHORTEST, 0.5 * self._took)
        self._pause = shortest if new else min(max(_GROWTH * self._pause, shortest), _LONGEST)
        if not new or new[0].body is not None:
            self._clean()  # the next listing would bring the bodies again
        if self._waiting:
            self._seek()

    def _fetch(self, one: Found) -> memoryview | None:
        """Runs in a thread."""
        thing = memoryview(bytearray(one.size))
        return thing if self.keys.fetch(one.key, 0, thing) else None

    def _on_fetch(self, key: str, answer: Any) -> None:
        if self._closed:
            return
        if isinstance(answer, ChannelError):
            self._break(answer)
        elif answer is None:
            self._spoil(key)
        else:
            self._arrive(key, answer)

    def _arrive(self, key: str, thing: bytes | memoryview) -> None:
        self._news = True
        self._read.append(key)
        head = read_head(thing)
        named = head is not None and key.endswith(f"-{head[2]:010d}")
        if not (self._events.arrived(memoryview(thing)) and named):
            self._spoil(key)
        if len(self._read) >= _BATCH:
            self._clean()

    def _spoil(self, key: str) -> None:
        """An object is not as it was put, or is none of this job."""
        putter = self._boxes.get(_tag(key).partition("-")[0])
        if putter is not None:
            self._news = True
            self._events.refused(putter, spoilt(self.keys, key))

    def _clean(self) -> None:
        """Remove what has been read."""
        if self._read:
            read, self._read = self._read, []
            self._errands.ask(partial(self.keys.remove, read), partial(self._on_removed, read))

    def _on_removed(self, read: list[str], answer: Any) -> None:
        if not isinstance(answer, ChannelError):
            self._dropped += read

    def _break(self, error: ChannelError) -> None:
        if not self._broken:
            self._news = self._broken = True
            self._events.broken(str(error))


def _tag(box: str) -> str:
    """Return what tells a mailbox from all others, to be part of the keys of what its owner puts."""
    return box.rpartition("/")[2]
