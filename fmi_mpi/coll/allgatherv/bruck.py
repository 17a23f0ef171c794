"""Allgather of blocks of different lengths by Bruck's algorithm (1997): log2(P) rounds. For small blocks.

Rules of this file:
- ``blocks`` has one view per rank, anywhere in memory; lengths are equal on all ranks. ``send`` None means that the own
  block is already in place.
- Several blocks leave as one message of several views, and arrive by a temporary.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.cost import Frames, log_ceil
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def bruck(ranks: Ranks, send: memoryview | None, blocks: Sequence[memoryview]) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``blocks``."""
    size, rank = ranks.size, ranks.rank
    if send is not None:
        blocks[rank][:] = send
    circle = [*blocks[rank:], *blocks[:rank]]
    held = 1
    while held < size:
        arriving = circle[held : 2 * held]
        memory = ranks.scratch(sum(map(len, arriving)))
        yield (
            Send((rank - held) % size, circle[: len(arriving)]),
            Recv((rank + held) % size, memory),
        )
        first = 0
        for block in arriving:
            last = first + len(block)
            block[:] = memory[first:last]
            first = last
        held <<= 1


def cost(size: int, nbytes: int) -> Frames:
    """log2(P) rounds; the blocks sent double with each."""
    rounds = log_ceil(size)
    return Frames(size * rounds, (size - 1) * nbytes, rounds, nbytes - nbytes // size)
