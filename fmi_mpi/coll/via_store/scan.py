"""Scans over a store: every rank gets all below it, or the result of the rank just below it.

Rules of this file:
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
- An exclusive scan leaves ``recv`` of rank 0 alone.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import Errands, Get, Kernel, Put, Ranks, Schedule
from fmi_mpi.coll.via_store.folding import fold_got


def direct(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Get and reduce all below: the fewest rounds."""
    if send:
        put = Put(send) if ranks.rank < ranks.size - 1 else None
        yield from fold_got(ranks.rank, range(ranks.rank + 1), send, recv, kernel, put)


def chain(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Get what the rank below has: the fewest requests."""
    if send:
        yield from _after_one(ranks, send, recv, kernel)
        if ranks.rank < ranks.size - 1:
            yield Errands(Put(recv))


def _after_one(ranks: Ranks, send: memoryview, into: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce the result of the rank below and the own contribution."""
    if not ranks.rank:
        if into is not send:
            into[:] = send
        return
    below = Get(ranks.rank - 1, None, len(send))
    yield Errands(below)
    if into is not send:
        into[:] = send
    kernel(below.data, into)


def exclusive(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Get and reduce all below: the fewest rounds."""
    put = Put(send) if send and ranks.rank < ranks.size - 1 else None
    if send and ranks.rank:
        yield from fold_got(ranks.rank, range(ranks.rank), send, recv, kernel, put)
    elif put is not None:
        yield Errands(put)


def exclusive_chain(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Get what the rank below has: the fewest requests."""
    if not send:
        return
    rank, last = ranks.rank, ranks.rank == ranks.size - 1
    if not rank:
        if not last:
            yield Errands(Put(send))
        return
    below = Get(rank - 1, None, len(send))
    yield Errands(below)
    if not last:
        total = memoryview(bytearray(send))
        kernel(below.data, total)
        yield Errands(Put(total))
    recv[:] = below.data


def direct_cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    others, pairs = size - 1, size * (size - 1) // 2
    moved = others * nbytes
    return Requests(others, pairs, 0, moved, pairs * nbytes, 2, moved, others, 1, moved)


def chain_cost(size: int, nbytes: int) -> Requests:
    """One put and one get after another."""
    if not nbytes or size == 1:
        return FREE
    others = size - 1
    return Requests(others, others, 0, others * nbytes, others * nbytes, 2 * others, nbytes, 2 if size > 2 else 1)


exclusive_cost = direct_cost
exclusive_chain_cost = chain_cost
