"""Neighbourhood collectives of blobs; the rules for neighbours are those of ``coll.neighbor.linear``.

Rules of this file:
- One blob per destination; allgather passes the same blob for each. The result has one blob per source, None where
  the source is negative (PROC_NULL).
- A blob sent to oneself is joined, so that it reads like any received one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from fmi_mpi.coll.objects.blobs import Blob, Received, receive
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step


def linear(
    ranks: Ranks,
    sources: Sequence[int],
    destinations: Sequence[int],
    blobs: Sequence[Blob],
    order: Sequence[int] | None = None,
) -> Schedule[list[Received | None]]:
    """Send ``blobs[i]`` to rank ``destinations[i]``, and receive one from each of ``sources``."""
    rank = ranks.rank
    steps: list[Step] = []
    own: deque[Received] = deque()
    received: list[Received | None] = [None] * len(sources)
    arriving: dict[int, Recv] = {}
    for target, (parts, flags) in zip(destinations, blobs):
        if target == rank:
            own.append((memoryview(bytearray().join(parts)), flags))
        elif target >= 0:
            steps.append(Send(target, parts, flags))
    for i in range(len(sources)) if order is None else order:
        source = sources[i]
        if source == rank:
            received[i] = own.popleft()
        elif source >= 0:
            arriving[i] = Recv(source)
            steps.append(arriving[i])
    if steps:
        yield steps
    for i, step in arriving.items():
        received[i] = receive(step)
    return received
