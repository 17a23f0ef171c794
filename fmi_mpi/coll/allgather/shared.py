"""Allgather on a board: every rank reads all others' blocks.

Rules of this file:
- For ranks that share a board.
- ``recv`` is one buffer of P blocks in rank order. ``send`` None means that the own block is already in place.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.sharing import collect
from fmi_mpi.coll.steps import INLINE, Ranks, Schedule, Share


def shared(ranks: Ranks, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``recv``."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(recv) // size
    if not nbytes:
        return
    own = recv[rank * nbytes : (rank + 1) * nbytes]
    if size > 1:
        share = Share(own if send is None else send)
        yield share
        others = (*range(rank + 1, size), *range(rank))
        if nbytes <= INLINE:
            for peer in others:
                recv[peer * nbytes : (peer + 1) * nbytes] = share.view(peer)
        else:
            yield from collect(share, ((peer, recv[peer * nbytes : (peer + 1) * nbytes]) for peer in others))
    if send is not None:
        own[:] = send
    if size > 1 and nbytes > INLINE:
        yield Share()


def cost(size: int, nbytes: int) -> Frames:
    """One round; another if the blocks are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 1 + (nbytes > INLINE)
    return Frames(size * rounds, size * (size - 1) * nbytes, rounds, (size - 1) * nbytes)
