"""Gather with every rank sending to the root directly.

Rules of this file:
- ``recv`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``send`` None at the root means that its block is already in place.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.gatherv import linear as gatherv
from fmi_mpi.coll.steps import Ranks, Schedule


def linear(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Collect all ranks' ``send`` in the root's ``recv``."""
    blocks: list[memoryview] | None = None
    if recv is not None:
        nbytes = len(recv) // ranks.size
        blocks = [recv[i * nbytes : (i + 1) * nbytes] for i in range(ranks.size)]
    yield from gatherv.linear(ranks, send, blocks, root)


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, all to the root."""
    return Frames(size - 1, (size - 1) * nbytes, min(size - 1, 1), (size - 1) * nbytes)
