"""Collectives between a root and all ranks of the other group.

Rules of this file:
- Gathering and scattering are direct: the root's blocks may lie anywhere in memory and are sent and received in place.
- What only the root or only the other group gives is None where it is not given.
- In reduce the other group reduces first, and its leader hands the result over.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.inter.groups import Groups, audience, within
from fmi_mpi.coll.steps import NONE, Kernel, Ranks, Recv, Schedule, Send

__all__ = ["bcast", "gather", "reduce", "scatter"]


def bcast(ranks: Ranks, groups: Groups, buf: memoryview, root: int) -> Schedule[None]:
    """Copy the root's ``buf`` to the ``buf`` of all ranks of the other group."""
    yield from within(ranks, audience(ranks, groups, root), "bcast", len(buf), buf, 0)


def gather(
    ranks: Ranks, groups: Groups, send: memoryview | None, blocks: Sequence[memoryview] | None, root: int
) -> Schedule[None]:
    """Collect ``send`` of all ranks of the other group in the root's ``blocks``."""
    places = None if blocks is None else (NONE, *blocks)
    yield from within(ranks, audience(ranks, groups, root), "gatherv", 0, send, places, 0)


def scatter(
    ranks: Ranks, groups: Groups, blocks: Sequence[memoryview] | None, recv: memoryview | None, root: int
) -> Schedule[None]:
    """Give each rank of the other group one of the root's ``blocks`` in ``recv``."""
    sends = None if blocks is None else (NONE, *blocks)
    yield from within(ranks, audience(ranks, groups, root), "scatterv", 0, sends, recv, 0)


def reduce(
    ranks: Ranks, groups: Groups, send: memoryview | None, recv: memoryview | None, kernel: Kernel, root: int
) -> Schedule[None]:
    """Reduce ``send`` of all ranks of the other group into the root's ``recv``."""
    if ranks.rank == root:
        if recv:
            yield Recv(groups.remote[0], recv)
        return
    assert send is not None
    local, nbytes = groups.local, len(send)
    if not nbytes:
        return
    leads = ranks.rank == local[0]
    total = ranks.scratch(nbytes) if leads else None
    yield from within(ranks, local, "reduce", nbytes, send, total, kernel, 0, commutative=kernel.commutative)
    if total is not None:
        yield Send(root, total)
