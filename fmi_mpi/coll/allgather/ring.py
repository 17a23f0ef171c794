"""Allgather around a ring: every rank talks to its neighbours only. For large blocks.

Rules of this file:
- ``recv`` is one buffer of P blocks in rank order. ``send`` None means that the own block is already in place.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import Frames
from fmi_mpi.coll.patterns import circulate
from fmi_mpi.coll.schedules import bounds
from fmi_mpi.coll.steps import Ranks, Schedule


def ring(ranks: Ranks, send: memoryview | None, recv: memoryview) -> Schedule[None]:
    """Collect all ranks' ``send`` in every rank's ``recv``."""
    size, rank = ranks.size, ranks.rank
    cut = bounds(len(recv), size)
    if send is not None:
        recv[cut[rank] : cut[rank + 1]] = send
    yield from circulate((rank - 1) % size, (rank + 1) % size, rank, cut, recv)


def cost(size: int, nbytes: int) -> Frames:
    """P-1 rounds in which every rank sends one block."""
    messages = size * (size - 1)
    return Frames(messages, messages * nbytes, size - 1, (size - 1) * nbytes)
