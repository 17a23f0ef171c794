"""Broadcast along a chain in segments: every link carries the data once and all links work at the same time.

Rules of this file:
- ``buf`` holds the data at the root and receives them elsewhere; all ranks cut it at the same places.
- While one segment arrives, the one before it leaves.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send

SEGMENT = 128 << 10
"""Bytes sent at a time."""


def pipelined(ranks: Ranks, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to all ranks' ``buf``."""
    size, rank = ranks.size, ranks.rank
    segments = [buf[first : first + SEGMENT] for first in range(0, len(buf), SEGMENT)]
    right, left = (rank + 1) % size, (rank - 1) % size
    if size == 1:
        return
    if rank == root:
        for segment in segments:
            yield Send(right, segment)
        return
    last = right == root
    leaving: memoryview | None = None
    for segment in segments:
        if leaving is None:
            yield Recv(left, segment)
        else:
            yield Recv(left, segment), Send(right, leaving)
        if not last:
            leaving = segment
    if leaving is not None:
        yield Send(right, leaving)


def cost(size: int, nbytes: int) -> Frames:
    """P-1 links, each carrying all segments; the last segment arrives P-2 rounds after it left the root."""
    segments = -(-nbytes // SEGMENT)
    if size == 1 or not segments:
        return NOTHING
    return Frames((size - 1) * segments, (size - 1) * nbytes, size + segments - 2, nbytes)
