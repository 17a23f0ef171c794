"""Allreduce as reduce to rank 0 and broadcast: the fallback, right for every size and operation.

Rules of this file:
- Keeps the rank order. One rank computes the result, so it is equal on all ranks whatever the operation does.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
"""

from __future__ import annotations

from fmi_mpi.coll.bcast import binomial as down
from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.reduce import binomial as up
from fmi_mpi.coll.steps import Kernel, Ranks, Schedule


def reduce_bcast(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` into every rank's ``recv``."""
    if send:
        yield from up.binomial(ranks, send, recv, kernel, 0)
        yield from down.binomial(ranks, recv, 0)


def cost(size: int, nbytes: int) -> Frames:
    """Up the tree and down again."""
    if not nbytes:
        return NOTHING
    rise, fall = up.cost(size, nbytes), down.cost(size, nbytes)
    return Frames(2 * rise.messages, 2 * rise.nbytes, rise.rounds + fall.rounds, rise.busiest)
