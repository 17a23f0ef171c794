"""Inclusive scan in log2(P) rounds (Hillis, Steele 1986).

Rules of this file:
- Keeps the rank order. Any size.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
- After round k, ``recv`` covers the 2**(k+1) ranks up to and including this one (or all from 0).
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames, log_ceil
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send, Step


def recursive_doubling(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce the ``send`` of the ranks up to this one into ``recv``."""
    size, rank, nbytes = ranks.size, ranks.rank, len(send)
    if send is not recv:
        recv[:] = send
    if not nbytes:
        return
    arriving = ranks.scratch(nbytes)
    reach = 1
    while reach < size:
        steps: list[Step] = []
        if rank + reach < size:
            steps.append(Send(rank + reach, recv))
        if rank >= reach:
            steps.append(Recv(rank - reach, arriving))
        if steps:
            yield steps
        if rank >= reach:
            kernel(arriving, recv)
        reach <<= 1


def cost(size: int, nbytes: int) -> Frames:
    """log2(P) rounds; in round k all ranks but the last 2**k send."""
    if not nbytes:
        return NOTHING
    rounds = log_ceil(size)
    messages = sum(size - (1 << k) for k in range(rounds))
    return Frames(messages, messages * nbytes, rounds, rounds * nbytes)
