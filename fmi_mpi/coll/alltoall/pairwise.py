"""All-to-all in P-1 rounds, each rank with one target and one source at a time. For large blocks.

Rules of this file:
- ``send`` and ``recv`` are buffers of P blocks in rank order and do not overlap.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def pairwise(ranks: Ranks, send: memoryview, recv: memoryview) -> Schedule[None]:
    """Send block i of ``send`` to rank i, and receive rank i's block for this one as block i of ``recv``."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(send) // size
    recv[rank * nbytes : (rank + 1) * nbytes] = send[rank * nbytes : (rank + 1) * nbytes]
    for shift in range(1, size):
        target, source = (rank + shift) % size, (rank - shift) % size
        yield (
            Send(target, send[target * nbytes : (target + 1) * nbytes]),
            Recv(source, recv[source * nbytes : (source + 1) * nbytes]),
        )


def cost(size: int, nbytes: int) -> Frames:
    """P-1 rounds in which every rank sends one block."""
    messages = size * (size - 1)
    return Frames(messages, messages * nbytes, size - 1, (size - 1) * nbytes)
