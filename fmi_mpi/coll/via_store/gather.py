"""Gather over a store: the root gets what every other rank has put.

Rules of this file:
- ``recv`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``send`` None at the root means that its block is already in place.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import Errands, Get, Put, Ranks, Schedule


def via_store(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Collect all ranks' ``send`` in the root's ``recv``."""
    size, rank = ranks.size, ranks.rank
    if recv is None:
        assert send is not None
        if send:
            yield Errands(Put(send))
        return
    nbytes = len(recv) // size
    if nbytes and size > 1:
        blocks = ((peer, recv[peer * nbytes : (peer + 1) * nbytes]) for peer in range(size) if peer != rank)
        yield Errands(*(Get(peer, block, only=True) for peer, block in blocks))
    if send is not None:
        recv[rank * nbytes : (rank + 1) * nbytes] = send


def cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    others = size - 1
    return Requests(others, others, 0, others * nbytes, others * nbytes, 2, others * nbytes, others, 1, others * nbytes)
