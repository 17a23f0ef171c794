"""Allreduce as a ring reduce-scatter and a ring allgather (Patarasuk, Yuan 2009): the least data per rank.

Rules of this file:
- For commutative operations. Any size.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
- Not in place, partial results arrive where they belong in ``recv``: no temporary and no copy.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.patterns import circulate
from fmi_mpi.coll.schedules import bounds
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def ring(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` into every rank's ``recv``."""
    size, rank, nbytes = ranks.size, ranks.rank, len(send)
    if not nbytes:
        return
    if size == 1:
        if send is not recv:
            recv[:] = send
        return
    cut = bounds(nbytes, size, kernel.granule)
    left, right = (rank - 1) % size, (rank + 1) % size
    spare = ranks.scratch(cut[1]) if send is recv else None
    partial = send[cut[rank] : cut[rank + 1]]
    block = rank
    for _ in range(size - 1):
        block = (block or size) - 1
        first, last = cut[block], cut[block + 1]
        mine = recv[first:last]
        if spare is None:
            yield Send(right, partial), Recv(left, mine)
            if last > first:
                kernel(send[first:last], mine)
        else:
            arriving = spare[: last - first]
            yield Send(right, partial), Recv(left, arriving)
            if last > first:
                kernel(arriving, mine)
        partial = mine
    yield from circulate(left, right, right, cut, recv)


def cost(size: int, nbytes: int) -> Frames:
    """2(P-1) rounds in which every rank sends one block."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 2 * (size - 1)
    return Frames(size * rounds, nbytes * rounds, rounds, 2 * (nbytes - nbytes // size))
