"""Process topologies without communication: balanced grids, coordinates, shifts, subgrids, graphs."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.constants import ERR_ARG, ERR_DIMS, ERR_RANK, ERR_TOPOLOGY, PROC_NULL
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.topology import Cartesian, DistGraph, Graph, balanced

shapes = st.lists(st.integers(1, 4), max_size=4)


def error_class(function, *args):
    with pytest.raises(MPIError) as caught:
        function(*args)
    return caught.value.error_class


@pytest.mark.parametrize(
    ("nodes", "dims", "expected"),
    [
        (1, [0, 0], [1, 1]),
        (7, [0, 0], [7, 1]),
        (12, [0, 0], [4, 3]),
        (12, [0, 0, 0], [3, 2, 2]),
        (72, [0, 0], [9, 8]),
        (360, [0, 0, 0], [9, 8, 5]),
        (24, [0, 3, 0], [4, 3, 2]),
        (12, [3, 4], [3, 4]),
        (12, [2, 3], [2, 3]),
        (12, [], []),
        ((1 << 31) - 1, [0, 0, 0], [(1 << 31) - 1, 1, 1]),
        (1 << 30, [0] * 15, [4] * 15),
    ],
)
def test_balanced(nodes, dims, expected):
    assert balanced(nodes, dims) == expected


def factorisations(nodes, count):
    if not count:
        return [()] if nodes == 1 else []
    divisors = [divisor for divisor in range(1, nodes + 1) if nodes % divisor == 0]
    return [(divisor, *rest) for divisor in divisors for rest in factorisations(nodes // divisor, count - 1)]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.integers(1, 4))
def test_balanced_is_the_least_of_all(nodes, count):
    falling = [found for found in factorisations(nodes, count) if list(found) == sorted(found, reverse=True)]
    assert balanced(nodes, [0] * count) == list(min(falling))


@pytest.mark.parametrize(
    ("nodes", "dims", "expected"),
    [(12, [5, 0], ERR_DIMS), (12, [-1, 0], ERR_DIMS), (12, [5], ERR_DIMS), (0, [0], ERR_ARG), (-3, [0], ERR_ARG)],
)
def test_impossible_grids(nodes, dims, expected):
    assert error_class(balanced, nodes, dims) == expected


@settings(deadline=None, max_examples=50)
@given(shapes, st.data())
def test_ranks_follow_coordinates(dims, data):
    grid = Cartesian(dims, [0] * len(dims), data.draw(st.integers(0, prod(dims) - 1)))
    places = list(product(*map(range, dims)))
    assert [tuple(grid.coords(rank)) for rank in range(grid.size)] == places
    assert [grid.rank_of(coords) for coords in places] == list(range(grid.size))
    for rank in (-1, grid.size):
        assert error_class(grid.coords, rank) == ERR_RANK


@settings(deadline=None, max_examples=50)
@given(shapes, st.data())
def test_shifts(dims, data):
    periods = [data.draw(st.integers(0, 1)) for _ in dims]
    grids = [Cartesian(dims, periods, rank) for rank in range(prod(dims))]
    for direction, steps in product(range(len(dims)), range(-5, 6)):
        pairs = [grid.shift(direction, steps) for grid in grids]
        for grid, (source, destination) in zip(grids, pairs):
            there = grid.coords(grid.rank)
            there[direction] += steps
            inside = periods[direction] or 0 <= there[direction] < dims[direction]
            assert destination == (grid.rank_of(there) if inside else PROC_NULL)
            assert destination == PROC_NULL or pairs[destination][0] == grid.rank
            assert source == PROC_NULL or pairs[source][1] == grid.rank
    for grid in grids:
        ends = [end for direction in range(len(dims)) for end in grid.shift(direction, 1)]
        assert list(grid.sources) == list(grid.destinations) == ends


@settings(deadline=None, max_examples=50)
@given(shapes, st.data())
def test_subgrids_divide_the_grid(dims, data):
    remain = [data.draw(st.booleans()) for _ in dims]
    members: dict[tuple[int, ...], list[int]] = {}
    for rank in range(prod(dims)):
        grid = Cartesian(dims, [number % 2 for number in range(len(dims))], rank)
        part, ranks = grid.sub(remain)
        assert ranks[part.rank] == rank and len(ranks) == part.size
        assert part.dims == tuple(extent for extent, kept in zip(dims, remain) if kept)
        assert part.periods == tuple(period for period, kept in zip(grid.periods, remain) if kept)
        assert part.coords(part.rank) == [at for at, kept in zip(grid.coords(rank), remain) if kept]
        lost = tuple(at for at, kept in zip(grid.coords(rank), remain) if not kept)
        assert members.setdefault(lost, ranks) == ranks
    assert sorted(rank for ranks in members.values() for rank in ranks) == list(range(prod(dims)))


def test_directions():
    grid = Cartesian([2], [1], 0)
    assert error_class(grid.shift, 1, 1) == error_class(grid.shift, -1, 1) == ERR_ARG
    assert error_class(Cartesian([], [], 0).shift, 0, 1) == ERR_TOPOLOGY


@pytest.mark.parametrize("dims", [[0], [2, -1]])
def test_extents_are_positive(dims):
    assert error_class(Cartesian, dims, [0] * len(dims), 0) == ERR_DIMS


def test_coordinates_outside():
    grid = Cartesian([2, 3], [0, 1], 0)
    assert grid.rank_of([1, -7]) == 5
    assert error_class(grid.rank_of, [2, 0]) == ERR_ARG


def test_graph():
    graph = Graph([2, 3, 4], [1, 2, 0, 0, 9], 1)
    assert [graph.neighbors(rank) for rank in range(3)] == [(1, 2), (0,), (0,)]
    assert graph.edges == (1, 2, 0, 0)
    assert graph.sources == graph.destinations == (0,)
    graph.check()
    assert error_class(graph.neighbors, 3) == ERR_RANK
    assert Graph([1], [0], 5).destinations == ()


@pytest.mark.parametrize(("index", "edges"), [([2, 1], [0, 0]), ([-1], []), ([3], [0]), ([1], [1]), ([1], [-1])])
def test_not_a_graph(index, edges):
    assert error_class(Graph, index, edges, 0) == ERR_ARG


@pytest.mark.parametrize(
    ("index", "edges", "wrong"),
    [
        ([1, 1], [1], {0, 1}),
        ([2, 3], [1, 1, 0], {0, 1}),
        ([1, 2, 2], [1, 0], set()),
        ([1, 2], [0, 1], set()),
    ],
)
def test_edges_that_lead_one_way(index, edges, wrong):
    for rank in range(len(index)):
        graph = Graph(index, edges, rank)
        if rank in wrong:
            assert error_class(graph.check) == ERR_TOPOLOGY
        else:
            graph.check()


def test_distributed_graph():
    graph = DistGraph([2, 0], [1], ([3, 4], [5]))
    assert (graph.sources, graph.destinations, graph.weights, graph.order) == ((2, 0), (1,), ([3, 4], [5]), None)
    graph.check()
