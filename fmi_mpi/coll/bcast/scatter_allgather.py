"""Broadcast as scatter and allgather (van de Geijn): about twice the data per rank, whatever the size.

Rules of this file:
- ``buf`` holds the data at the root and receives them elsewhere.
- Block i belongs to the rank i above the root, so that every subtree of the scatter is one range of ``buf``.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames, log_floor
from fmi_mpi.coll.patterns import circulate
from fmi_mpi.coll.schedules import bounds, tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


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
    yield from circulate((rank - 1) % size, (rank + 1) % size, place.relative, cut, buf)


def cost(size: int, nbytes: int) -> Frames:
    """A binomial scatter and a ring."""
    block = nbytes // size
    scattered = sum(tree(size, rank, 0).span for rank in range(1, size)) * block
    rounds = log_floor(size) + size - 1
    return Frames((size - 1) * (size + 1), scattered + (size - 1) * nbytes, rounds, 2 * (nbytes - block))
