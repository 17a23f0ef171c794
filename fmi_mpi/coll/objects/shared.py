"""Collectives of objects on a board: small blobs are read there, larger ones follow as messages.

Rules of this file:
- For ranks that share a board. Signatures and results are those of the other algorithms for the same collective.
- Everyone who looks at what a rank has shared sees whether its blob is small; so sender and readers agree.
- A received blob is a copy: what is on the board does not stay.
- Reductions apply the operation from the lowest rank up, in the same grouping wherever it is computed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import reduce as fold
from typing import Any, Final

from fmi_mpi.coll.objects.blobs import Blob, Dumps, Loads, Received, pack, receive, unpack
from fmi_mpi.coll.steps import INLINE, NONE, PythonOp, Ranks, Recv, Schedule, Send, Share, Step

__all__ = ["allgather", "allreduce", "alltoall", "bcast", "exscan", "gather", "reduce", "scan", "scatter"]

_FLAGS: Final = struct.Struct("<Q")
_LARGE: Final = 1 << 32
_FOLLOWS: Final = memoryview(_FLAGS.pack(_LARGE))


def _small(parts: Sequence[memoryview], flags: int) -> memoryview:
    """Return what to share: the flags and the blob, or the word that a message follows."""
    if _FLAGS.size + sum(map(len, parts)) > INLINE:
        return _FOLLOWS
    return memoryview(b"".join((_FLAGS.pack(flags), *parts)))


def _exchange(
    ranks: Ranks, shared: memoryview, following: Sequence[Send], sources: Sequence[int], own: bool
) -> Schedule[list[Received | None]]:
    """Share, send what did not fit, and return the blobs of ``sources``, by rank.

    Args:
        own: of each source take only this rank's one of the blobs that it has packed.
    """
    share = Share(shared, sources, -1)
    yield share
    found: list[Received | None] = [None] * ranks.size
    arriving: dict[int, Recv] = {}
    for peer in sources:
        view = share.view(peer)
        (flags,) = _FLAGS.unpack_from(view)
        if flags & _LARGE:
            arriving[peer] = Recv(peer)
        else:
            blob = view[_FLAGS.size :]
            if own:
                blob, flags = unpack(blob)[ranks.rank]
            found[peer] = memoryview(bytearray(blob)), flags
    steps: list[Step] = list(arriving.values())
    if shared is _FOLLOWS:
        steps += following
    if steps:
        yield steps
    for peer, step in arriving.items():
        found[peer] = receive(step)
    return found


def _same(
    ranks: Ranks, blob: Blob | None, readers: Sequence[int], sources: Sequence[int]
) -> Schedule[list[Received | None]]:
    """Give a blob to ``readers`` and return those of ``sources``, by rank."""
    if blob is None:
        return _exchange(ranks, NONE, (), sources, False)
    return _exchange(ranks, _small(*blob), [Send(peer, *blob) for peer in readers], sources, False)


def _chosen(
    ranks: Ranks, blobs: Sequence[Blob] | None, readers: Sequence[int], sources: Sequence[int]
) -> Schedule[list[Received | None]]:
    """Give each of ``readers`` its one of the blobs, and return those that ``sources`` have for this rank."""
    if blobs is None:
        return _exchange(ranks, NONE, (), sources, True)
    packed = [([], 0) if peer == ranks.rank else blob for peer, blob in enumerate(blobs)]
    return _exchange(ranks, _small(pack(packed), 0), [Send(peer, *blobs[peer]) for peer in readers], sources, True)


def _others(ranks: Ranks) -> list[int]:
    """Return all other ranks, the next one first."""
    size, rank = ranks.size, ranks.rank
    return [*range(rank + 1, size), *range(rank)]


def bcast(ranks: Ranks, blob: Blob | None, root: int) -> Schedule[Received | None]:
    """Give the root's blob to all ranks."""
    if ranks.rank == root:
        yield from _same(ranks, blob, _others(ranks), ())
        return None
    return (yield from _same(ranks, None, (), (root,)))[root]


def gather(ranks: Ranks, blob: Blob | None, root: int) -> Schedule[list[Received | None] | None]:
    """Collect all ranks' blobs at the root."""
    if ranks.rank == root:
        return (yield from _same(ranks, None, (), _others(ranks)))
    yield from _same(ranks, blob, (root,), ())
    return None


def allgather(ranks: Ranks, blob: Blob) -> Schedule[list[Received | None]]:
    """Collect all ranks' blobs on every rank."""
    others = _others(ranks)
    return (yield from _same(ranks, blob, others, others))


def scatter(ranks: Ranks, blobs: Sequence[Blob] | None, root: int) -> Schedule[Received | None]:
    """Give every rank its one of the root's blobs."""
    if ranks.rank == root:
        yield from _chosen(ranks, blobs, _others(ranks), ())
        return None
    return (yield from _chosen(ranks, None, (), (root,)))[root]


def alltoall(ranks: Ranks, blobs: Sequence[Blob]) -> Schedule[list[Received | None]]:
    """Exchange blobs between all ranks."""
    others = _others(ranks)
    return (yield from _chosen(ranks, blobs, others, others))


def _values(
    ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, readers: Sequence[int], sources: Sequence[int]
) -> Schedule[list[Any]]:
    """Give a value to ``readers``, and return those of ``sources`` and the own one, in rank order."""
    found = yield from _same(ranks, dumps(value) if readers else None, readers, sources)
    read = sorted({*sources, ranks.rank})
    return [value if (received := found[peer]) is None else loads(*received) for peer in read]


def reduce(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp, root: int) -> Schedule[Any]:
    """Reduce all ranks' values at the root."""
    if ranks.rank != root:
        yield from _same(ranks, dumps(value), (root,), ())
        return None
    return fold(op, (yield from _values(ranks, value, dumps, loads, (), _others(ranks))))


def allreduce(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce all ranks' values on every rank."""
    others = _others(ranks)
    return fold(op, (yield from _values(ranks, value, dumps, loads, others, others)))


def scan(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks up to this one."""
    above, below = range(ranks.rank + 1, ranks.size), range(ranks.rank)
    return fold(op, (yield from _values(ranks, value, dumps, loads, above, below)))


def exscan(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks below this one; None at rank 0."""
    above, below = range(ranks.rank + 1, ranks.size), range(ranks.rank)
    values = yield from _values(ranks, value, dumps, loads, above, below)
    return fold(op, values[:-1]) if below else None
