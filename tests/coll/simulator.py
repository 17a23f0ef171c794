"""A world of ranks in one process, in which any order of events that MPI allows can happen.

Rules of this file:
- One generator per rank. What happens next (a rank resumes, a message is delivered) is drawn from ``random``.
- Between two ranks messages stay in order. A receive matches the oldest message of its peer, and the lengths must agree.
- ``eager``: a send is complete when posted, its payload copied. Otherwise it is complete when delivered, and the
  payload is copied then, so that an algorithm that writes to memory in flight is caught.
- Nobody sends to itself, leaves messages behind, or waits for what never comes.
- On the board a rank's round is its own count of shares. What is inline is copied when shared; other data must not change
  until all who read it have shared again.
- Memory handed out is filled with rubbish first.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from fmi_mpi.coll import steps
from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Fetch, Recv, Schedule, Send, Share, Step

RUBBISH = 0xA5


def rubbish(nbytes: int) -> memoryview:
    """Return writable memory with nothing of value in it."""
    return memoryview(bytearray([RUBBISH]) * nbytes)


class Rank:
    """The communicator as one rank sees it (coll.steps.Ranks), and the rank's state."""

    def __init__(self, rank: int, size: int, hosts: Sequence[int]) -> None:
        self.rank = rank
        self.size = size
        self.hosts = hosts
        self.waiting = 0
        self.clock = 0
        self.next_clock = 0
        self.sent = 0
        self.received = 0
        self.shares: list[Posted] = []
        self.ended = False

    def scratch(self, nbytes: int) -> memoryview:
        assert nbytes >= 0
        return rubbish(nbytes)


class Message:
    """A payload under way; ``clock`` is its place on the longest chain of messages that led to it."""

    def __init__(self, step: Send, clock: int, eager: bool) -> None:
        views = [step.data] if isinstance(step.data, memoryview) else list(step.data)
        assert all(view.format == "B" and view.contiguous for view in views)
        self.views = views
        self.flags = step.flags
        self.clock = clock
        self.eager = eager
        self.posted = b"".join(views)

    def payload(self) -> bytes:
        if not self.eager:
            assert b"".join(self.views) == self.posted, "a buffer was modified while it was being sent"
        return self.posted


class Posted:
    """What a rank has shared in one round; ``clock`` as in ``Message``."""

    def __init__(self, step: Share, clock: int) -> None:
        self.data = step.data
        self.bytes = bytes(step.data)
        self.clock = clock


