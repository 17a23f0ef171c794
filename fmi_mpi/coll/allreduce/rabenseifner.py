"""Allreduce as reduce-scatter by recursive halving and allgather by doubling (Rabenseifner 2004).

Rules of this file:
- For commutative operations. Any size, best for powers of two: the data of the ring in log2(P) instead of P rounds.
- ``send`` is the contribution and is only read; ``recv`` takes the result. In place: pass the same view twice.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames, log_floor
from fmi_mpi.coll.patterns import doubling, halving
from fmi_mpi.coll.schedules import bounds, fold
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def rabenseifner(ranks: Ranks, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce all ranks' ``send`` into every rank's ``recv``."""
    nbytes = len(send)
    if not nbytes:
        return
    power, _, place, partner, peers = fold(ranks.size, ranks.rank)
    if place < 0:
        yield Send(partner, send)
        yield Recv(partner, recv)
        return
    if partner >= 0:
        arriving = ranks.scratch(nbytes) if send is recv else recv
        yield Recv(partner, arriving)
        kernel(send if arriving is recv else arriving, recv)
    elif not peers and send is not recv:
        recv[:] = send
    cut = bounds(nbytes, power, kernel.granule)
    yield from halving(ranks, peers, place, cut, recv if partner >= 0 else send, recv, kernel)
    yield from doubling(peers, place, cut, recv)
    if partner >= 0:
        yield Send(partner, recv)


def cost(size: int, nbytes: int) -> Frames:
    """Fold onto a power of two p, log2(p) halvings, log2(p) doublings, unfold."""
    if not nbytes or size == 1:
        return NOTHING
    steps = log_floor(size)
    power = 1 << steps
    rest = size - power
    return Frames(
        2 * (power * steps + rest),
        2 * (power - 1 + rest) * nbytes,
        2 * (steps + (rest > 0)),
        2 * (nbytes - nbytes // power) + (rest > 0) * nbytes,
    )
