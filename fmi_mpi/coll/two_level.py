"""Two-level forms: first within each host, then between one leader per host, then within each host again.

Rules of this file:
- Signatures and buffers are those of the flat algorithms, which these are composed of.
- The root leads its host; other hosts are led by their lowest rank. Hosts count in the order of their lowest ranks.
- For non-commutative operations, and for allgather, the ranks of each host must follow one another.
- Messages between hosts are as few as the flat algorithm sends between that many ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.select import flat
from fmi_mpi.coll.steps import NONE, Errands, Fetch, Kernel, Ranks, Recv, Schedule, Send, Share

__all__ = ["Subset", "allgather", "allreduce", "barrier", "bcast", "reduce"]

T = TypeVar("T")


class Subset:
    """Some ranks of a communicator as a communicator of their own; ``members`` gives their ranks in order."""

    __slots__ = ("hosts", "members", "rank", "scratch", "size")

    def __init__(self, ranks: Ranks, members: Sequence[int]) -> None:
        self.members = members
        self.rank = members.index(ranks.rank)
        self.size = len(members)
        self.hosts: Sequence[int] = [ranks.hosts[member] for member in members]
        self.scratch = ranks.scratch

    def relabel(self, schedule: Schedule[T]) -> Schedule[T]:
        """Run an algorithm of the subset, its peers becoming ranks of the whole."""
        return _relabel(schedule, self.members)


def _relabel(schedule: Schedule[T], members: Sequence[int]) -> Schedule[T]:
    while True:
        try:
            steps = next(schedule)
        except StopIteration as stop:
            result: T = stop.value
            return result
        assert not isinstance(steps, (Share, Fetch, Errands))
        for step in (steps,) if isinstance(steps, (Send, Recv)) else steps:
            step.peer = members[step.peer]
        yield steps


class Layout(NamedTuple):
    """Where a rank stands: the leaders of all hosts, and the ranks of its own with their leader."""

    leaders: tuple[int, ...]
    mates: tuple[int, ...]
    leader: int


@lru_cache(maxsize=1024)
def _groups(hosts: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    found: dict[int, list[int]] = {}
    for rank, host in enumerate(hosts):
        found.setdefault(host, []).append(rank)
    return tuple(map(tuple, found.values()))


@lru_cache(maxsize=4096)
def _layout(hosts: tuple[int, ...], rank: int, root: int) -> Layout:
    groups = _groups(hosts)
    leaders = tuple(root if root in group else group[0] for group in groups)
    own = next(i for i, group in enumerate(groups) if rank in group)
    return Layout(leaders, groups[own], leaders[own])


def layout(ranks: Ranks, root: int = 0) -> Layout:
    """Return where this rank stands in a collective with ``root``."""
    return _layout(tuple(ranks.hosts), ranks.rank, root)


def _run(
    ranks: Ranks, members: Sequence[int], collective: str, nbytes: int, *arguments: Any, commutative: bool = True
) -> Schedule[None]:
    """Run the flat form of a collective among ``members``."""
    subset = Subset(ranks, members)
    run = flat(collective, subset.size, nbytes, commutative)
    yield from subset.relabel(run(subset, *arguments))


def barrier(ranks: Ranks) -> Schedule[None]:
    """Wait until all ranks have come here."""
    leaders, mates, leader = layout(ranks)
    place = tree(len(mates), mates.index(ranks.rank), 0)
    below = [mates[child] for child in place.children]
    if below:
        yield [Recv(child, NONE) for child in below]
    if ranks.rank == leader:
        yield from _run(ranks, leaders, "barrier", 0)
    else:
        above = mates[place.parent]
        yield Send(above, NONE), Recv(above, NONE)
    if below:
        yield [Send(child, NONE) for child in below]


def bcast(ranks: Ranks, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to all ranks' ``buf``."""
    leaders, mates, leader = layout(ranks, root)
    nbytes = len(buf)
    if ranks.rank == leader:
        top = leaders.index(root)
        yield from _run(ranks, leaders, "bcast", nbytes, buf, top)
    if len(mates) > 1:
        yield from _run(ranks, mates, "bcast", nbytes, buf, mates.index(leader))


def reduce(ranks: Ranks, send: memoryview, recv: memoryview | None, kernel: Kernel, root: int) -> Schedule[None]:
    """Reduce all ranks' ``send`` into the root's ``recv``."""
    leaders, mates, leader = layout(ranks, root)
    nbytes, commutative = len(send), kernel.commutative
    leads = ranks.rank == leader
    if len(mates) > 1:
        total = None
        if leads:
            total = recv if ranks.rank == root else ranks.scratch(nbytes)
        yield from _run(
            ranks, mates, "reduce", nbytes, send, total, kernel, mates.index(leader), commutative=commutative
        )
        if total is not None:
            send = total
    if leads:
        yield from _run(
            ranks, leaders, "reduce", nbytes, send, recv, kernel, leaders.index(root), commutative=commutative
        )


def allreduce(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` into every rank's ``recv``."""
    leaders, mates, leader = layout(ranks)
    nbytes, commutative = len(send), kernel.commutative
    if len(mates) > 1:
        yield from _run(ranks, mates, "reduce", nbytes, send, recv, kernel, 0, commutative=commutative)
        send = recv
    if ranks.rank == leader:
        yield from _run(ranks, leaders, "allreduce", nbytes, send, recv, kernel, commutative=commutative)
    if len(mates) > 1:
        yield from _run(ranks, mates, "bcast", nbytes, recv, 0)


def allgather(ranks: Ranks, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``recv``."""
    leaders, mates, leader = layout(ranks)
    nbytes = len(recv) // ranks.size
    ends = (*leaders[1:], ranks.size)
    leads = ranks.rank == leader
    if len(mates) > 1:
        if send is None and not leads:
            send = recv[ranks.rank * nbytes : (ranks.rank + 1) * nbytes]
        own = recv[leader * nbytes : (leader + len(mates)) * nbytes] if leads else None
        yield from _run(ranks, mates, "gather", nbytes, send, own, 0)
        send = None
    if leads:
        blocks = [recv[first * nbytes : last * nbytes] for first, last in zip(leaders, ends)]
        yield from _run(ranks, leaders, "allgatherv", len(recv), send, blocks)
    if len(mates) > 1:
        yield from _run(ranks, mates, "bcast", len(recv), recv, 0)
