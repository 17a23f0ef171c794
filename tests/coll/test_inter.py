"""Collectives between two groups compute what MPI defines, for any sizes, root, lengths and order of events."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.coll.inter import mutual, objects, rooted
from fmi_mpi.coll.inter.groups import Groups, idle
from fmi_mpi.coll.steps import Schedule

from .checks import Add, Compose, dumps, fold, join, loads
from .simulator import RUBBISH, Rank, World, rubbish


class Sides:
    """A world of two groups, and what their ranks have: ``low`` ranks come first in the union."""

    def __init__(self, low: int, high: int, seed: int, eager: bool) -> None:
        self.random = Random(seed)
        hosts = tuple(self.random.randrange(3) for _ in range(low + high))
        self.world = World(low + high, self.random, eager=eager, hosts=hosts)
        self.sizes = low, high
        self.groups = range(low), range(low, low + high)
        self.nbytes = 2 * self.random.choice((0, 1, 7, 2500))
        self.root = self.random.randrange(low + high)

    def side(self, rank: int) -> int:
        return int(rank >= self.sizes[0])

    def of(self, rank: int) -> Groups:
        side = self.side(rank)
        return Groups(self.groups[side], self.groups[1 - side])

    @property
    def audience(self) -> range:
        """Return the ranks that are not in the root's group."""
        return self.groups[1 - self.side(self.root)]

    def data(self, nbytes: int) -> bytes:
        return self.random.randbytes(nbytes)

    def run(self, start: Callable[[Rank, Groups], Schedule[Any]]) -> list[Any]:
        return self.world.run(lambda rank: start(rank, self.of(rank.rank)))

    def run_rooted(self, start: Callable[[Rank, Groups], Schedule[Any]]) -> list[Any]:
        taking_part = {self.root, *self.audience}
        return self.world.run(lambda rank: start(rank, self.of(rank.rank)) if rank.rank in taking_part else idle())

    def kernel(self) -> Any:
        return self.random.choice((Add, Compose))()


def bcast(sides: Sides) -> None:
    value = sides.data(sides.nbytes)
    bufs = [rubbish(sides.nbytes) for _ in sides.world.ranks]
    bufs[sides.root] = memoryview(value)
    sides.run_rooted(lambda rank, groups: rooted.bcast(rank, groups, bufs[rank.rank], sides.root))
    assert all(bufs[rank] == value for rank in sides.audience)


def gather(sides: Sides) -> None:
    values = {rank: sides.data(sides.random.choice((0, 3, sides.nbytes))) for rank in sides.audience}
    blocks = [rubbish(len(value)) for value in values.values()]

    def start(rank: Rank, groups: Groups) -> Schedule[None]:
        if rank.rank == sides.root:
            return rooted.gather(rank, groups, None, blocks, sides.root)
        return rooted.gather(rank, groups, memoryview(values[rank.rank]), None, sides.root)

    sides.run_rooted(start)
    assert blocks == list(values.values())


def scatter(sides: Sides) -> None:
    blocks = [memoryview(sides.data(sides.random.choice((0, 3, sides.nbytes)))) for _ in sides.audience]
    recvs = {rank: rubbish(len(block)) for rank, block in zip(sides.audience, blocks)}

    def start(rank: Rank, groups: Groups) -> Schedule[None]:
        if rank.rank == sides.root:
            return rooted.scatter(rank, groups, blocks, None, sides.root)
        return rooted.scatter(rank, groups, None, recvs[rank.rank], sides.root)

    sides.run_rooted(start)
    assert list(recvs.values()) == blocks


def reduce(sides: Sides) -> None:
    kernel = sides.kernel()
    values = {rank: sides.data(sides.nbytes) for rank in sides.audience}
    recv = rubbish(sides.nbytes)

    def start(rank: Rank, groups: Groups) -> Schedule[None]:
        if rank.rank == sides.root:
            return rooted.reduce(rank, groups, None, recv, kernel, sides.root)
        return rooted.reduce(rank, groups, memoryview(values[rank.rank]), None, kernel, sides.root)

    sides.run_rooted(start)
    assert recv == fold(kernel, list(values.values()))


