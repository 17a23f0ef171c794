"""Reduce-scatter on a board: each rank reduces its block of what all have shared.

Rules of this file:
- For ranks that share a board. Keeps the rank order.
- ``send`` is the whole contribution and is only read; ``recv`` takes the own block and does not overlap ``send``.
- ``counts`` gives the bytes of every rank's block and is equal on all ranks.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.schedules import offsets
from fmi_mpi.coll.sharing import fold_part
from fmi_mpi.coll.steps import INLINE, Kernel, Ranks, Schedule, Share


def shared(ranks: Ranks, send: memoryview, recv: memoryview, counts: tuple[int, ...], kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` and leave this rank's block of the result in ``recv``."""
    if not send:
        return
    start = offsets(counts)[ranks.rank]
    if ranks.size == 1:
        recv[:] = send
        return
    share = Share(send)
    yield share
    yield from fold_part(ranks, share, send, recv, kernel, start)
    if len(send) > INLINE:
        yield Share()


def cost(size: int, nbytes: int) -> Frames:
    """One round; another if the contributions are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    rounds = 1 + (nbytes > INLINE)
    return Frames(size * rounds, (size - 1) * nbytes, rounds, nbytes - nbytes // size)
