"""Reduce of Python values.

Rules of this file:
- ``op(a, b)`` is applied with ``a`` from lower ranks than ``b``, whether or not it is commutative.
- ``dumps`` makes a blob of a value and ``loads`` a value of a received blob; ``op`` sees the own value as it was given.
- The result is None but at the root.
"""

from __future__ import annotations

from typing import Any

from fmi_mpi.coll.objects.blobs import Dumps, Loads, receive_value, send_value
from fmi_mpi.coll.schedules import tree
from fmi_mpi.coll.steps import PythonOp, Ranks, Schedule


def binomial(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp, root: int) -> Schedule[Any]:
    """Reduce all ranks' values to rank 0 along a binomial tree and hand the result to the root."""
    place = tree(ranks.size, ranks.rank, 0)
    total = value
    for child in reversed(place.children):
        arrived = yield from receive_value(child, loads)
        total = op(total, arrived)
    if place.parent >= 0:
        yield send_value(place.parent, total, dumps)
        total = None
        if ranks.rank == root:
            total = yield from receive_value(0, loads)
    elif root:
        yield send_value(root, total, dumps)
        total = None
    return total
