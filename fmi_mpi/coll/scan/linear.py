"""Inclusive scan along the chain of ranks: the least work, strictly from the lowest rank up.

Rules of this file:
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce the ``send`` of the ranks up to this one into ``recv``."""
    rank, nbytes = ranks.rank, len(send)
    if send is not recv:
        recv[:] = send
    if not nbytes:
        return
    if rank:
        before = ranks.scratch(nbytes)
        yield Recv(rank - 1, before)
        kernel(before, recv)
    if rank + 1 < ranks.size:
        yield Send(rank + 1, recv)


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, one after another."""
    if not nbytes or size == 1:
        return NOTHING
    return Frames(size - 1, (size - 1) * nbytes, size - 1, nbytes)
