"""Gather of blocks of different lengths: every rank sends to the root directly.

Rules of this file:
- ``blocks`` has one view per rank at the root, anywhere in memory, and is None elsewhere.
- ``send`` None at the root means that its block is already in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, send: memoryview | None, blocks: Sequence[memoryview] | None, root: int) -> Schedule[None]:
    """Collect all ranks' ``send`` in the root's ``blocks``."""
    if ranks.rank != root:
        assert send is not None
        yield Send(root, send)
        return
    assert blocks is not None
    if send is not None:
        blocks[root][:] = send
    if len(blocks) > 1:
        yield [Recv(peer, block) for peer, block in enumerate(blocks) if peer != root]


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, all to the root."""
    return Frames(size - 1, (size - 1) * nbytes, min(size - 1, 1), (size - 1) * nbytes)
