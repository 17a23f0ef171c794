"""Scatter along a binomial tree: few messages at the root, data of small blocks copied on the way.

Rules of this file:
- ``send`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``recv`` None at the root means that its block stays where it is.
- A subtree is a range of ranks: it leaves from its place in ``send``, in two pieces if it wraps past the last rank.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames, log_floor
from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def binomial(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Give every rank its block of the root's ``send``."""
    size, rank = ranks.size, ranks.rank
    place = tree(size, rank, root)
    steps: list[Send] = []
    if rank == root:
        assert send is not None
        nbytes = len(send) // size
        for child, (_, span) in zip(place.children, place.branches):
            first, last = child * nbytes, (child + span) * nbytes
            piece = send[first:last]
            steps.append(Send(child, piece if last <= len(send) else [piece, send[: last - len(send)]]))
        if steps:
            yield steps
        if recv is not None:
            recv[:] = send[rank * nbytes : (rank + 1) * nbytes]
        return
    assert recv is not None
    if not place.children:
        yield Recv(place.parent, recv)
        return
    nbytes = len(recv)
    subtree = ranks.scratch(place.span * nbytes)
    yield Recv(place.parent, subtree)
    for child, (start, span) in zip(place.children, place.branches):
        first = (start - place.relative) * nbytes
        steps.append(Send(child, subtree[first : first + span * nbytes]))
    yield steps
    recv[:] = subtree[:nbytes]


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, each with the blocks of a subtree."""
    blocks = sum(tree(size, rank, 0).span for rank in range(1, size))
    return Frames(size - 1, blocks * nbytes, log_floor(size), (size - 1) * nbytes)
