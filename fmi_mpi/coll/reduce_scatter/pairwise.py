"""Reduce-scatter by pairwise exchange: every block travels straight to the rank that owns it.

Rules of this file:
- For commutative operations. Any size, any counts; one block of temporary memory.
- ``send`` is the whole contribution and is only read; ``recv`` takes the own block and does not overlap ``send``.
- ``counts`` gives the bytes of every rank's block and is equal on all ranks.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.schedules import offsets
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def pairwise(
    ranks: Ranks, send: memoryview, recv: memoryview, counts: tuple[int, ...], kernel: Kernel
) -> Schedule[None]:
    """Reduce all ranks' ``send`` and leave this rank's block of the result in ``recv``."""
    if not send:
        return
    size, rank = ranks.size, ranks.rank
    cut = offsets(counts)
    own = send[cut[rank] : cut[rank + 1]]
    if size == 1:
        recv[:] = own
    arriving = recv
    for step in range(1, size):
        target, source = (rank + step) % size, (rank - step) % size
        if step == 2:
            arriving = ranks.scratch(len(own))
        yield Send(target, send[cut[target] : cut[target + 1]]), Recv(source, arriving)
        if own:
            kernel(own if arriving is recv else arriving, recv)


def cost(size: int, nbytes: int) -> Frames:
    """P-1 rounds in which every rank sends one block."""
    if not nbytes:
        return NOTHING
    return Frames(size * (size - 1), (size - 1) * nbytes, size - 1, nbytes - nbytes // size)
