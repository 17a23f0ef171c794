"""Barrier over a store: by its counter, by every rank for itself, or through rank 0."""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import NONE, Count, Errands, Get, Put, Ranks, Schedule


def counted(ranks: Ranks) -> Schedule[None]:
    """Wait until all ranks have counted themselves in."""
    if ranks.size > 1:
        yield Errands(Count())


def direct(ranks: Ranks) -> Schedule[None]:
    """Wait until a sign of every other rank is there."""
    if ranks.size > 1:
        others = (peer for peer in range(ranks.size) if peer != ranks.rank)
        yield Errands(Put(NONE), *(Get(peer, None, 0, only=True) for peer in others))


def gathered(ranks: Ranks) -> Schedule[None]:
    """Wait until rank 0 has found a sign of every rank, and says so."""
    if ranks.size == 1:
        return
    if ranks.rank:
        yield Errands(Put(NONE))
        yield Errands(Get(0, None, 0))
    else:
        yield Errands(*(Get(peer, None, 0, only=True) for peer in range(1, ranks.size)))
        yield Errands(Put(NONE))


def counted_cost(size: int, nbytes: int) -> Requests:
    """Each rank counts, and sees in the answer or in a look at the counter that all have."""
    return FREE if size == 1 else Requests(0, 0, size, 0, 0, 2, 0, 1)


def direct_cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    return FREE if size == 1 else Requests(size, size * (size - 1), 0, 0, 0, 2, 0, size, size)


def gathered_cost(size: int, nbytes: int) -> Requests:
    """Up to rank 0 and down again."""
    if size == 1:
        return FREE
    return Requests(size, 2 * (size - 1), 0, 0, 0, 4, 0, max(size, 2), 1)
