"""Reduce on a board: small buffers by the root alone, of others each rank reduces a part.

Rules of this file:
- For ranks that share a board. ``send`` is only read; ``recv`` is None except at the root, where it may be ``send``.
- Keeps the rank order.
"""

from __future__ import annotations

from typing import Final

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.schedules import bounds
from fmi_mpi.coll.sharing import collect, fold_part, fold_views
from fmi_mpi.coll.steps import INLINE, NONE, Kernel, Ranks, Schedule, Share

ALONE: Final = 1 << 12
"""Bytes up to which the root reduces everything."""


def shared(ranks: Ranks, send: memoryview, recv: memoryview | None, kernel: Kernel, root: int) -> Schedule[None]:
    """Reduce all ranks' ``send`` into the root's ``recv``."""
    size, rank, nbytes = ranks.size, ranks.rank, len(send)
    if size == 1 and recv is not None and recv is not send:
        recv[:] = send
    if not nbytes or size == 1:
        return
    given = Share(send, None if rank == root or nbytes > ALONE else ())
    yield given
    if nbytes <= ALONE:
        if recv is not None:
            fold_views(given, range(size), recv, kernel)
        return
    cut = bounds(nbytes, size, kernel.granule)
    part = ranks.scratch(cut[rank + 1] - cut[rank])
    yield from fold_part(ranks, given, send, part, kernel, cut[rank])
    parts = Share(part, None if rank == root or nbytes > INLINE else (), -1)
    yield parts
    if recv is not None:
        yield from collect(parts, ((peer, recv[cut[peer] : cut[peer + 1]]) for peer in range(size)))
    if cut[1] > INLINE:
        yield Share(NONE, () if rank == root else (root,))


def cost(size: int, nbytes: int) -> Frames:
    """One round; or one to reduce the parts, one to collect them, and one if they are read from memory."""
    if not nbytes or size == 1:
        return NOTHING
    others = (size - 1) * nbytes
    if nbytes <= ALONE:
        return Frames(size, others, 1, others)
    part = nbytes // size
    rounds = 2 + (part > INLINE)
    return Frames(size * rounds, others + nbytes - part, rounds, 2 * (nbytes - part))
