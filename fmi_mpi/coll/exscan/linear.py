"""Exclusive scan along the chain of ranks: the least work, strictly from the lowest rank up.

Rules of this file:
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
- ``recv`` of rank 0 is not touched.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce the ``send`` of the ranks below this one into ``recv``."""
    rank, nbytes = ranks.rank, len(send)
    last = rank + 1 == ranks.size
    if not nbytes:
        return
    if not rank:
        if not last:
            yield Send(1, send)
        return
    before = ranks.scratch(nbytes) if send is recv else recv
    yield Recv(rank - 1, before)
    if not last:
        total = ranks.scratch(nbytes)
        total[:] = send
        kernel(before, total)
        yield Send(rank + 1, total)
    if before is not recv:
        recv[:] = before


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, one after another."""
    if not nbytes or size == 1:
        return NOTHING
    return Frames(size - 1, (size - 1) * nbytes, size - 1, nbytes)
