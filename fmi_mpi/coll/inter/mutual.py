"""Collectives in which each group receives what the other one gives.

Rules of this file:
- Each group gathers or reduces to its leader, the leaders exchange, and each group hands out what has come.
- Blocks of different lengths go to the other group's leader directly: their own group does not know the lengths.
- In all-to-all a block of no bytes is not sent: sender and receiver agree on its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fmi_mpi.coll.inter.groups import Groups, within
from fmi_mpi.coll.schedules import offsets
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send, Step

__all__ = ["allgather", "allgatherv", "allreduce", "alltoall", "reduce_scatter"]


def allgather(ranks: Ranks, groups: Groups, send: memoryview, recv: memoryview) -> Schedule[None]:
    """Collect ``send`` of all ranks of the other group in ``recv``."""
    local, leader = groups.local, groups.remote[0]
    nbytes = len(send)
    leads = ranks.rank == local[0]
    gathered = ranks.scratch(nbytes * len(local)) if leads else None
    yield from within(ranks, local, "gather", nbytes, send, gathered, 0)
    if gathered is not None:
        yield Send(leader, gathered), Recv(leader, recv)
    yield from within(ranks, local, "bcast", len(recv), recv, 0)


def allgatherv(ranks: Ranks, groups: Groups, send: memoryview, blocks: Sequence[memoryview]) -> Schedule[None]:
    """Collect ``send`` of all ranks of the other group in ``blocks``."""
    local, remote = groups.local, groups.remote
    leads, alone = ranks.rank == local[0], len(local) == 1
    steps: list[Step] = [Send(remote[0], send)]
    parts = blocks
    if not alone:
        cut = offsets(tuple(map(len, blocks)))
        whole = ranks.scratch(cut[-1])
        parts = [whole[first:last] for first, last in pairwise(cut)]
    if leads:
        steps += [Recv(peer, part) for peer, part in zip(remote, parts)]
    yield steps
    if alone:
        return
    yield from within(ranks, local, "bcast", len(whole), whole, 0)
    for block, part in zip(blocks, parts):
        block[:] = part


def alltoall(ranks: Ranks, groups: Groups, sends: Sequence[memoryview], recvs: Sequence[memoryview]) -> Schedule[None]:
    """Send ``sends[i]`` to rank i of the other group, and receive its block for this one in ``recvs[i]``."""
    steps: list[Step] = []
    for peer, leaving, arriving in zip(groups.remote, sends, recvs):
        if leaving:
            steps.append(Send(peer, leaving))
        if arriving:
            steps.append(Recv(peer, arriving))
    if steps:
        yield steps


def allreduce(ranks: Ranks, groups: Groups, send: memoryview, recv: memoryview, kernel: Kernel) -> Schedule[None]:
    """Reduce ``send`` of all ranks of the other group into every rank's ``recv``."""
    if not send:
        return
    yield from _exchange_totals(ranks, groups, send, recv, kernel)
    yield from within(ranks, groups.local, "bcast", len(recv), recv, 0)


def reduce_scatter(
    ranks: Ranks, groups: Groups, send: memoryview, recv: memoryview, counts: tuple[int, ...], kernel: Kernel
) -> Schedule[None]:
    """Reduce ``send`` of all ranks of the other group and leave this rank's block of the result in ``recv``.

    ``counts`` gives the bytes of every block of the own group; their sum is ``send``'s length, and the same in both.
    """
    if not send:
        return
    local = groups.local
    total = ranks.scratch(len(send)) if ranks.rank == local[0] else None
    yield from _exchange_totals(ranks, groups, send, total, kernel)
    blocks = None
    if total is not None:
        cut = offsets(counts)
        blocks = [total[first:last] for first, last in pairwise(cut)]
    yield from within(ranks, local, "scatterv", 0, blocks, recv, 0)


def _exchange_totals(
    ranks: Ranks, groups: Groups, send: memoryview, total: memoryview | None, kernel: Kernel
) -> Schedule[None]:
    """Reduce within the own group, and leave the other group's result in the leader's ``total``."""
    local, leader = groups.local, groups.remote[0]
    nbytes = len(send)
    leads = ranks.rank == local[0]
    own = ranks.scratch(nbytes) if leads else None
    yield from within(ranks, local, "reduce", nbytes, send, own, kernel, 0, commutative=kernel.commutative)
    if own is not None:
        yield Send(leader, own), Recv(leader, total)
