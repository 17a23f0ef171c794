"""Allgather of blobs.

Rules of this file:
- The result is a list with one received blob per rank, None for this one: it has the object.
- Every blob arrives once at every rank, whatever the algorithm; they differ in the number of messages.
"""

from __future__ import annotations

from fmi_mpi.coll.objects.blobs import Blob, Received, as_blob, pack, receive, unpack
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, blob: Blob) -> Schedule[list[Received | None]]:
    """Collect all ranks' blobs on every rank, each sent directly. For few ranks."""
    size, rank = ranks.size, ranks.rank
    parts, flags = blob
    peers = [(rank + shift) % size for shift in range(1, size)]
    arriving = {peer: Recv(peer) for peer in peers}
    if peers:
        yield [*(Send(peer, parts, flags) for peer in peers), *arriving.values()]
    return [None if peer == rank else receive(arriving[peer]) for peer in range(size)]


def bruck(ranks: Ranks, blob: Blob) -> Schedule[list[Received | None]]:
    """Collect all ranks' blobs on every rank in log2(P) rounds, the blobs held so far in one message."""
    size, rank = ranks.size, ranks.rank
    circle: list[Received] = []  # the blobs of rank + 1, rank + 2, ...
    held = 1
    while held < size:
        leaving = [blob, *map(as_blob, circle)][: size - held]
        arriving = Recv((rank + held) % size)
        yield Send((rank - held) % size, pack(leaving)), arriving
        circle += unpack(receive(arriving)[0])
        held <<= 1
    gathered: list[Received | None] = [None, *circle]
    return gathered[size - rank :] + gathered[: size - rank]
