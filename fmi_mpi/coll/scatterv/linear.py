"""Scatter of blocks of different lengths: the root sends to every rank directly.

Rules of this file:
- ``blocks`` has one view per rank at the root, anywhere in memory, and is None elsewhere.
- ``recv`` None at the root means that its block stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, blocks: Sequence[memoryview] | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Give every rank its one of the root's ``blocks``."""
    if ranks.rank != root:
        assert recv is not None
        yield Recv(root, recv)
        return
    assert blocks is not None
    if len(blocks) > 1:
        yield [Send(peer, block) for peer, block in enumerate(blocks) if peer != root]
    if recv is not None:
        recv[:] = blocks[root]


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, all from the root."""
    return Frames(size - 1, (size - 1) * nbytes, min(size - 1, 1), (size - 1) * nbytes)
