"""Broadcast over a store: one put, and a get by every other rank."""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import Errands, Get, Put, Ranks, Schedule


def via_store(ranks: Ranks, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to all ranks' ``buf``."""
    if not buf or ranks.size == 1:
        return
    if ranks.rank == root:
        yield Errands(Put(buf))
    else:
        yield Errands(Get(root, buf))


def cost(size: int, nbytes: int) -> Requests:
    """One put, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    return Requests(1, size - 1, 0, nbytes, (size - 1) * nbytes, 2, nbytes, 1)
