"""All-to-all with every message posted at once. For medium blocks and few ranks.

Rules of this file:
- ``send`` and ``recv`` are buffers of P blocks in rank order and do not overlap.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step


def linear(ranks: Ranks, send: memoryview, recv: memoryview) -> Schedule[None]:
    """Send block i of ``send`` to rank i, and receive rank i's block for this one as block i of ``recv``."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(send) // size
    steps: list[Step] = []
    for shift in range(1, size):
        target, source = (rank + shift) % size, (rank - shift) % size
        steps += (
            Send(target, send[target * nbytes : (target + 1) * nbytes]),
            Recv(source, recv[source * nbytes : (source + 1) * nbytes]),
        )
    if steps:
        yield steps
    recv[rank * nbytes : (rank + 1) * nbytes] = send[rank * nbytes : (rank + 1) * nbytes]


def cost(size: int, nbytes: int) -> Frames:
    """Every rank sends P-1 blocks at once."""
    messages = size * (size - 1)
    return Frames(messages, messages * nbytes, min(size - 1, 1), (size - 1) * nbytes)
