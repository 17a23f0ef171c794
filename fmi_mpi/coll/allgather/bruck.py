"""Allgather by Bruck's algorithm (1997): log2(P) rounds for any size. For small blocks.

Rules of this file:
- ``recv`` is one buffer of P blocks in rank order. ``send`` None means that the own block is already in place.
- Blocks stay at their final place: what wraps past the last rank leaves in two pieces, and arrives by a temporary.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames, log_ceil
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


def bruck(ranks: Ranks, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``recv``."""
    size, rank, total = ranks.size, ranks.rank, len(recv)
    nbytes = total // size
    if send is not None:
        recv[rank * nbytes : (rank + 1) * nbytes] = send
    held = 1
    while held < size:
        count = min(held, size - held) * nbytes
        target, source = (rank - held) % size, (rank + held) % size
        first = rank * nbytes
        leaving = recv[first : first + count]
        over = first + count - total
        out = Send(target, leaving if over <= 0 else [leaving, recv[:over]])
        first = source * nbytes
        over = first + count - total
        if over <= 0:
            yield out, Recv(source, recv[first : first + count])
        else:
            arriving = ranks.scratch(count)
            yield out, Recv(source, arriving)
            recv[first:] = arriving[: count - over]
            recv[:over] = arriving[count - over :]
        held <<= 1


def cost(size: int, nbytes: int) -> Frames:
    """log2(P) rounds; the blocks sent double with each."""
    rounds = log_ceil(size)
    return Frames(size * rounds, size * (size - 1) * nbytes, rounds, (size - 1) * nbytes)
