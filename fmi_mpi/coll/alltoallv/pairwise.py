"""All-to-all of blocks of different lengths in P-1 rounds, each rank with one target and one source at a time.

Rules of this file:
- ``sends`` and ``recvs`` have one view per rank, anywhere in memory, not overlapping.
- A block of no bytes is not sent: sender and receiver agree on its length, and sparse exchanges are common.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step


def pairwise(ranks: Ranks, sends: Sequence[memoryview], recvs: Sequence[memoryview]) -> Schedule[None]:
    """Send ``sends[i]`` to rank i, and receive rank i's block for this one in ``recvs[i]``."""
    size, rank = ranks.size, ranks.rank
    recvs[rank][:] = sends[rank]
    for shift in range(1, size):
        target, source = (rank + shift) % size, (rank - shift) % size
        steps: list[Step] = []
        if sends[target]:
            steps.append(Send(target, sends[target]))
        if recvs[source]:
            steps.append(Recv(source, recvs[source]))
        if steps:
            yield steps


def cost(size: int, nbytes: int) -> Frames:
    """P-1 rounds in which every rank sends one block."""
    if not nbytes:
        return NOTHING
    messages = size * (size - 1)
    return Frames(messages, messages * nbytes, size - 1, (size - 1) * nbytes)
