"""Gather on a board: the root reads all ranks' blocks.

Rules of this file:
- For ranks that share a board. Nobody waits for the root unless it reads their own memory.
- ``recv`` is one buffer of P blocks at the root, in rank order, and None elsewhere.
- ``send`` None at the root means that its block is already in place.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.sharing import collect
from fmi_mpi.coll.steps import INLINE, NONE, Ranks, Schedule, Share


def shared(ranks: Ranks, send: memoryview | None, recv: memoryview | None, root: int) -> Schedule[None]:
    """Collect all ranks' ``send`` in the root's ``recv``."""
    size, rank = ranks.size, ranks.rank
    if recv is None:
        assert send is not None
        if send:
            yield Share(send, ())
        if len(send) > INLINE:
            yield Share(NONE, (root,))
        return
    nbytes = len(recv) // size
    if not nbytes:
        return
    others = [peer for peer in range(size) if peer != rank]
    if others:
        share = Share(NONE, others, nbytes)
        yield share
        yield from collect(share, ((peer, recv[peer * nbytes : (peer + 1) * nbytes]) for peer in others))
        if nbytes > INLINE:
            yield Share(NONE, ())
    if send is not None:
        recv[rank * nbytes : (rank + 1) * nbytes] = send


def cost(size: int, nbytes: int) -> Frames:
    """One round; another if the blocks are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 1 + (nbytes > INLINE)
    return Frames(size * rounds, (size - 1) * nbytes, rounds, (size - 1) * nbytes)
