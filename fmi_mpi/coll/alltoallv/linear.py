"""All-to-all of blocks of different lengths, every message posted at once.

Rules of this file:
- ``sends`` and ``recvs`` have one view per rank, anywhere in memory, not overlapping.
- A block of no bytes is not sent: sender and receiver agree on its length, and sparse exchanges are common.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step


def linear(ranks: Ranks, sends: Sequence[memoryview], recvs: Sequence[memoryview]) -> Schedule[None]:
    """Send ``sends[i]`` to rank i, and receive rank i's block for this one in ``recvs[i]``."""
    size, rank = ranks.size, ranks.rank
    steps: list[Step] = []
    for shift in range(1, size):
        target, source = (rank + shift) % size, (rank - shift) % size
        if sends[target]:
            steps.append(Send(target, sends[target]))
        if recvs[source]:
            steps.append(Recv(source, recvs[source]))
    if steps:
        yield steps
    recvs[rank][:] = sends[rank]


def cost(size: int, nbytes: int) -> Frames:
    """Every rank sends P-1 blocks at once."""
    if not nbytes:
        return NOTHING
    messages = size * (size - 1)
    return Frames(messages, messages * nbytes, min(size - 1, 1), (size - 1) * nbytes)
