"""Exclusive scan in log2(P) rounds (Hillis, Steele 1986).

Rules of this file:
- Keeps the rank order. Any size. ``recv`` of rank 0 is not touched.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
- Two sums grow side by side: one with the own contribution, for the ranks above, and one without, for ``recv``.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames, log_ceil
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send, Step


def recursive_doubling(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce the ``send`` of the ranks below this one into ``recv``."""
    size, rank, nbytes = ranks.size, ranks.rank, len(send)
    if not nbytes:
        return
    total = send
    spare: memoryview | None = None
    reach = 1
    while rank >= reach or rank + reach < size:
        steps: list[Step] = []
        if rank + reach < size:
            steps.append(Send(rank + reach, total))
        if rank < reach:
            yield steps
        else:
            if reach == 1 and send is not recv:
                arriving = recv
            else:
                spare = arriving = ranks.scratch(nbytes) if spare is None else spare
            steps.append(Recv(rank - reach, arriving))
            yield steps
            if rank + 2 * reach < size:  # ranks above still need the sum
                if total is send:
                    total = ranks.scratch(nbytes)
                    total[:] = send
                kernel(arriving, total)
            if reach > 1:
                kernel(arriving, recv)
            elif arriving is not recv:
                recv[:] = arriving
        reach <<= 1


def cost(size: int, nbytes: int) -> Frames:
    """log2(P) rounds; in round k all ranks but the last 2**k send."""
    if not nbytes:
        return NOTHING
    rounds = log_ceil(size)
    messages = sum(size - (1 << k) for k in range(rounds))
    return Frames(messages, messages * nbytes, rounds, rounds * nbytes)
