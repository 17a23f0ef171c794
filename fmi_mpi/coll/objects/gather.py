"""Gather of blobs.

Rules of this file:
- The root gets a list with one received blob per rank, None for itself: it has the object. Other ranks get None.
- ``blob`` is ignored at the root.
"""

from __future__ import annotations

from fmi_mpi.coll.objects.blobs import Blob, Received, as_blob, pack, receive, unpack
from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send

Gathered = list[Received | None] | None


def linear(ranks: Ranks, blob: Blob | None, root: int) -> Schedule[Gathered]:
    """Collect all ranks' blobs at the root, each sent directly."""
    if ranks.rank != root:
        assert blob is not None
        parts, flags = blob
        yield Send(root, parts, flags)
        return None
    arriving = [None if peer == root else Recv(peer) for peer in range(ranks.size)]
    if ranks.size > 1:
        yield [step for step in arriving if step is not None]
    return [None if step is None else receive(step) for step in arriving]


def binomial(ranks: Ranks, blob: Blob | None, root: int) -> Schedule[Gathered]:
    """Collect all ranks' blobs at the root along a binomial tree, a subtree's blobs in one message."""
    size, rank = ranks.size, ranks.rank
    place = tree(size, rank, root)
    arriving = [Recv(child) for child in place.children]
    if arriving:
        yield arriving
    # A subtree's blobs are in the order of relative ranks; smaller subtrees come first.
    below = [received for step in reversed(arriving) for received in unpack(receive(step)[0])]
    if rank != root:
        assert blob is not None
        yield Send(place.parent, pack([blob, *map(as_blob, below)]))
        return None
    gathered: list[Received | None] = [None, *below]
    return gathered[size - root :] + gathered[: size - root]