def allgather(sides: Sides) -> None:
    lengths = sides.nbytes, sides.random.choice((0, 4))
    values = [sides.data(lengths[sides.side(rank.rank)]) for rank in sides.world.ranks]
    expected = [b"".join(values[rank] for rank in group) for group in sides.groups]
    recvs = [rubbish(len(expected[1 - sides.side(rank.rank)])) for rank in sides.world.ranks]
    sides.run(lambda rank, groups: mutual.allgather(rank, groups, memoryview(values[rank.rank]), recvs[rank.rank]))
    assert all(recv == expected[1 - sides.side(rank)] for rank, recv in enumerate(recvs))


def allgatherv(sides: Sides) -> None:
    values = [sides.data(sides.random.choice((0, 3, sides.nbytes))) for _ in sides.world.ranks]
    recvs = [[rubbish(len(values[peer])) for peer in sides.of(rank.rank).remote] for rank in sides.world.ranks]
    sides.run(lambda rank, groups: mutual.allgatherv(rank, groups, memoryview(values[rank.rank]), recvs[rank.rank]))
    for rank, blocks in enumerate(recvs):
        assert blocks == [values[peer] for peer in sides.of(rank).remote]


def alltoall(sides: Sides) -> None:
    size = len(sides.world.ranks)
    values = [[sides.data(sides.random.choice((0, 3, sides.nbytes))) for _ in range(size)] for _ in range(size)]
    sends = [[memoryview(values[rank][peer]) for peer in sides.of(rank).remote] for rank in range(size)]
    recvs = [[rubbish(len(values[peer][rank])) for peer in sides.of(rank).remote] for rank in range(size)]
    sides.run(lambda rank, groups: mutual.alltoall(rank, groups, sends[rank.rank], recvs[rank.rank]))
    for rank, blocks in enumerate(recvs):
        assert blocks == [values[peer][rank] for peer in sides.of(rank).remote]


def allreduce(sides: Sides) -> None:
    kernel = sides.kernel()
    values = [sides.data(sides.nbytes) for _ in sides.world.ranks]
    recvs = [rubbish(sides.nbytes) for _ in sides.world.ranks]
    sides.run(
        lambda rank, groups: mutual.allreduce(rank, groups, memoryview(values[rank.rank]), recvs[rank.rank], kernel)
    )
    for rank, recv in enumerate(recvs):
        assert recv == fold(kernel, [values[peer] for peer in sides.of(rank).remote])


def reduce_scatter(sides: Sides) -> None:
    kernel = sides.kernel()
    counts = [[0] * size for size in sides.sizes]
    for _ in range(sides.random.choice((0, 1, 20))):
        for column in counts:
            column[sides.random.randrange(len(column))] += 2
    total = sum(counts[0])
    values = [sides.data(total) for _ in sides.world.ranks]
    recvs = [rubbish(count) for column in counts for count in column]

    def start(rank: Rank, groups: Groups) -> Schedule[None]:
        column = tuple(counts[sides.side(rank.rank)])
        return mutual.reduce_scatter(rank, groups, memoryview(values[rank.rank]), recvs[rank.rank], column, kernel)

    sides.run(start)
    for group, other in (sides.groups, sides.groups[::-1]):
        assert b"".join(recvs[rank] for rank in group) == fold(kernel, [values[rank] for rank in other])


BUFFERS = (bcast, gather, scatter, reduce, allgather, allgatherv, alltoall, allreduce, reduce_scatter)


# -- objects -----------------------------------------------------------------------------------------------------------


def text(sides: Sides, *numbers: int) -> str:
    return f"<{numbers}>" * sides.random.choice((1, 1, 3000))


def load(received: Any) -> Any:
    return None if received is None else loads(*received)


def object_bcast(sides: Sides) -> None:
    value = text(sides)
    results = sides.run_rooted(
        lambda rank, groups: objects.bcast(rank, groups, dumps(value) if rank.rank == sides.root else None, sides.root)
    )
    for rank, result in enumerate(results):
        assert load(result) == (value if rank in sides.audience else None)


