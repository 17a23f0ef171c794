"""Allgather of blocks of different lengths around a ring.

Rules of this file:
- ``blocks`` has one view per rank, anywhere in memory; lengths are equal on all ranks. ``send`` None means that the own
  block is already in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def ring(ranks: Ranks, send: memoryview | None, blocks: Sequence[memoryview]) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``blocks``."""
    size, rank = ranks.size, ranks.rank
    if send is not None:
        blocks[rank][:] = send
    left, right = (rank - 1) % size, (rank + 1) % size
    for step in range(size - 1):
        yield Send(right, blocks[rank - step]), Recv(left, blocks[rank - step - 1])


def cost(size: int, nbytes: int) -> Frames:
    """P-1 rounds in which every rank sends one block."""
    return Frames(size * (size - 1), (size - 1) * nbytes, size - 1, nbytes - nbytes // size)
