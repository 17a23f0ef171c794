"""Barrier by dissemination (Hensgen, Finkel, Manber 1988): in round k every rank signals the one 2**k above it.

Rules of this file:
- Any size. No rank leaves before every rank has entered.
"""

from __future__ import annotations

from functools import lru_cache

from fmi_mpi.coll.cost import Frames, log_ceil
from fmi_mpi.coll.steps import NONE, Ranks, Recv, Schedule, Send


@lru_cache(maxsize=4096)
def _rounds(size: int, rank: int) -> tuple[tuple[int, int], ...]:
    return tuple(((rank + (1 << k)) % size, (rank - (1 << k)) % size) for k in range(log_ceil(size)))


def dissemination(ranks: Ranks) -> Schedule[None]:
    """Wait until all ranks have come here."""
    for above, below in _rounds(ranks.size, ranks.rank):
        yield Send(above, NONE), Recv(below, NONE)


def cost(size: int, nbytes: int) -> Frames:
    """log2(P) rounds of P empty messages."""
    rounds = log_ceil(size)
    return Frames(size * rounds, 0, rounds, 0)
