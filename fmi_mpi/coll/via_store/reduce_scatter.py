"""Reduce-scatter over a store: every rank puts its blocks for the others as one object, and gets one of each.

Rules of this file:
- ``send`` is the whole contribution and is only read; ``recv`` takes the own block and does not overlap ``send``.
- ``counts`` gives the bytes of every rank's block and is equal on all ranks.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.schedules import offsets
from fmi_mpi.coll.steps import Errands, Get, Kernel, Put, Ranks, Schedule
from fmi_mpi.coll.via_store.folding import fold_got


def via_store(
    ranks: Ranks, send: memoryview, recv: memoryview, counts: tuple[int, ...], kernel: Kernel
) -> Schedule[None]:
    """Reduce all ranks' ``send`` and leave this rank's block of the result in ``recv``."""
    size, rank = ranks.size, ranks.rank
    start = offsets(counts)
    own = send[start[rank] : start[rank + 1]]
    put = None
    if len(own) < len(send):
        put = Put(*(send[start[peer] : start[peer + 1]] for peer in range(size) if peer != rank))

    def part(peer: int) -> Get:
        """Return what gets this rank's block of a peer's object, in which the peer's own one is left out."""
        before = start[rank] - (counts[peer] if peer < rank else 0)
        return Get(peer, None, len(own), rank - (rank > peer), before)

    if own:
        yield from fold_got(rank, range(size), own, recv, kernel, put, part)
    elif put is not None:
        yield Errands(put)


def cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    moved = nbytes - nbytes // size
    return Requests(size, size * (size - 1), 0, size * moved, size * moved, 2, moved, size)
