"""Collectives of Python objects between two groups.

Rules of this file:
- Blobs and values are as in ``coll.objects``; a received blob is forwarded as it arrived.
- Results have one entry per rank of the other group; they are None on ranks that receive nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fmi_mpi.coll.inter.groups import Groups, audience, within
from fmi_mpi.coll.objects.blobs import (
    Blob,
    Dumps,
    Loads,
    Received,
    as_blob,
    pack,
    receive,
    receive_value,
    send_value,
    unpack,
)
from fmi_mpi.coll.steps import PythonOp, Ranks, Recv, Schedule, Send, Step

__all__ = ["allgather", "allreduce", "alltoall", "bcast", "gather", "reduce", "scatter"]

_NOTHING: Blob = ((), 0)


def bcast(ranks: Ranks, groups: Groups, blob: Blob | None, root: int) -> Schedule[Received | None]:
    """Give the root's blob to all ranks of the other group."""
    received: Received | None = yield from within(ranks, audience(ranks, groups, root), "object_bcast", 0, blob, 0)
    return received


def gather(ranks: Ranks, groups: Groups, blob: Blob | None, root: int) -> Schedule[list[Received] | None]:
    """Collect the blobs of all ranks of the other group at the root."""
    gathered: list[Received] | None = yield from within(
        ranks, audience(ranks, groups, root), "object_gather", 0, blob, 0
    )
    return None if gathered is None else gathered[1:]


def scatter(ranks: Ranks, groups: Groups, blobs: Sequence[Blob] | None, root: int) -> Schedule[Received | None]:
    """Give each rank of the other group its one of the root's blobs."""
    leaving = None if blobs is None else (_NOTHING, *blobs)
    received: Received | None = yield from within(ranks, audience(ranks, groups, root), "object_scatter", 0, leaving, 0)
    return received


def allgather(ranks: Ranks, groups: Groups, blob: Blob) -> Schedule[list[Received]]:
    """Collect the blobs of all ranks of the other group on every rank."""
    local = groups.local
    gathered = yield from within(ranks, local, "object_gather", 0, blob, 0)
    together: Blob | None = None
    if gathered is not None:
        arriving = yield from _swap(groups, (pack([blob, *map(as_blob, gathered[1:])]), 0))
        together = as_blob(arriving)
    received = yield from within(ranks, local, "object_bcast", 0, together, 0)
    return unpack((arriving if received is None else received)[0])


def alltoall(ranks: Ranks, groups: Groups, blobs: Sequence[Blob]) -> Schedule[list[Received]]:
    """Send ``blobs[i]`` to rank i of the other group, and return what its ranks have for this one."""
    arriving = [Recv(peer) for peer in groups.remote]
    steps: list[Step] = [Send(peer, *blob) for peer, blob in zip(groups.remote, blobs)]
    yield [*steps, *arriving]
    return [receive(step) for step in arriving]


def reduce(
    ranks: Ranks, groups: Groups, value: Any, dumps: Dumps, loads: Loads, op: PythonOp, root: int
) -> Schedule[Any]:
    """Reduce the values of all ranks of the other group at the root."""
    if ranks.rank == root:
        return (yield from receive_value(groups.remote[0], loads))
    total = yield from within(ranks, groups.local, "object_reduce", 0, value, dumps, loads, op, 0)
    if ranks.rank == groups.local[0]:
        yield send_value(root, total, dumps)
    return None


def allreduce(ranks: Ranks, groups: Groups, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of all ranks of the other group on every rank."""
    local = groups.local
    total = yield from within(ranks, local, "object_reduce", 0, value, dumps, loads, op, 0)
    blob: Blob | None = None
    if ranks.rank == local[0]:
        arriving = yield from _swap(groups, dumps(total))
        blob = as_blob(arriving)
    received = yield from within(ranks, local, "object_bcast", 0, blob, 0)
    return loads(*(arriving if received is None else received))


def _swap(groups: Groups, blob: Blob) -> Schedule[Received]:
    """Exchange blobs with the leader of the other group."""
    leader = groups.remote[0]
    arriving = Recv(leader)
    yield Send(leader, *blob), arriving
    return receive(arriving)
