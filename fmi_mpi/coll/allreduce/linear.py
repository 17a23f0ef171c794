"""Allreduce through rank 0, which receives from all and sends to all: the fewest messages, in two rounds.

Rules of this file:
- For small buffers and ranks that outnumber the cores: there what all ranks do together counts, not what one does.
- Keeps the rank order. One rank computes the result, so it is equal on all ranks whatever the operation does.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` into every rank's ``recv``."""
    nbytes, others = len(send), range(1, ranks.size)
    if not nbytes:
        return
    if ranks.rank:
        yield Send(0, send)
        yield Recv(0, recv)
        return
    scratch = ranks.scratch(nbytes * len(others))
    parts = [scratch[at : at + nbytes] for at in range(0, len(scratch), nbytes)]
    if parts:
        yield [Recv(peer, part) for peer, part in zip(others, parts)]
    total = parts.pop() if parts else send
    for part in reversed(parts):
        kernel(part, total)
    if total is not send:
        kernel(send, total)
    if total is not recv:
        recv[:] = total
    if others:
        yield [Send(peer, recv) for peer in others]


def cost(size: int, nbytes: int) -> Frames:
    """All to rank 0, then all from there."""
    if not nbytes or size == 1:
        return NOTHING
    others = size - 1
    return Frames(2 * others, 2 * others * nbytes, 2, others * nbytes)
