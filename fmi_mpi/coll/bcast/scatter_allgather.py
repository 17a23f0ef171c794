"""Broadcast as scatter and allgather (van de Geijn): about twice the data per rank, whatever the size.

Rules of this file:
- ``buf`` holds the data at the root, where it is only read, and receives them elsewhere.
- Block i belongs to the rank i above the root, so that every subtree of the scatter is one range of ``buf``.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames, log_floor
from fmi_mpi.coll.schedules import bounds, tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step


def scatter_allgather(ranks: Ranks, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to all ranks' ``buf``."""
    size, rank = ranks.size, ranks.rank
    cut = bounds(len(buf), size)
    place = tree(size, rank, root)
    if place.parent >= 0:
        yield Recv(place.parent, buf[cut[place.relative] : cut[place.relative + place.span]])
    if place.children:
        yield [
            Send(child, buf[cut[first] : cut[first + span]])
            for child, (first, span) in zip(place.children, place.branches)
        ]
    # Around the ring blocks come in falling order, so those of the own subtree would come last: they are not sent.
    left, right = (rank - 1) % size, (rank + 1) % size
    receives, sends = size - place.span, size - tree(size, right, root).span
    block = place.relative
    for step in range(max(receives, sends)):
        steps: list[Step] = []
        if step < sends:
            steps.append(Send(right, buf[cut[block] : cut[block + 1]]))
        block = (block or size) - 1
        if step < receives:
            steps.append(Recv(left, buf[cut[block] : cut[block + 1]]))
        yield steps


def cost(size: int, nbytes: int) -> Frames:
    """A binomial scatter and a ring, every byte received once."""
    circling = sum(size - tree(size, rank, 0).span for rank in range(1, size))
    rounds = log_floor(size) + size - 1
    return Frames(size - 1 + circling, (size - 1) * nbytes, rounds, 2 * (nbytes - nbytes // size))
