"""All-to-all over a store: every rank puts its blocks for the others as one object, and gets one of each.

Rules of this file:
- ``send`` and ``recv`` are buffers of P blocks in rank order and do not overlap.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import Errand, Errands, Get, Put, Ranks, Schedule


def via_store(ranks: Ranks, send: memoryview, recv: memoryview) -> Schedule[None]:
    """Send block i of ``send`` to rank i, and receive rank i's block for this one as block i of ``recv``."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(send) // size
    if not nbytes:
        return
    others = [peer for peer in range(size) if peer != rank]
    if others:
        errands: list[Errand] = [Put(*(send[peer * nbytes : (peer + 1) * nbytes] for peer in others))]
        for peer in others:
            place = rank - (rank > peer)
            errands.append(Get(peer, recv[peer * nbytes : (peer + 1) * nbytes], block=place, before=place * nbytes))
        yield Errands(*errands)
    recv[rank * nbytes : (rank + 1) * nbytes] = send[rank * nbytes : (rank + 1) * nbytes]


def cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    others = size - 1
    total = size * others * nbytes
    return Requests(size, size * others, 0, total, total, 2, others * nbytes, size)
