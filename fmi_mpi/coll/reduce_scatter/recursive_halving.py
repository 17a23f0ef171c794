"""Reduce-scatter by recursive halving: log2(P) rounds, the least data for powers of two.

Rules of this file:
- For commutative operations. Other sizes are folded onto a power of two; a rank then reduces the block of the one
  folded into it as well and sends it back.
- ``send`` is the whole contribution and is only read; ``recv`` takes the own block and does not overlap ``send``.
- ``counts`` gives the bytes of every rank's block and is equal on all ranks.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames, log_floor
from fmi_mpi.coll.patterns import halving
from fmi_mpi.coll.schedules import fold, offsets
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def recursive_halving(
    ranks: Ranks, send: memoryview, recv: memoryview, counts: tuple[int, ...], kernel: Kernel
) -> Schedule[None]:
    """Reduce all ranks' ``send`` and leave this rank's block of the result in ``recv``."""
    if not send:
        return
    size, rank = ranks.size, ranks.rank
    _, rest, place, partner, peers = fold(size, rank)
    if place < 0:
        yield Send(partner, send)
        yield Recv(partner, recv)
        return
    blocks = offsets(counts)
    if not peers:
        recv[:] = send
        return
    # A place owns the two blocks of a folded pair, or one.
    cut = blocks[: 2 * rest : 2] + blocks[2 * rest :]
    work = ranks.scratch(len(send))
    if partner >= 0:
        yield Recv(partner, work)
        kernel(send, work)
        send = work
    yield from halving(ranks, peers, place, cut, send, work, kernel)
    recv[:] = work[blocks[rank] : blocks[rank + 1]]
    if partner >= 0:
        yield Send(partner, work[blocks[partner] : blocks[rank]])


def cost(size: int, nbytes: int) -> Frames:
    """Fold onto a power of two p, log2(p) halvings, unfold; the first place of a fold owns most."""
    if not nbytes or size == 1:
        return NOTHING
    steps = log_floor(size)
    power = 1 << steps
    rest = size - power
    block = nbytes // size
    kept = sum((1 << k) + min(rest, 1 << k) for k in range(steps)) * block
    return Frames(
        2 * rest + power * steps,
        (rest + power - 1) * nbytes + rest * block,
        steps + 2 * (rest > 0),
        kept + (rest > 0) * nbytes,
    )
