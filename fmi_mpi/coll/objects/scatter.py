"""Scatter of blobs.

Rules of this file:
- ``blobs`` has one blob per rank at the root (its own is not looked at) and is None elsewhere.
- The result is the received blob; None at the root: it has the object.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.objects.blobs import Blob, Received, as_blob, pack, receive, unpack
from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, blobs: Sequence[Blob] | None, root: int) -> Schedule[Received | None]:
    """Give every rank its one of the root's blobs, each sent directly."""
    if ranks.rank != root:
        arriving = Recv(root)
        yield arriving
        return receive(arriving)
    assert blobs is not None
    if len(blobs) > 1:
        yield [Send(peer, parts, flags) for peer, (parts, flags) in enumerate(blobs) if peer != root]
    return None


def binomial(ranks: Ranks, blobs: Sequence[Blob] | None, root: int) -> Schedule[Received | None]:
    """Give every rank its one of the root's blobs along a binomial tree, a subtree's blobs in one message."""
    size, rank = ranks.size, ranks.rank
    place = tree(size, rank, root)
    own: Received | None = None
    if rank == root:
        assert blobs is not None
        subtree = [*blobs[root:], *blobs[:root]]
    else:
        arriving = Recv(place.parent)
        yield arriving
        received = unpack(receive(arriving)[0])
        own = received[0]
        subtree = list(map(as_blob, received))
    if place.children:
        starts = [(start - place.relative, span) for start, span in place.branches]
        yield [Send(child, pack(subtree[start : start + span])) for child, (start, span) in zip(place.children, starts)]
    return own
