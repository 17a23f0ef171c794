"""Broadcast on a board: all ranks read what the root has put there, or shows in its own memory.

Rules of this file:
- For ranks that share a board. The root waits for nobody unless others read its own memory.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import INLINE, NONE, Fetch, Ranks, Schedule, Share


def shared(ranks: Ranks, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to all ranks' ``buf``."""
    nbytes = len(buf)
    if not nbytes or ranks.size == 1:
        return
    if ranks.rank == root:
        yield Share(buf, ())
        if nbytes > INLINE:
            yield Share()
        return
    share = Share(NONE, (root,), nbytes)
    yield share
    if nbytes <= INLINE:
        buf[:] = share.view(root)
    else:
        yield Fetch(share, root, 0, buf)
        yield Share(NONE, ())


def cost(size: int, nbytes: int) -> Frames:
    """One round, in which all but the root read; another if they read its memory."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 1 + (nbytes > INLINE)
    return Frames(size * rounds, (size - 1) * nbytes, rounds, (size - 1) * nbytes)
