"""Reduce as reduce-scatter by recursive halving and gather (Rabenseifner 2004): about twice the data per rank.

Rules of this file:
- For commutative operations.
- ``send`` is the contribution and is only read; ``recv`` takes the result at the root, is unused elsewhere and may be
  None there. In place at the root: pass the same view twice.
- Ranks count from the root, shifted so that the root is never one of those folded away and is at place 0.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames, log_floor
from fmi_mpi.coll.patterns import halving
from fmi_mpi.coll.schedules import bounds, fold
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def rabenseifner(ranks: Ranks, send: memoryview, recv: memoryview | None, kernel: Kernel, root: int) -> Schedule[None]:
    """Reduce all ranks' ``send`` into the root's ``recv``."""
    nbytes, size, rank = len(send), ranks.size, ranks.rank
    if not nbytes:
        return
    base = root - 1 if size & (size - 1) else root
    power, _, place, partner, others = fold(size, (rank - base) % size)
    if place < 0:
        yield Send((partner + base) % size, send)
        return
    peers = [(other + base) % size for other in others]
    work = recv if rank == root and recv is not None else ranks.scratch(nbytes)
    if partner >= 0:
        arriving = ranks.scratch(nbytes) if send is work else work
        yield Recv((partner + base) % size, arriving)
        kernel(send if arriving is work else arriving, work)
        send = work
    cut = bounds(nbytes, power, kernel.granule)
    yield from halving(ranks, peers, place, cut, send, work, kernel)
    width = 1
    for peer in peers:
        if place & width:
            yield Send(peer, work[cut[place] : cut[place + width]])
            return
        yield Recv(peer, work[cut[place + width] : cut[place + 2 * width]])
        width <<= 1
    if size == 1 and send is not work:
        work[:] = send


def cost(size: int, nbytes: int) -> Frames:
    """Fold onto a power of two p, then log2(p) halvings and log2(p) rounds of gathering."""
    if not nbytes or size == 1:
        return NOTHING
    steps = log_floor(size)
    power = 1 << steps
    rest = size - power
    return Frames(
        rest + power * steps + power - 1,
        rest * nbytes + (power - 1) * nbytes + nbytes * steps // 2,
        2 * steps + (rest > 0),
        2 * (nbytes - nbytes // power) + (rest > 0) * nbytes,
    )
