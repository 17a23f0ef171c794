"""All-to-all of blobs.

Rules of this file:
- ``blobs`` has one blob per rank; the own one is not looked at.
- The result is a list with one received blob per rank, None for this one: it has the object.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.objects.blobs import Blob, Received, receive
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send, Step


def linear(ranks: Ranks, blobs: Sequence[Blob]) -> Schedule[list[Received | None]]:
    """Exchange blobs between all ranks, every message posted at once."""
    size, rank = ranks.size, ranks.rank
    steps: list[Step] = []
    arriving: dict[int, Recv] = {}
    for shift in range(1, size):
        target, source = (rank + shift) % size, (rank - shift) % size
        arriving[source] = Recv(source)
        steps += (Send(target, *blobs[target]), arriving[source])
    if steps:
        yield steps
    return [None if peer == rank else receive(arriving[peer]) for peer in range(size)]


def pairwise(ranks: Ranks, blobs: Sequence[Blob]) -> Schedule[list[Received | None]]:
    """Exchange blobs between all ranks in P-1 rounds, with one target and one source at a time."""
    size, rank = ranks.size, ranks.rank
    received: list[Received | None] = [None] * size
    for shift in range(1, size):
        target, source = (rank + shift) % size, (rank - shift) % size
        arriving = Recv(source)
        yield Send(target, *blobs[target]), arriving
        received[source] = receive(arriving)
    return received
