"""Reduce-scatter over a store: every rank puts its blocks for the others as one object, and gets one of each.

Rules of this file:
- ``send`` is the whole contribution and is only read; ``recv`` takes the own block and does not overlap ``send``.
- ``counts`` gives the bytes of every rank's block and is equal on all ranks.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.schedules import offsets
from fmi_mpi.coll.steps import Errand, Errands, Get, Kernel, Put, Ranks, Schedule


def via_store(
    ranks: Ranks, send: memoryview, recv: memoryview, counts: tuple[int, ...], kernel: Kernel
) -> Schedule[None]:
    """Reduce all ranks' ``send`` and leave this rank's block of the result in ``recv``."""
    size, rank = ranks.size, ranks.rank
    start = offsets(counts)
    own = send[start[rank] : start[rank + 1]]
    gets: dict[int, Get] = {}
    for peer in range(size):
        if own and peer != rank:
            before = start[rank] - (counts[peer] if peer < rank else 0)
            gets[peer] = Get(peer, None, len(own), rank - (rank > peer), before)
    errands: list[Errand] = list(gets.values())
    if len(own) < len(send):
        errands.append(Put(*(send[start[peer] : start[peer + 1]] for peer in range(size) if peer != rank)))
    if errands:
        yield Errands(*errands)
    if own:
        total = own if rank == size - 1 else gets[size - 1].data
        for peer in range(size - 2, -1, -1):
            if total is own:
                recv[:] = own
                total = recv
            kernel(own if peer == rank else gets[peer].data, total)
        recv[:] = total


def cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    moved = nbytes - nbytes // size
    return Requests(size, size * (size - 1), 0, size * moved, size * moved, 2, moved, size)
