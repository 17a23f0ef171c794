"""Reduce over a store: the root gets and reduces what every other rank has put.

Rules of this file:
- ``send`` is only read; ``recv`` is None except at the root, where it may be ``send``.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import FREE, Requests
from fmi_mpi.coll.steps import Errands, Kernel, Put, Ranks, Schedule
from fmi_mpi.coll.via_store.folding import fold_got


def via_store(ranks: Ranks, send: memoryview, recv: memoryview | None, kernel: Kernel, root: int) -> Schedule[None]:
    """Reduce all ranks' ``send`` into the root's ``recv``."""
    if recv is None:
        if send:
            yield Errands(Put(send))
    elif send:
        yield from fold_got(ranks.rank, range(ranks.size), send, recv, kernel)


def cost(size: int, nbytes: int) -> Requests:
    """All puts at once, then all gets at once."""
    if not nbytes or size == 1:
        return FREE
    others = size - 1
    return Requests(others, others, 0, others * nbytes, others * nbytes, 2, others * nbytes, others, 1, others * nbytes)
