"""Allgather of blocks of different lengths, every rank sending to every other at once. For few ranks or tiny blocks.

Rules of this file:
- ``blocks`` has one view per rank, anywhere in memory; lengths are equal on all ranks. ``send`` None means that the own
  block is already in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step


def linear(ranks: Ranks, send: memoryview | None, blocks: Sequence[memoryview]) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``blocks``."""
    size, rank = ranks.size, ranks.rank
    if send is not None:
        blocks[rank][:] = send
    own = blocks[rank]
    steps: list[Step] = []
    for shift in range(1, size):
        source = rank - shift
        steps += (Send((rank + shift) % size, own), Recv(source % size, blocks[source]))
    if steps:
        yield steps


def cost(size: int, nbytes: int) -> Frames:
    """Every rank sends its block P-1 times at once."""
    messages, received = size * (size - 1), (size - 1) * nbytes
    return Frames(messages, received, min(size - 1, 1), nbytes - nbytes // size)
