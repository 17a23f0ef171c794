"""All-to-all on a board: every rank reads its block of what each other has shared.

Rules of this file:
- For ranks that share a board. ``send`` and ``recv`` are buffers of P blocks in rank order and do not overlap.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import INLINE, Fetch, Ranks, Schedule, Share


def shared(ranks: Ranks, send: memoryview, recv: memoryview) -> Schedule[None]:
    """Send block i of ``send`` to rank i, and receive rank i's block for this one as block i of ``recv``."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(send) // size
    if not nbytes:
        return
    start, stop = rank * nbytes, (rank + 1) * nbytes
    if size > 1:
        share = Share(send)
        yield share
        for peer in (*range(rank + 1, size), *range(rank)):
            into = recv[peer * nbytes : (peer + 1) * nbytes]
            if len(send) <= INLINE:
                into[:] = share.view(peer, start, stop)
            else:
                yield Fetch(share, peer, start, into)
    recv[start:stop] = send[start:stop]
    if size > 1 and len(send) > INLINE:
        yield Share()


def cost(size: int, nbytes: int) -> Frames:
    """One round; another if the blocks are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 1 + (size * nbytes > INLINE)
    return Frames(size * rounds, size * (size - 1) * nbytes, rounds, (size - 1) * nbytes)
