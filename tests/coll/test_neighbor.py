"""Neighbours that are one rank: Cartesian topologies of one or two ranks in a dimension (MPI 4.1, 8.7)."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest

from fmi_mpi.coll.neighbor.linear import cartesian_order, linear
from fmi_mpi.coll.objects import neighbor as objects
from fmi_mpi.coll.steps import Schedule

from .simulator import Rank, World, rubbish


def exchange(around: list[list[int]], sends: Any, recvs: Any, rank: Rank) -> Schedule[None]:
    mine = around[rank.rank]
    return linear(rank, mine, mine, sends[rank.rank], recvs[rank.rank], cartesian_order(1))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("eager", [True, False])
def test_what_goes_down_arrives_from_above(size: int, eager: bool) -> None:
    around = [[(rank - 1) % size, (rank + 1) % size] for rank in range(size)]
    sends = [[memoryview(bytes([rank, direction])) for direction in (0, 1)] for rank in range(size)]
    for seed in range(5):
        recvs = [[rubbish(2), rubbish(2)] for _ in range(size)]
        start = partial(exchange, around, sends, recvs)
        World(size, Random(seed), eager=eager).run(start)
        for rank, (below, above) in enumerate(recvs):
            # The block from below is the one that the rank below sent up, and the other way round.
            assert bytes(below) == bytes([(rank - 1) % size, 1])
            assert bytes(above) == bytes([(rank + 1) % size, 0])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_objects_follow_the_same_order(size: int) -> None:
    def start(rank: Any) -> Any:
        around = [(rank.rank - 1) % size, (rank.rank + 1) % size]
        blobs = [((memoryview(bytes([rank.rank, direction])),), 0) for direction in (0, 1)]
        return objects.linear(rank, around, around, blobs, cartesian_order(1))

    for rank, (below, above) in enumerate(World(size, Random(size)).run(start)):
        assert bytes(below[0]) == bytes([(rank - 1) % size, 1])
        assert bytes(above[0]) == bytes([(rank + 1) % size, 0])


def test_order_of_dimensions() -> None:
    assert cartesian_order(2) == (1, 0, 3, 2)
