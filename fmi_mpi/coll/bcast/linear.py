"""Broadcast from the root to each rank directly: one round, all work at the root.

Rules of this file:
- ``buf`` holds the data at the root and receives them elsewhere.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to all ranks' ``buf``."""
    if ranks.rank != root:
        yield Recv(root, buf)
    elif ranks.size > 1:
        yield [Send(peer, buf) for peer in range(ranks.size) if peer != root]


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, all from the root."""
    return Frames(size - 1, (size - 1) * nbytes, min(size - 1, 1), (size - 1) * nbytes)