class World:
    """Runs a collective on ``size`` ranks. ``frames`` counts what it took."""

    def __init__(self, size: int, random: Random, *, eager: bool = True, hosts: Sequence[int] | None = None) -> None:
        self.random = random
        self.eager = eager
        self.ranks = [Rank(rank, size, tuple(range(size)) if hosts is None else hosts) for rank in range(size)]
        self.messages = 0
        self.rounds = 0
        self._sends: defaultdict[tuple[int, int], deque[Message]] = defaultdict(deque)
        self._recvs: defaultdict[tuple[int, int], deque[Recv]] = defaultdict(deque)
        self._matched: list[tuple[int, int]] = []
        self._meeting: dict[int, Share] = {}

    @property
    def frames(self) -> Frames:
        busiest = max(max(rank.sent, rank.received) for rank in self.ranks)
        return Frames(self.messages, sum(rank.sent for rank in self.ranks), self.rounds, busiest)

    def run(self, start: Callable[[Rank], Schedule[Any]]) -> list[Any]:
        """Start ``start(rank)`` on every rank, run all to their ends, and return their results."""
        schedules = [start(rank) for rank in self.ranks]
        results: list[Any] = [None] * len(schedules)
        ready = list(range(len(schedules)))
        running = len(schedules)
        while running:
            events = len(ready) + len(self._matched)
            assert events, f"deadlock: {running} ranks wait, unmatched {self._open()}, meeting {list(self._meeting)}"
            event = self.random.randrange(events)
            if event >= len(ready):
                ready += self._deliver(self._take(self._matched, event - len(ready)))
                continue
            rank = self._take(ready, event)
            try:
                wanted = next(schedules[rank])
            except StopIteration as stop:
                results[rank] = stop.value
                self.ranks[rank].ended = True
                running -= 1
                continue
            if isinstance(wanted, Share):
                ready += self._share(self.ranks[rank], wanted)
            elif isinstance(wanted, Fetch):
                stop = wanted.start + len(wanted.into)
                wanted.into[:] = self._read(self.ranks[rank], wanted.share, wanted.peer, wanted.start, stop)
                ready.append(rank)
            elif self._post(self.ranks[rank], [wanted] if isinstance(wanted, (Send, Recv)) else list(wanted)):
                ready.append(rank)
        assert not self._open(), f"messages left behind: {self._open()}"
        return results

    def _share(self, rank: Rank, step: Share) -> list[int]:
        """Share; returns the ranks whose meetings are complete now."""
        step.stamp = len(rank.shares)
        step.view = partial(self._view, rank, step)
        rank.shares.append(Posted(step, rank.clock + 1))
        self.messages += 1
        self.rounds = max(self.rounds, rank.clock + 1)
        self._meeting[rank.rank] = step
        done = []
        for waiting, meeting in list(self._meeting.items()):
            awaited = range(len(self.ranks)) if meeting.awaited is None else meeting.awaited
            if all(len(self.ranks[peer].shares) > meeting.stamp for peer in awaited):
                del self._meeting[waiting]
                clocks = [self.ranks[peer].shares[meeting.stamp].clock for peer in (waiting, *awaited)]
                self.ranks[waiting].clock = max(clocks)
                done.append(waiting)
        return done

    def _view(self, rank: Rank, share: Share, peer: int, start: int = 0, stop: int | None = None) -> memoryview:
        assert len(self.ranks[peer].shares[share.stamp].bytes) <= steps.INLINE, "not inline"
        return memoryview(self._read(rank, share, peer, start, stop))

    def _read(self, rank: Rank, share: Share, peer: int, start: int, stop: int | None) -> bytes:
        """Return what a peer has shared in the round of this rank's last share."""
        assert share.stamp == len(rank.shares) - 1, "a share is read after the next one"
        assert share.awaited is None or peer in share.awaited, "a share that was not waited for is read"
        source = self.ranks[peer]
        posted = source.shares[share.stamp]
        if len(posted.bytes) > steps.INLINE:
            assert not source.ended, "the memory of a rank that has left is read"
            assert posted.data[start:stop] == posted.bytes[start:stop], "shared memory was modified"
        assert share.nbytes in (-1, len(posted.bytes)), f"{len(posted.bytes)} bytes where {share.nbytes} are expected"
        part = posted.bytes[start:stop]
        if source is not rank:
            source.sent += len(part)
            rank.received += len(part)
        return part

    def _take(self, events: list[Any], index: int) -> Any:
        events[index], events[-1] = events[-1], events[index]
        return events.pop()

    def _open(self) -> list[tuple[int, int]]:
        return [pair for queues in (self._sends, self._recvs) for pair, queue in queues.items() if queue]

    def _post(self, rank: Rank, wanted: Sequence[Step]) -> bool:
        """Post the steps of one yield; True if all are complete already."""
        assert wanted, "a yield of nothing"
        rank.next_clock = rank.clock
        for step in wanted:
            assert isinstance(step, (Send, Recv)), "a yield of messages and something else"
            assert step.peer != rank.rank, "a message to oneself"
            assert 0 <= step.peer < rank.size
            mine: deque[Any]
            theirs: deque[Any]
            if isinstance(step, Send):
                message = Message(step, rank.clock + 1, self.eager)
                rank.next_clock = rank.clock + 1
                rank.sent += len(message.posted)
                rank.waiting += not self.eager
                self.messages += 1
                self.rounds = max(self.rounds, message.clock)
                pair = rank.rank, step.peer
                mine, theirs = self._sends[pair], self._recvs[pair]
                mine.append(message)
            else:
                rank.waiting += 1
                pair = step.peer, rank.rank
                mine, theirs = self._recvs[pair], self._sends[pair]
                mine.append(step)
            if len(mine) <= len(theirs):
                self._matched.append(pair)
        if not rank.waiting:
            rank.clock = rank.next_clock
        return not rank.waiting

    def _deliver(self, pair: tuple[int, int]) -> list[int]:
        """Deliver the oldest message of a pair; returns the ranks that have nothing more to wait for."""
        message = self._sends[pair].popleft()
        step = self._recvs[pair].popleft()
        source, target = (self.ranks[rank] for rank in pair)
        payload = message.payload()
        if step.into is None:
            step.data = memoryview(payload)
        else:
            assert len(step.into) == len(payload), f"{len(payload)} bytes for a buffer of {len(step.into)}"
            step.into[:] = payload
            step.data = step.into
        step.flags = message.flags
        target.received += len(payload)
        target.next_clock = max(target.next_clock, message.clock)
        resumed = [target] if self.eager else [target, source]
        done: list[int] = []
        for rank in resumed:
            rank.waiting -= 1
            if not rank.waiting:
                rank.clock = rank.next_clock
                done.append(rank.rank)
        return done
