"""Matching of messages and receives within one context (one communicator's point-to-point or collective space).

Rules of this file:
- Messages of one sender match in the order sent; receives match in the order posted (MPI-4.1, 3.5).
- The common case, one receive for one exact (source, tag), is a dict look-up each way. A queue is made only
  when a second entry of the same key waits; wildcard receives stand in a list of their own.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from fmi_mpi.constants import ANY_SOURCE, ANY_TAG
from fmi_mpi.engine.operations import Message, RecvOp

__all__ = ["Matcher"]

Key = tuple[int, int]
T = TypeVar("T", Message, RecvOp)


def _append(queues: dict[Key, T | deque[T]], key: Key, entry: T) -> None:
    found = queues.setdefault(key, entry)
    if found is entry:
        return
    if type(found) is deque:
        found.append(entry)
    else:
        queues[key] = deque((found, entry))  # type: ignore[arg-type]


def _first(queue: T | deque[T]) -> T:
    return queue[0] if isinstance(queue, deque) else queue


def _remove_first(queues: dict[Key, T | deque[T]], key: Key) -> T:
    queue = queues.pop(key)
    if not isinstance(queue, deque):
        return queue
    entry = queue.popleft()
    if queue:
        queues[key] = queue
    return entry


def _remove(queues: dict[Key, T | deque[T]], entry: T) -> bool:
    """Remove an entry wherever it stands in its queue; False if it is not there."""
    key = (entry.source, entry.tag)
    queue = queues.get(key)
    if queue is entry:
        del queues[key]
        return True
    if isinstance(queue, deque) and entry in queue:
        queue.remove(entry)
        if not queue:
            del queues[key]
        return True
    return False


def _entries(queues: dict[Key, T | deque[T]]) -> list[T]:
    found: list[T] = []
    for queue in queues.values():
        found.extend(queue if isinstance(queue, deque) else (queue,))
    return found


class Matcher:
    """The posted receives and the unexpected messages of one context, and its sequence numbers."""

    __slots__ = ("early", "posted", "stamp", "unexpected", "wild")

    def __init__(self) -> None:
        self.posted: dict[Key, RecvOp | deque[RecvOp]] = {}
        self.wild: list[RecvOp] = []
        self.unexpected: dict[Key, Message | deque[Message]] = {}
        self.stamp = 0
        self.early: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    def post(self, op: RecvOp) -> None:
        """Queue a receive that no unexpected message matches."""
        self.stamp += 1
        op.stamp = self.stamp
        source, tag = op.source, op.tag
        if source == ANY_SOURCE or tag == ANY_TAG:
            self.wild.append(op)
            return
        key = (source, tag)
        if key in self.posted:
            _append(self.posted, key, op)
        else:
            self.posted[key] = op

    def match(self, source: int, tag: int) -> RecvOp | None:
        """Remove and return the earliest posted receive for a message from ``source`` with ``tag``."""
        key = (source, tag)
        if not self.wild:
            found = self.posted.pop(key, None)
            if found is None or type(found) is RecvOp:
                return found
            self.posted[key] = found
            return _remove_first(self.posted, key)
        exact = self.posted.get(key)
        limit = self.stamp + 1 if exact is None else _first(exact).stamp
        for index, op in enumerate(self.wild):
            if op.stamp > limit:
                break
            if op.source in (source, ANY_SOURCE) and op.tag in (tag, ANY_TAG):
                del self.wild[index]
                return op
        return None if exact is None else _remove_first(self.posted, key)

    def withdraw(self, op: RecvOp) -> bool:
        """Remove a posted receive; False if it is not there any more."""
        if op in self.wild:
            self.wild.remove(op)
            return True
        return _remove(self.posted, op)

    def keep(self, message: Message) -> None:
        """Queue a message that no posted receive matches."""
        self.stamp += 1
        message.stamp = self.stamp
        _append(self.unexpected, (message.source, message.tag), message)

    def find(self, source: int, tag: int) -> Message | None:
        """Return the earliest unexpected message that a receive for (source, tag) would take."""
        if not self.unexpected:
            return None
        if source != ANY_SOURCE and tag != ANY_TAG:
            queue = self.unexpected.get((source, tag))
            return None if queue is None else _first(queue)
        best: Message | None = None
        for (from_, with_), queue in self.unexpected.items():
            if source in (from_, ANY_SOURCE) and tag in (with_, ANY_TAG):
                first = _first(queue)
                if best is None or first.stamp < best.stamp:
                    best = first
        return best

    def take(self, source: int, tag: int) -> Message | None:
        """Remove and return what ``find`` finds."""
        found = self.find(source, tag)
        if found is not None:
            _remove_first(self.unexpected, (found.source, found.tag))
        return found

    def receives(self) -> list[RecvOp]:
        """Return all posted receives, for failure handling."""
        return self.wild + _entries(self.posted)

    def messages(self) -> list[Message]:
        """Return all unexpected messages."""
        return _entries(self.unexpected)

    def drop(self, message: Message) -> None:
        """Remove an unexpected message."""
        _remove(self.unexpected, message)
