"""Inclusive scan on a board: every rank reduces what the ranks below it have shared.

Rules of this file:
- For ranks that share a board.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.sharing import fold_fetched, fold_views
from fmi_mpi.coll.steps import INLINE, Kernel, Ranks, Schedule, Share


def shared(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce the ``send`` of the ranks up to this one into ``recv``."""
    rank, nbytes = ranks.rank, len(send)
    if not nbytes:
        return
    if ranks.size == 1:
        if send is not recv:
            recv[:] = send
        return
    lower = range(rank + 1)
    share = Share(send, lower)
    yield share
    if nbytes <= INLINE:
        fold_views(share, lower, recv, kernel)
        return
    total = ranks.scratch(nbytes)
    yield from fold_fetched(ranks, share, lower, total, kernel)
    yield Share()
    recv[:] = total


def cost(size: int, nbytes: int) -> Frames:
    """One round; another if the contributions are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 1 + (nbytes > INLINE)
    return Frames(size * rounds, size * (size - 1) // 2 * nbytes, rounds, (size - 1) * nbytes)
