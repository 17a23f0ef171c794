"""Scatter over a store: the root puts all blocks as one object, of which every other rank gets its own.

Rules of this file:
- ``send`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``recv`` None at the root means that its block stays where it is.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import Errands, Get, Put, Ranks, Schedule


def via_store(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Give block i of the root's ``send`` to rank i as ``recv``."""
    size, rank = ranks.size, ranks.rank
    if send is None:
        assert recv is not None
        if recv:
            place = rank - (rank > root)
            yield Errands(Get(root, recv, block=place, before=place * len(recv)))
        return
    nbytes = len(send) // size
    if nbytes and size > 1:
        yield Errands(Put(*(send[peer * nbytes : (peer + 1) * nbytes] for peer in range(size) if peer != rank)))
    if recv is not None:
        recv[:] = send[rank * nbytes : (rank + 1) * nbytes]


def cost(size: int, nbytes: int) -> Requests:
    """One put, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    total = (size - 1) * nbytes
    return Requests(1, size - 1, 0, total, total, 2, total, 1)
