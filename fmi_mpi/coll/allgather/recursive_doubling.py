"""Allgather by recursive doubling: log2(P) rounds, each received at its place. For powers of two.

Rules of this file:
- ``recv`` is one buffer of P blocks in rank order. ``send`` None means that the own block is already in place.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames, log_floor
from fmi_mpi.coll.patterns import doubling
from fmi_mpi.coll.schedules import bounds, fold
from fmi_mpi.coll.steps import Ranks, Schedule


def recursive_doubling(ranks: Ranks, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``recv``."""
    size, rank = ranks.size, ranks.rank
    cut = bounds(len(recv), size)
    if send is not None:
        recv[cut[rank] : cut[rank + 1]] = send
    yield from doubling(fold(size, rank).peers, rank, cut, recv)


def cost(size: int, nbytes: int) -> Frames:
    """log2(P) rounds; the blocks sent double with each."""
    steps = log_floor(size)
    return Frames(size * steps, size * (size - 1) * nbytes, steps, (size - 1) * nbytes)
