"""Allreduce by recursive doubling: the fewest rounds, the whole buffer in each. For small buffers.

Rules of this file:
- Any size: ranks beyond a power of two are folded into a neighbour first (Thakur, Rabenseifner, Gropp 2005, 4.5).
- Keeps the rank order. All ranks apply the operation in the same grouping, so results are equal on all ranks.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
- Hot path: with two ranks and a commutative operation, one exchange straight into ``recv`` and one kernel call.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames, log_floor
from fmi_mpi.coll.schedules import fold
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def recursive_doubling(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` into every rank's ``recv``."""
    rank = ranks.rank
    _, _, place, partner, peers = fold(ranks.size, rank)
    nbytes = len(send)
    if not nbytes:
        return
    if place < 0:
        yield Send(partner, send)
        yield Recv(partner, recv)
        return
    commutative = kernel.commutative
    fresh = send is not recv  # nothing of value is in ``recv`` yet: the first arrival may go there
    if fresh and not (commutative and (peers or partner >= 0)):
        recv[:] = send
        fresh = False
    spare: memoryview | None = None
    if partner >= 0:
        if fresh:
            yield Recv(partner, recv)
            kernel(send, recv)
            fresh = False
        else:
            spare = ranks.scratch(nbytes)
            yield Recv(partner, spare)
            kernel(spare, recv)
    total = recv
    for peer in peers:
        if fresh:
            yield Send(peer, send), Recv(peer, recv)
            kernel(send, recv)
            fresh = False
            continue
        if spare is None:
            spare = ranks.scratch(nbytes)
        yield Send(peer, total), Recv(peer, spare)
        if commutative or peer < rank:
            kernel(spare, total)
        else:
            kernel(total, spare)
            total, spare = spare, total
    if total is not recv:
        recv[:] = total
    if partner >= 0:
        yield Send(partner, recv)


def cost(size: int, nbytes: int) -> Frames:
    """Fold onto a power of two p, log2(p) exchanges, unfold."""
    if not nbytes or size == 1:
        return NOTHING
    steps = log_floor(size)
    rest = size - (1 << steps)
    messages = (steps << steps) + 2 * rest
    return Frames(messages, messages * nbytes, steps + 2 * (rest > 0), (steps + (rest > 0)) * nbytes)
