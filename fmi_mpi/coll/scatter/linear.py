"""Scatter with the root sending to every rank directly.

Rules of this file:
- ``send`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``recv`` None at the root means that its block stays where it is.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.scatterv import linear as scatterv
from fmi_mpi.coll.steps import Ranks, Schedule


def linear(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Give every rank its block of the root's ``send``."""
    blocks: list[memoryview] | None = None
    if send is not None:
        nbytes = len(send) // ranks.size
        blocks = [send[i * nbytes : (i + 1) * nbytes] for i in range(ranks.size)]
    yield from scatterv.linear(ranks, blocks, recv, root)


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, all from the root."""
    return Frames(size - 1, (size - 1) * nbytes, min(size - 1, 1), (size - 1) * nbytes)
