"""Neighbourhood collectives: every message posted at once, for all forms of neighbor allgather and alltoall.

Rules of this file:
- One view per neighbour, anywhere in memory, not overlapping; allgather passes the same view for every destination.
- A negative neighbour (PROC_NULL) takes no part and its block is left alone.
- A rank may be a neighbour several times, or its own. What it sends to one rank is received in the order of the
  receiver's list, unless ``order`` says otherwise: Cartesian topologies pair a block sent down a dimension with the
  one received from above (MPI 4.1, 8.7), which matters where both neighbours are the same rank.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step

__all__ = ["cartesian_order", "linear"]


@lru_cache(maxsize=64)
def cartesian_order(dimensions: int) -> tuple[int, ...]:
    """Return the order in which a Cartesian topology receives: from above, then from below, in each dimension."""
    return tuple(i ^ 1 for i in range(2 * dimensions))


def linear(
    ranks: Ranks,
    sources: Sequence[int],
    destinations: Sequence[int],
    sends: Sequence[memoryview],
    recvs: Sequence[memoryview],
    order: Sequence[int] | None = None,
) -> Schedule[None]:
    """Send ``sends[i]`` to rank ``destinations[i]``, and receive from rank ``sources[i]`` in ``recvs[i]``."""
    rank = ranks.rank
    steps: list[Step] = []
    own: deque[memoryview] = deque()
    for target, block in zip(destinations, sends):
        if target == rank:
            own.append(block)
        elif target >= 0:
            steps.append(Send(target, block))
    for i in range(len(sources)) if order is None else order:
        source = sources[i]
        if source == rank:
            recvs[i][:] = own.popleft()
        elif source >= 0:
            steps.append(Recv(source, recvs[i]))
    if steps:
        yield steps


def cost(size: int, nbytes: int) -> Frames:
    """Blocks of ``nbytes`` on a ring, that is, with the rank below and the rank above as neighbours."""
    if size == 1:
        return NOTHING
    return Frames(2 * size, 2 * size * nbytes, 1, 2 * nbytes)
