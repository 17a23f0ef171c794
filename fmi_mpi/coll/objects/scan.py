"""Scans of Python values, inclusive and exclusive.

Rules of this file:
- ``op(a, b)`` is applied with ``a`` from lower ranks than ``b``, whether or not it is commutative.
- ``dumps`` makes a blob of a value and ``loads`` a value of a received blob; ``op`` sees the own value as it was given.
"""

from __future__ import annotations

from typing import Any

from fmi_mpi.coll.objects.blobs import Dumps, Loads, receive, receive_value, send_value
from fmi_mpi.coll.steps import PythonOp, Ranks, Recv, Schedule, Step


def recursive_doubling(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks up to this one in log2(P) rounds."""
    inclusive, _ = yield from _double(ranks, value, dumps, loads, op, exclusive=False)
    return inclusive


def linear(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks up to this one along the chain of ranks."""
    total = value
    if ranks.rank:
        before = yield from receive_value(ranks.rank - 1, loads)
        total = op(before, total)
    if ranks.rank + 1 < ranks.size:
        yield send_value(ranks.rank + 1, total, dumps)
    return total


def exclusive_doubling(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks below this one in log2(P) rounds; None at rank 0."""
    _, below = yield from _double(ranks, value, dumps, loads, op, exclusive=True)
    return below


def exclusive_linear(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce the values of the ranks below this one along the chain of ranks; None at rank 0."""
    below: Any = None
    total = value
    last = ranks.rank + 1 == ranks.size
    if ranks.rank:
        below = yield from receive_value(ranks.rank - 1, loads)
        if not last:
            total = op(below, total)
    if not last:
        yield send_value(ranks.rank + 1, total, dumps)
    return below


def _double(
    ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp, *, exclusive: bool
) -> Schedule[tuple[Any, Any]]:
    """Return the sums with and without the own value; each is complete only if asked for."""
    size, rank = ranks.size, ranks.rank
    total, below = value, None
    reach = 1
    while rank >= reach or rank + reach < size:
        steps: list[Step] = []
        arriving = Recv(rank - reach)
        if rank + reach < size:
            steps.append(send_value(rank + reach, total, dumps))
        if rank >= reach:
            steps.append(arriving)
        yield steps
        if rank >= reach:
            arrived = loads(*receive(arriving))
            if exclusive:
                below = arrived if reach == 1 else op(arrived, below)
            if not exclusive or rank + 2 * reach < size:
                total = op(arrived, total)
        reach <<= 1
    return total, below
