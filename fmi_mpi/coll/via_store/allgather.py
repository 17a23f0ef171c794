"""Allgather over a store: every rank gets all others' blocks, or all of them from rank 0.

Rules of this file:
- ``recv`` is one buffer of P blocks in rank order. ``send`` None means that the own block is already in place.
"""

from __future__ import annotations

from collections.abc import Iterable

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import Errand, Errands, Get, Put, Ranks, Schedule


def direct(ranks: Ranks, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    """Get every block from the rank that has put it: the fewest rounds."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(recv) // size
    own = recv[rank * nbytes : (rank + 1) * nbytes]
    if send is not None:
        own[:] = send
    if nbytes and size > 1:
        errands: list[Errand] = [Put(own)]
        errands += _blocks(recv, nbytes, (peer for peer in range(size) if peer != rank))
        yield Errands(*errands)


def through_root(ranks: Ranks, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    """Rank 0 gets every block, and puts all as one object: the fewest requests."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(recv) // size
    own = recv[rank * nbytes : (rank + 1) * nbytes]
    if send is not None:
        own[:] = send
    if not nbytes or size == 1:
        return
    if rank:
        yield Errands(Put(own))
        yield Errands(Get(0, recv))
    else:
        yield Errands(*_blocks(recv, nbytes, range(1, size)))
        yield Errands(Put(recv))


def _blocks(recv: memoryview, nbytes: int, peers: Iterable[int]) -> list[Get]:
    return [Get(peer, recv[peer * nbytes : (peer + 1) * nbytes], only=True) for peer in peers]


def direct_cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    others = size - 1
    moved = others * nbytes
    return Requests(size, size * others, 0, size * nbytes, size * moved, 2, moved, size, size, moved)


def through_root_cost(size: int, nbytes: int) -> Requests:
    """Up to rank 0 and down again."""
    if not nbytes or size == 1:
        return FREE
    others, whole = size - 1, size * nbytes
    moved = others * nbytes
    return Requests(size, 2 * others, 0, moved + whole, moved + others * whole, 4, whole, max(size, 2), 1, moved)
