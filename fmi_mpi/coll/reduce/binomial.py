"""Reduce along a binomial tree, keeping the rank order where the operation asks for it.

Rules of this file:
- ``send`` is the contribution and is only read; ``recv`` takes the result at the root, is unused elsewhere and may be
  None there. In place at the root: pass the same view twice.
- A child covers the ranks above its parent's, so ``accumulated op arriving`` is the rank order; the result of
  the kernel lands in the buffer that arrived, and no contribution is ever copied.
- Non-commutative operations reduce to rank 0, which hands the result to the root.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames, log_ceil, log_floor
from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def binomial(ranks: Ranks, send: memoryview, recv: memoryview | None, kernel: Kernel, root: int) -> Schedule[None]:
    """Reduce all ranks' ``send`` into the root's ``recv``."""
    nbytes, rank = len(send), ranks.rank
    if not nbytes:
        return
    top = root if kernel.commutative else 0
    place = tree(ranks.size, rank, top)
    out = recv if rank == root else None
    result = yield from _climb(ranks, send, out if rank == top else None, kernel, place.children[::-1])
    if place.parent >= 0:
        yield Send(place.parent, result)
    elif rank != root:
        yield Send(root, result)
    if out is not None:
        if rank != top:
            yield Recv(top, out)
        elif result is not out:
            out[:] = result


def _climb(
    ranks: Ranks, send: memoryview, out: memoryview | None, kernel: Kernel, children: tuple[int, ...]
) -> Schedule[memoryview]:
    """Add the children's results to ``send``; the sum ends in ``out`` if that is possible without a copy."""
    nbytes = len(send)
    if send is out and kernel.commutative and children:
        spare = ranks.scratch(nbytes)
        for child in children:
            yield Recv(child, spare)
            kernel(spare, out)
        return out
    if out is None or (send is out and len(children) % 2):
        out = ranks.scratch(nbytes) if children else send
    other = ranks.scratch(nbytes) if len(children) > 1 else out
    # The two buffers take turns so that the last arrival, and with it the sum, is in ``out``.
    arriving, waiting = (out, other) if len(children) % 2 else (other, out)
    total = send
    for child in children:
        yield Recv(child, arriving)
        kernel(total, arriving)
        total, arriving, waiting = arriving, waiting, arriving
    return total


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages up a tree; the root takes one from each of log2(P) children."""
    if not nbytes:
        return NOTHING
    return Frames(size - 1, (size - 1) * nbytes, log_floor(size), log_ceil(size) * nbytes)
