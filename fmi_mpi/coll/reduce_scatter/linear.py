"""Reduce-scatter with every rank reducing its own block, strictly from the lowest rank to the highest.

Rules of this file:
- Keeps the rank order. Any size, any counts; as much temporary memory as P-1 blocks.
- ``send`` is the whole contribution and is only read; ``recv`` takes the own block and does not overlap ``send``.
- ``counts`` gives the bytes of every rank's block and is equal on all ranks.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.schedules import offsets
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send, Step


def linear(ranks: Ranks, send: memoryview, recv: memoryview, counts: tuple[int, ...], kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` and leave this rank's block of the result in ``recv``."""
    if not send:
        return
    size, rank = ranks.size, ranks.rank
    cut = offsets(counts)
    nbytes = counts[rank]
    recv[:] = send[cut[rank] : cut[rank + 1]]
    memory = ranks.scratch((size - 1) * nbytes)
    parts = [memory[i * nbytes : (i + 1) * nbytes] for i in range(size - 1)]
    parts.insert(rank, recv)
    steps: list[Step] = []
    for shift in range(1, size):
        target, source = (rank + shift) % size, (rank - shift) % size
        steps += (Send(target, send[cut[target] : cut[target + 1]]), Recv(source, parts[source]))
    if steps:
        yield steps
    total = parts[0]
    if nbytes:
        for part in parts[1:]:
            kernel(total, part)
            total = part
    if total is not recv:
        recv[:] = total


def cost(size: int, nbytes: int) -> Frames:
    """Every rank sends P-1 blocks at once."""
    if not nbytes:
        return NOTHING
    return Frames(size * (size - 1), (size - 1) * nbytes, min(size - 1, 1), nbytes - nbytes // size)
