"""What a key store must be able to do to become a channel.

Rules of this file:
- A store carries objects as they are given; it knows nothing of frames, numbers or keys.
- Nothing blocks but ``open``, ``exist`` and ``close``, each up to a deadline of its own.
- SDK and operating-system errors become ``ChannelError``, ``Events.refused`` or ``Events.broken`` here.
- Whatever is written expires, should nobody be left to remove it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fmi_mpi.channels.base import Shelf
    from fmi_mpi.channels.mailbox.objects import Sealer

__all__ = ["Ask", "Events", "ShelfStore", "Store", "Usage"]

Ask = Callable[[Callable[[], Any], Callable[[Any], None]], None]
"""(work, done): do ``work()`` in a thread, and call ``done`` with its result, or the ChannelError that it raised."""


@dataclass(slots=True)
class Usage:
    """What the store will be billed for: requests by kind, bytes written and bytes read.

    ``empty``: listings that found nothing, which ``list`` does not count. ``empty_get``: the same for gets. ``other``: what is none of the others.
    """

    put: int = 0
    get: int = 0
    list: int = 0
    delete: int = 0
    empty: int = 0
    empty_get: int = 0
    other: int = 0
    written: int = 0
    read: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def requests(self) -> int:
        """All of them."""
        return self.put + self.get + self.list + self.delete + self.empty + self.empty_get + self.other

    def count(self, kind: str, written: int = 0, read: int = 0) -> None:
        """Count a request, from any thread."""
        with self._lock:
            setattr(self, kind, getattr(self, kind) + 1)
            self.written += written
            self.read += read

    def recount(self, kind: str, other: str) -> None:
        """A request was rather of the other kind."""
        with self._lock:
            setattr(self, kind, getattr(self, kind) - 1)
            setattr(self, other, getattr(self, other) + 1)


class Events(Protocol):
    """What a store tells the channel, from within ``Store.poll`` only."""

    def arrived(self, thing: memoryview) -> bool:
        """A whole object was in the mailbox; the memory is valid during the call. False if it is not genuine."""

    def landing(self, head: memoryview) -> memoryview | None:
        """Return where the body of an object with this head may be read to, without a copy; None: it arrives."""

    def landed(self, head: memoryview) -> None:
        """The body has been read to where ``landing`` said for this head."""

    def stored(self, ticket: object) -> None:
        """An object for which ``put`` returned False is safe in the store; its memory is free."""

    def refused(self, box: str, reason: str) -> None:
        """The owner of this mailbox is gone, or nothing can be put there."""

    def farewell(self, head: memoryview) -> bool:
        """An object with this head is the last one of a process that has left; asked by ``Store.close``."""

    def broken(self, reason: str) -> None:
        """The store has been out of reach for too long, or has lost data; nothing more will come."""


class Store(Protocol):
    """A key store with a mailbox for every process of a job.

    ``limit``: the longest object. ``copies``: objects up to this length are copied by ``put``.
    """

    limit: int
    copies: int
    usage: Usage

    def open(self, box: str, events: Events) -> None:
        """Make this process's own mailbox; raises ChannelError."""

    def exist(self, boxes: Collection[str]) -> Collection[str]:
        """Return those of these mailboxes that are in this store, as far as can be told."""

    def watch(self, box: str) -> None:
        """Tell when the owner of this mailbox is gone."""

    def forget(self, box: str) -> None:
        """Its owner is gone: nobody is told any more of what has been put there."""

    def divert(self) -> None:
        """The place that ``landing`` has named is not to be written to any more."""

    def put(self, box: str, thing: Sequence[bytes | memoryview], length: int, ticket: object) -> bool:
        """Put an object of ``length`` bytes, given in parts, into a mailbox, after all that was put there before.

        Returns True when it is out of the caller's memory and on its way without further help; otherwise
        ``stored(ticket)`` follows.
        """

    def poll(self) -> bool:
        """See ``channels.base.Channel``."""

    def arm(self) -> bool:
        """See ``channels.base.Channel``."""

    def disarm(self) -> None:
        """See ``channels.base.Channel``."""

    def descriptors(self) -> Sequence[tuple[int, int]]:
        """See ``channels.base.Channel``."""

    def pending(self) -> bool:
        """Objects have been put that are not safe in the store yet."""

    def close(self) -> None:
        """Wait a moment until all that was put is stored, remove the own mailbox, release everything. Idempotent."""


class ShelfStore(Store, Protocol):
    """A store with shelves; ``close`` removes what this process has put on them."""

    def shelf(self, label: str, procs: Sequence[int], place: int, sealer: Sealer) -> Shelf:
        """Return the shelf that these processes call ``label``; ``place``: this one's among them."""

    def desert(self, proc: int, reason: str) -> None:
        """A process is gone: what waits for it fails."""
