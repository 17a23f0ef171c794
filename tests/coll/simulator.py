"""A world of ranks in one process, in which any order of events that MPI allows can happen.

Rules of this file:
- One generator per rank. What happens next (a rank resumes, a message is delivered) is drawn from ``random``.
- Between two ranks messages stay in order. A receive matches the oldest message of its peer, and the lengths must agree.
- ``eager``: a send is complete when posted, its payload copied. Otherwise it is complete when delivered, and the
  payload is copied then, so that an algorithm that writes to memory in flight is caught.
- Nobody sends to itself, leaves messages behind, or waits for what never comes.
- On the board a rank's round is its own count of shares. What is inline is copied when shared; other data must not change
  until all who read it have shared again.
- In the store an object is there when its put is done; which put or get is done next is drawn, too. What is put must not
  change before.
- Memory handed out is filled with rubbish first.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from fmi_mpi.coll import steps
from fmi_mpi.coll.cost import Frames, Requests
from fmi_mpi.coll.steps import Count, Errand, Errands, Fetch, Get, Put, Recv, Schedule, Send, Share, Step

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
        self.puts = 0
        self.gets = 0
        self.counts = 0
        self.objects: list[Stored | None] = []

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


class Stored:
    """An object in the store: its blocks; ``clock`` as in ``Message``."""

    def __init__(self, blocks: list[bytes], clock: int) -> None:
        self.blocks = blocks
        self.clock = clock


def blocks_of(step: Put) -> list[bytes]:
    return [bytes(block) if isinstance(block, memoryview) else b"".join(block) for block in step.blocks]


class World:
    """Runs a collective on ``size`` ranks. ``frames`` counts what it took, ``requests`` what it asked of the store."""

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
        self._errands: list[tuple[Rank, Errand, list[bytes], int]] = []
        self._counted = 0
        self._counter = 0
        self._groups = 0
        self._group_bytes = 0

    @property
    def requests(self) -> Requests:
        ranks = self.ranks
        return Requests(
            sum(rank.puts for rank in ranks),
            sum(rank.gets for rank in ranks),
            sum(rank.counts for rank in ranks),
            sum(rank.sent for rank in ranks),
            sum(rank.received for rank in ranks),
            self.rounds,
            max(max(rank.sent, rank.received) for rank in ranks),
            max(rank.puts + rank.gets + rank.counts for rank in ranks),
            self._groups,
            self._group_bytes,
        )

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
            able = [errand for errand in self._errands if self._may(*errand)] if self._errands else []
            events = len(ready) + len(self._matched) + len(able)
            assert events, (
                f"deadlock: {running} ranks wait, unmatched {self._open()}, meeting {list(self._meeting)}, "
                f"errands {[(rank.rank, type(step)) for rank, step, _, _ in self._errands]}"
            )
            event = self.random.randrange(events)
            if event >= len(ready) + len(self._matched):
                ready += self._do(able[event - len(ready) - len(self._matched)])
                continue
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
            elif isinstance(wanted, Errands):
                self._send_out(self.ranks[rank], wanted.errands)
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

    def _send_out(self, rank: Rank, steps: Sequence[Errand]) -> None:
        """Begin the errands of one yield."""
        assert steps, "errands without any"
        rank.next_clock = rank.clock
        gets = [step for step in steps if isinstance(step, Get) and step.only]
        if len(gets) == len(self.ranks) - 1 and len({step.turn for step in gets}) == 1:
            self._groups += 1
            self._group_bytes = max(self._group_bytes, sum(step.nbytes for step in gets))
        for step in steps:
            place = -1
            if isinstance(step, Put):
                place = len(rank.objects)
                rank.objects.append(None)
            elif isinstance(step, Count):
                self._counted += 1
                self._counter = max(self._counter, rank.clock + 1)
            else:
                assert step.peer != rank.rank, "an object of its own is read"
            rank.waiting += 1
            self._errands.append((rank, step, blocks_of(step) if isinstance(step, Put) else [], place))

    def _may(self, rank: Rank, step: Errand, blocks: list[bytes], place: int) -> bool:
        """Tell whether an errand can be done now."""
        if isinstance(step, Get):
            objects = self.ranks[step.peer].objects
            return len(objects) > step.turn and objects[step.turn] is not None
        return isinstance(step, Put) or self._counted == len(self.ranks)

    def _do(self, errand: tuple[Rank, Errand, list[bytes], int]) -> list[int]:
        """Do an errand; returns the rank if that was its last one."""
        self._errands.remove(errand)
        rank, step, blocks, place = errand
        if isinstance(step, Put):
            assert blocks_of(step) == blocks, "a buffer was modified while it was being put"
            rank.objects[place] = Stored(blocks, rank.clock + 1)
            rank.puts += 1
            rank.sent += sum(map(len, blocks))
            clock = rank.clock + 1
        elif isinstance(step, Get):
            stored = self.ranks[step.peer].objects[step.turn]
            assert stored is not None
            block = stored.blocks[step.block]
            assert step.nbytes in (-1, len(block)), f"{len(block)} bytes where {step.nbytes} are expected"
            assert not step.only or len(stored.blocks) == 1, "one of several blocks is read as the only one"
            assert step.before == sum(map(len, stored.blocks[: step.block])), "a block is looked for at the wrong place"
            step.data = memoryview(bytearray(block)) if step.into is None else step.into
            step.data[:] = block
            rank.gets += 1
            rank.received += len(block)
            clock = max(rank.clock, stored.clock) + 1
        else:
            rank.counts += 1
            clock = self._counter + 1
        self.rounds = max(self.rounds, clock)
        rank.next_clock = max(rank.next_clock, clock)
        rank.waiting -= 1
        if rank.waiting:
            return []
        rank.clock = rank.next_clock
        return [rank.rank]

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
