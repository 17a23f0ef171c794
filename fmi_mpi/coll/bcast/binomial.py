"""Broadcast along a binomial tree: the fewest rounds, every byte sent log2(P) times by the root.

Rules of this file:
- ``buf`` holds the data at the root and receives them elsewhere.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames, log_ceil, log_floor
from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def binomial(ranks: Ranks, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to all ranks' ``buf``."""
    place = tree(ranks.size, ranks.rank, root)
    if place.parent >= 0:
        yield Recv(place.parent, buf)
    if place.children:
        yield [Send(child, buf) for child in place.children]


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages; the root sends to log2(P) children at once, so the depth of the tree counts."""
    return Frames(size - 1, (size - 1) * nbytes, log_floor(size), log_ceil(size) * nbytes)
