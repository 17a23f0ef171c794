"""Gather along a binomial tree: few messages at the root, data of small blocks copied on the way.

Rules of this file:
- ``recv`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``send`` None at the root means that its block is already in place.
- A subtree is a range of ranks: it arrives at its place in ``recv``, unless it wraps past the last rank.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames, log_floor
from fmi_mpi.coll.schedules import Tree, tree
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def binomial(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Collect all ranks' ``send`` in the root's ``recv``."""
    size, rank = ranks.size, ranks.rank
    place = tree(size, rank, root)
    if rank == root:
        assert recv is not None
        yield from _collect(ranks, place, send, recv)
        return
    assert send is not None
    nbytes = len(send)
    if not place.children:
        yield Send(place.parent, send)
        return
    below = ranks.scratch((place.span - 1) * nbytes)
    first = place.relative + 1
    yield [
        Recv(child, below[(start - first) * nbytes : (start - first + span) * nbytes])
        for child, (start, span) in zip(place.children, place.branches)
    ]
    yield Send(place.parent, [send, below])


def _collect(ranks: Ranks, place: Tree, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    size, rank = ranks.size, ranks.rank
    nbytes = len(recv) // size
    if send is not None:
        recv[rank * nbytes : (rank + 1) * nbytes] = send
    steps: list[Recv] = []
    split, wrapped = 0, recv[:0]
    for child, (_, span) in zip(place.children, place.branches):
        end = (child + span) * nbytes
        if end <= len(recv):
            steps.append(Recv(child, recv[child * nbytes : end]))
        else:
            split, wrapped = child * nbytes, ranks.scratch(span * nbytes)
            steps.append(Recv(child, wrapped))
    if steps:
        yield steps
    if wrapped:
        until_end = len(recv) - split
        recv[split:] = wrapped[:until_end]
        recv[: len(wrapped) - until_end] = wrapped[until_end:]


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, each with the blocks of a subtree."""
    blocks = sum(tree(size, rank, 0).span for rank in range(1, size))
    return Frames(size - 1, blocks * nbytes, log_floor(size), (size - 1) * nbytes)
