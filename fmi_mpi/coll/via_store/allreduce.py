"""Allreduce over a store: through rank 0, by every rank for itself, or each rank a part for all.

Rules of this file:
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
- Results are equal on all ranks.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.schedules import bounds
from fmi_mpi.coll.steps import Errand, Errands, Get, Kernel, Put, Ranks, Schedule
from fmi_mpi.coll.via_store.folding import fold_got
from fmi_mpi.coll.via_store.reduce_scatter import via_store as reduce_scatter


def through_root(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Rank 0 gets and reduces everything, and puts the result: the fewest requests."""
    if not send:
        return
    if ranks.rank:
        yield Errands(Put(send))
        yield Errands(Get(0, recv))
        return
    yield from fold_got(0, range(ranks.size), send, recv, kernel)
    if ranks.size > 1:
        yield Errands(Put(recv))


def direct(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Every rank gets and reduces everything: the fewest rounds."""
    if not send:
        return
    yield from fold_got(ranks.rank, range(ranks.size), send, recv, kernel, Put(send) if ranks.size > 1 else None)


def by_parts(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Each rank gets and reduces one part, and puts it: no rank moves more than twice the buffer."""
    size, rank, nbytes = ranks.size, ranks.rank, len(send)
    cut = bounds(nbytes, size, kernel.granule)
    counts = tuple(cut[peer + 1] - cut[peer] for peer in range(size))
    part = memoryview(bytearray(counts[rank]))
    yield from reduce_scatter(ranks, send, part, counts, kernel)
    errands: list[Errand] = []
    for peer in range(size):
        if peer != rank and counts[peer]:
            turn = int(counts[peer] < nbytes)  # who reduces everything has put nothing before
            errands.append(Get(peer, recv[cut[peer] : cut[peer + 1]], turn=turn))
    if size > 1 and part:
        errands.append(Put(part))
    if errands:
        yield Errands(*errands)
    recv[cut[rank] : cut[rank + 1]] = part


def through_root_cost(size: int, nbytes: int) -> Requests:
    """Up to rank 0 and down again."""
    if not nbytes or size == 1:
        return FREE
    others = size - 1
    moved = others * nbytes
    return Requests(size, 2 * others, 0, size * nbytes, 2 * moved, 4, moved, max(size, 2), 1, moved)


def direct_cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    others = size - 1
    moved = others * nbytes
    return Requests(size, size * others, 0, size * nbytes, size * moved, 2, moved, size, size, moved)


def by_parts_cost(size: int, nbytes: int) -> Requests:
    """Two rounds of puts and gets, of parts."""
    if not nbytes or size == 1:
        return FREE
    others, part = size - 1, nbytes // size
    return Requests(
        2 * size, 2 * size * others, 0, size * nbytes, 2 * others * nbytes, 4, max(nbytes, 2 * others * part), 2 * size
    )
