"""Broadcast of a blob.

Rules of this file:
- ``blob`` is given at the root and ignored elsewhere. The result is None at the root: it has the object.
- A blob is forwarded as it arrived, not taken apart.
"""

from __future__ import annotations

from fmi_mpi.coll.objects.blobs import Blob, Received, receive
from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def binomial(ranks: Ranks, blob: Blob | None, root: int) -> Schedule[Received | None]:
    """Give the root's blob to all ranks along a binomial tree."""
    place = tree(ranks.size, ranks.rank, root)
    received: Received | None = None
    if place.parent >= 0:
        arriving = Recv(place.parent)
        yield arriving
        received = receive(arriving)
        blob = (received[0],), received[1]
    assert blob is not None
    parts, flags = blob
    if place.children:
        yield [Send(child, parts, flags) for child in place.children]
    return received
