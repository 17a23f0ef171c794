"""Scatter on a board: every rank reads its block of what the root has shared.

Rules of this file:
- For ranks that share a board. The root waits for nobody unless others read its own memory.
- ``send`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``recv`` None at the root means that its block stays where it is.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import INLINE, NONE, Fetch, Ranks, Schedule, Share


def shared(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Give block i of the root's ``send`` to rank i as ``recv``."""
    size, rank = ranks.size, ranks.rank
    if send is None:
        assert recv is not None
        nbytes = len(recv)
        if nbytes:
            share = Share(NONE, (root,), nbytes * size)
            yield share
            yield Fetch(share, root, rank * nbytes, recv)
            if nbytes * size > INLINE:
                yield Share(NONE, ())
        return
    if send and size > 1:
        yield Share(send, ())
    if recv is not None:
        recv[:] = send[rank * len(recv) : (rank + 1) * len(recv)]
    if size > 1 and len(send) > INLINE:
        yield Share()


def cost(size: int, nbytes: int) -> Frames:
    """One round; another if the blocks are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 1 + (size * nbytes > INLINE)
    return Frames(size * rounds, (size - 1) * nbytes, rounds, (size - 1) * nbytes)