def object_gather(sides: Sides) -> None:
    values = [text(sides, rank.rank) for rank in sides.world.ranks]
    results = sides.run_rooted(
        lambda rank, groups: objects.gather(
            rank, groups, None if rank.rank == sides.root else dumps(values[rank.rank]), sides.root
        )
    )
    assert list(map(load, results.pop(sides.root))) == [values[rank] for rank in sides.audience]
    assert not any(results)


def object_scatter(sides: Sides) -> None:
    values = {rank: text(sides, rank) for rank in sides.audience}
    results = sides.run_rooted(
        lambda rank, groups: objects.scatter(
            rank, groups, list(map(dumps, values.values())) if rank.rank == sides.root else None, sides.root
        )
    )
    assert [load(result) for result in results] == [values.get(rank.rank) for rank in sides.world.ranks]


def object_allgather(sides: Sides) -> None:
    values = [text(sides, rank.rank) for rank in sides.world.ranks]
    results = sides.run(lambda rank, groups: objects.allgather(rank, groups, dumps(values[rank.rank])))
    for rank, result in enumerate(results):
        assert list(map(load, result)) == [values[peer] for peer in sides.of(rank).remote]


def object_alltoall(sides: Sides) -> None:
    size = len(sides.world.ranks)
    values = [[text(sides, rank, peer) for peer in range(size)] for rank in range(size)]

    def start(rank: Rank, groups: Groups) -> Schedule[Any]:
        return objects.alltoall(rank, groups, [dumps(values[rank.rank][peer]) for peer in groups.remote])

    for rank, result in enumerate(sides.run(start)):
        assert list(map(load, result)) == [values[peer][rank] for peer in sides.of(rank).remote]


def object_reduce(sides: Sides) -> None:
    results = sides.run_rooted(
        lambda rank, groups: objects.reduce(rank, groups, f"<{rank.rank}>", dumps, loads, join, sides.root)
    )
    assert results.pop(sides.root) == "".join(f"<{rank}>" for rank in sides.audience)
    assert results == [None] * len(results)


def object_allreduce(sides: Sides) -> None:
    results = sides.run(lambda rank, groups: objects.allreduce(rank, groups, f"<{rank.rank}>", dumps, loads, join))
    for rank, result in enumerate(results):
        assert result == "".join(f"<{peer}>" for peer in sides.of(rank).remote)


OBJECTS = (
    object_bcast,
    object_gather,
    object_scatter,
    object_allgather,
    object_alltoall,
    object_reduce,
    object_allreduce,
)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 2), (3, 1), (2, 3), (7, 5), (1, 20)], ids=str)
@pytest.mark.parametrize("check", BUFFERS + OBJECTS)
def test_matches_the_definition(check: Callable[[Sides], None], sizes: tuple[int, int]) -> None:
    for seed in range(12):
        check(Sides(*sizes, seed, eager=bool(seed & 1)))


@settings(max_examples=300, deadline=None)
@given(
    check=st.sampled_from(BUFFERS + OBJECTS),
    low=st.integers(1, 9),
    high=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    eager=st.booleans(),
)
def test_any_order_of_events(check: Callable[[Sides], None], low: int, high: int, seed: int, eager: bool) -> None:
    check(Sides(low, high, seed, eager))


def test_only_those_of_the_roots_group_who_are_idle_stay_out() -> None:
    world = World(3, Random(1))
    assert world.run(lambda rank: idle()) == [None] * 3
    assert world.frames.messages == 0


def test_destinations_of_the_roots_group_stay_as_they_are() -> None:
    sides = Sides(3, 2, 1, eager=True)
    sides.root = 0
    bufs = [rubbish(8) for _ in range(5)]
    bufs[0] = memoryview(bytes(8))
    sides.run_rooted(lambda rank, groups: rooted.bcast(rank, groups, bufs[rank.rank], 0))
    assert bufs[1] == bufs[2] == bytes([RUBBISH]) * 8
