"""Allreduce of Python values.

Rules of this file:
- ``op(a, b)`` is applied with ``a`` from lower ranks than ``b``, in the same grouping on all ranks.
- ``dumps`` makes a blob of a value and ``loads`` a value of a received blob; ``op`` sees the own value as it was given.
"""

from __future__ import annotations

from typing import Any

from fmi_mpi.coll.objects import bcast, reduce
from fmi_mpi.coll.objects.blobs import Dumps, Loads, exchange_value, receive_value, send_value
from fmi_mpi.coll.schedules import fold
from fmi_mpi.coll.steps import PythonOp, Ranks, Schedule


def recursive_doubling(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce all ranks' values on every rank in log2(P) exchanges."""
    rank = ranks.rank
    _, _, place, partner, peers = fold(ranks.size, rank)
    if place < 0:
        yield send_value(partner, value, dumps)
        return (yield from receive_value(partner, loads))
    total = value
    if partner >= 0:
        arrived = yield from receive_value(partner, loads)
        total = op(arrived, total)
    for peer in peers:
        arrived = yield from exchange_value(peer, total, dumps, loads)
        total = op(arrived, total) if peer < rank else op(total, arrived)
    if partner >= 0:
        yield send_value(partner, total, dumps)
    return total


def reduce_bcast(ranks: Ranks, value: Any, dumps: Dumps, loads: Loads, op: PythonOp) -> Schedule[Any]:
    """Reduce all ranks' values on rank 0 and broadcast the result: one rank alone decides what it is."""
    total = yield from reduce.binomial(ranks, value, dumps, loads, op, 0)
    received = yield from bcast.binomial(ranks, None if ranks.rank else dumps(total), 0)
    return total if received is None else loads(*received)
