"""Allreduce on a board: small buffers by every rank for itself, of others each rank reduces a part for all.

Rules of this file:
- For ranks that share a board. Keeps the rank order; results are equal on all ranks.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
"""

from __future__ import annotations

from typing import Final

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.schedules import bounds
from fmi_mpi.coll.sharing import collect, fold_part, fold_views
from fmi_mpi.coll.steps import INLINE, Kernel, Ranks, Schedule, Share

ALONE: Final = 1 << 12
"""Bytes up to which every rank reduces everything."""


def shared(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` into every rank's ``recv``."""
    size, rank, nbytes = ranks.size, ranks.rank, len(send)
    if size == 1 and recv is not send:
        recv[:] = send
    if not nbytes or size == 1:
        return
    given = Share(send)
    yield given
    if nbytes <= ALONE:
        fold_views(given, range(size), recv, kernel)
        return
    cut = bounds(nbytes, size, kernel.granule)
    part = recv[cut[rank] : cut[rank + 1]]
    yield from fold_part(ranks, given, send, part, kernel, cut[rank])
    parts = Share(part, None, -1)
    yield parts
    others = (*range(rank + 1, size), *range(rank))
    yield from collect(parts, ((peer, recv[cut[peer] : cut[peer + 1]]) for peer in others))
    if cut[1] > INLINE:
        yield Share()


def cost(size: int, nbytes: int) -> Frames:
    """One round; or one to reduce the parts, one to collect them, and one if they are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    if nbytes <= ALONE:
        return Frames(size, size * (size - 1) * nbytes, 1, (size - 1) * nbytes)
    part = nbytes // size
    rounds = 2 + (part > INLINE)
    return Frames(size * rounds, 2 * (size - 1) * nbytes, rounds, 2 * (nbytes - part))
