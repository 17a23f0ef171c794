"""Collectives of objects over a store.

Rules of this file:
- A block is eight bytes of flags and a blob. Where a rank puts blobs for several others, an index of their lengths is
  the object's first block.
- Reductions apply the operation from the lowest rank up, in the same grouping wherever it is computed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import reduce as fold
from typing import Any, Final

from fmi_mpi.coll.objects.blobs import Blob, Dumps, Loads, Received
from fmi_mpi.coll.steps import Errand, Errands, Get, Put, PythonOp, Ranks, Schedule

__all__ = ["allgather", "allreduce", "alltoall", "bcast", "exscan", "gather", "reduce", "scan", "scatter"]

_FLAGS: Final = struct.Struct("<Q")


def _block(blob: Blob) -> Sequence[memoryview]:
    parts, flags = blob
    return (memoryview(_FLAGS.pack(flags)), *parts)


def _blob(data: memoryview) -> Received:
    (flags,) = _FLAGS.unpack_from(data)
    return data[_FLAGS.size :], flags


def _collect(ranks: Ranks, blob: Blob | None, sources: Iterable[int]) -> Schedule[list[Received | None]]:
    """Put a blob, if there is one, and return those of ``sources``, by rank."""
    gets = {peer: Get(peer) for peer in sources if peer != ranks.rank}
    errands: list[Errand] = list(gets.values())
    if blob is not None:
        errands.append(Put(_block(blob)))
    if errands:
        yield Errands(*errands)
    return [_blob(gets[peer].data) if peer in gets else None for peer in range(ranks.size)]


def _several(ranks: Ranks, blobs: Sequence[Blob]) -> Put:
    """Return what puts each other rank's blob."""
    blocks = [_block(blob) for peer, blob in enumerate(blobs) if peer != ranks.rank]
    lengths = [sum(map(len, block)) for block in blocks]
    return Put(memoryview(struct.pack(f"<{len(lengths)}Q", *lengths)), *blocks)


def _chosen(ranks: Ranks, errands: list[Errand], sources: Sequence[int]) -> Schedule[list[Received | None]]:
    """Do the errands, and return the blobs that ``sources`` have put for this rank, by rank."""
    size, rank = ranks.size, ranks.rank
    found: list[Received | None] = [None] * size
    index = {peer: Get(peer, None, 8 * (size - 1)) for peer in sources}
    errands += index.values()
    if errands:
        yield Errands(*errands)
    gets = {}
    for peer in sources:
        lengths = struct.unpack(f"<{size - 1}Q", index[peer].data)
        place = rank - (rank > peer)
        before = 8 * (size - 1) + sum(lengths[:place])
        gets[peer] = Get(peer, None, lengths[place], 1 + place, before)
    if gets:
        yield Errands(*gets.values())
    for peer, get in gets.items():
        found[peer] = _blob(get.data)
    return found


def bcast(ranks: Ranks, blob: Blob | None, root: int) -> Schedule[Received | None]:
    """Give the root's blob to all ranks."""
    if ranks.size == 1:
        return None
    if ranks.rank == root:
        yield from _collect(ranks, blob, ())
        return None
    return (yield from _collect(ranks, None, (root,)))[root]


def gather(ranks: Ranks, blob: Blob | None, root: int) -> Schedule[list[Received | None] | None]:
    """Collect all ranks' blobs at the root."""
    if ranks.rank == root:
        return (yield from _collect(ranks, None, range(ranks.size)))
    yield from _collect(ranks, blob, ())
    return None


def allgather(ranks: Ranks, blob: Blob) -> Schedule[list[Received | None]]:
    """Collect all ranks' blobs on every rank."""
    return (yield from _collect(ranks, blob if ranks.size > 1 else None, range(ranks.size)))


def scatter(ranks: Ranks, blobs: Sequence[Blob] | None, root: int) -> Schedule[Received | None]:
    """Give every rank its one of the root's blobs."""
    if ranks.size == 1:
        return None
    if blobs is not None and ranks.rank == root:
        yield Errands(_several(ranks, blobs))
        return None
    return (yield from _chosen(ranks, [], (root,)))[root]


def alltoall(ranks: Ranks, blobs: Sequence[Blob]) -> Schedule[list[Received | None]]:
    """Exchange blobs between all ranks."""
    if ranks.size == 1:
        return [None]
    others = [peer for peer in range(ranks.size) if peer != ranks.rank]
    return (yield from _chosen(ranks, [_several(ranks, blobs)], others))


def _below(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, stop: int) -> Schedule[list[Any]]:
    """Put a value for the ranks above, if there are any, and return those of the ranks before ``stop``."""
    blob = dumps(value) if ranks.rank < ranks.size - 1 else None
    found = yield from _collect(ranks, blob, range(stop))
    return [value if (received := found[peer]) is None else loads(*received) for peer in range(stop)]


def reduce(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp, root: int) -> Schedule[Any]:
    """Reduce all ranks' values at the root."""
    if ranks.rank != root:
        yield from _collect(ranks, dumps(value), ())
        return None
    found = yield from _collect(ranks, None, range(ranks.size))
    return fold(op, [value if one is None else loads(*one) for one in found])


def allreduce(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce all ranks' values at rank 0, which puts the result."""
    total = yield from reduce(ranks, value, dumps, loads, op, 0)
    if ranks.size == 1:
        return total
    received = yield from bcast(ranks, None if ranks.rank else dumps(total), 0)
    return total if received is None else loads(*received)


def scan(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks up to this one."""
    return fold(op, (yield from _below(ranks, value, dumps, loads, ranks.rank + 1)))


def exscan(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks below this one; None at rank 0."""
    values = yield from _below(ranks, value, dumps, loads, ranks.rank)
    return fold(op, values) if values else None
