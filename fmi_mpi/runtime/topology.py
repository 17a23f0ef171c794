"""Process topologies: who the neighbours of a rank are (MPI-4.1, chapter 8).

Rules of this file:
- A topology is one rank's, never changes, and knows no communicator; duplicates of a communicator share it.
- ``sources`` and ``destinations`` are the neighbours in the order of neighbourhood collectives, PROC_NULL where a grid
  ends; ``order`` is the one in which they are received from (``coll.neighbor.linear``), None for the order of sources.
- Ranks of a grid follow its coordinates, the last dimension fastest.
- Arguments are integers already; what they may be is checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, product
from math import isqrt, prod
from operator import mul
from typing import ClassVar

from fmi_mpi.coll.neighbor.linear import cartesian_order
from fmi_mpi.constants import CART, DIST_GRAPH, ERR_ARG, ERR_DIMS, ERR_RANK, ERR_TOPOLOGY, GRAPH, PROC_NULL
from fmi_mpi.errors import MPIError

__all__ = ["Cartesian", "DistGraph", "Graph", "Topology", "balanced", "grid_size"]


class Topology:
    """What all kinds share."""

    kind: ClassVar[int]
    sources: Sequence[int]
    destinations: Sequence[int]
    order: Sequence[int] | None = None

    def check(self) -> None:
        """Raise MPIError if neighbourhood collectives could not end."""


class Cartesian(Topology):
    """A grid; raises MPIError unless all of ``dims`` are positive.

    Args:
        dims: extents. periods: not zero where a dimension is a ring. rank: this process, within the grid.
    """

    kind = CART

    def __init__(self, dims: Sequence[int], periods: Sequence[int], rank: int) -> None:
        self.dims = tuple(dims)
        self.periods = tuple(periods)
        self.rank = rank
        self.size = grid_size(dims)
        self._strides = tuple(accumulate(reversed(self.dims[1:]), mul, initial=1))[::-1] if dims else ()
        ends = [self.shift(direction, 1) for direction in range(len(self.dims))]
        self.sources = self.destinations = tuple(neighbour for pair in ends for neighbour in pair)
        self.order = cartesian_order(len(self.dims))

    def coords(self, rank: int) -> list[int]:
        """Return the coordinates of a rank."""
        if not 0 <= rank < self.size:
            raise MPIError(ERR_RANK, f"{rank} is not a rank of a grid of {self.size}")
        return [rank // stride % extent for stride, extent in zip(self._strides, self.dims)]

    def rank_of(self, coords: Sequence[int]) -> int:
        """Return the rank at coordinates, taken round in periodic dimensions."""
        rank = self._at(coords)
        if rank == PROC_NULL:
            raise MPIError(ERR_ARG, f"coordinates {list(coords)} are outside of the grid {list(self.dims)}")
        return rank

    def shift(self, direction: int, displacement: int) -> tuple[int, int]:
        """Return the ranks that this one receives from and sends to in a shift along a dimension."""
        if not 0 <= direction < len(self.dims):
            error_class = ERR_ARG if direction < 0 or self.dims else ERR_TOPOLOGY
            raise MPIError(error_class, f"direction {direction} is not a dimension of a grid of {len(self.dims)}")
        coords = self.coords(self.rank)
        here = coords[direction]
        coords[direction] = here - displacement
        source = self._at(coords)
        coords[direction] = here + displacement
        return source, self._at(coords)

    def sub(self, remain: Sequence[bool]) -> tuple[Cartesian, list[int]]:
        """Return the subgrid of the remaining dimensions that this rank is in, and its members, by rank."""
        kept = [number for number, remains in enumerate(remain) if remains]
        steps = [[self._strides[number] * at for at in range(self.dims[number])] for number in kept]
        mine = self.coords(self.rank)
        base = self.rank - sum(self._strides[number] * mine[number] for number in kept)
        members = [base + sum(step) for step in product(*steps)]
        dims, periods = [self.dims[number] for number in kept], [self.periods[number] for number in kept]
        return Cartesian(dims, periods, members.index(self.rank)), members

    def _at(self, coords: Sequence[int]) -> int:
        """Return the rank at coordinates, PROC_NULL outside of the grid."""
        rank = 0
        for at, extent, period in zip(coords, self.dims, self.periods):
            if not 0 <= at < extent and not period:
                return PROC_NULL
            rank = rank * extent + at % extent
        return rank


class Graph(Topology):
    """A graph that every rank knows; raises MPIError unless index and edges describe one.

    Args:
        index: for each node, the number of edges of the nodes up to it. edges: neighbours, node after node.
        rank: this process; beyond the nodes, it has no neighbours.
    """

    kind = GRAPH

    def __init__(self, index: Sequence[int], edges: Sequence[int], rank: int) -> None:
        if any(after < before for before, after in zip((0, *index), index)):
            raise MPIError(ERR_ARG, f"the index {list(index)} of a graph decreases")
        used = index[-1] if index else 0
        if used > len(edges):
            raise MPIError(ERR_ARG, f"the index of a graph counts {used} edges, there are {len(edges)}")
        self.index = tuple(index)
        self.edges = tuple(edges[:used])
        for node in self.edges:
            if not 0 <= node < len(index):
                raise MPIError(ERR_ARG, f"an edge leads to {node}, which is not a node of a graph of {len(index)}")
        self.rank = rank
        self.sources = self.destinations = self.neighbors(rank) if rank < len(index) else ()
        self._mutual = False

    def neighbors(self, rank: int) -> tuple[int, ...]:
        """Return the neighbours of a rank."""
        if not 0 <= rank < len(self.index):
            raise MPIError(ERR_RANK, f"{rank} is not a node of a graph of {len(self.index)}")
        return self.edges[self.index[rank - 1] if rank else 0 : self.index[rank]]

    def check(self) -> None:
        """Raise MPIError unless this rank is its neighbours' neighbour as often as they are its own."""
        mine = self.destinations
        for node in range(0 if self._mutual else len(self.index)):
            if self.neighbors(node).count(self.rank) != mine.count(node):
                raise MPIError(
                    ERR_TOPOLOGY,
                    f"neighbourhood collectives need each edge of a graph both ways, unlike {self.rank} to {node}",
                )
        self._mutual = True


class DistGraph(Topology):
    """A graph of which a rank knows its own edges.

    Args:
        sources, destinations: neighbours with edges to and from this rank.
        weights: of the edges in and out; None for a graph without.
    """

    kind = DIST_GRAPH

    def __init__(
        self,
        sources: Sequence[int],
        destinations: Sequence[int],
        weights: tuple[Sequence[int], Sequence[int]] | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.destinations = tuple(destinations)
        self.weights = weights


def grid_size(dims: Sequence[int]) -> int:
    """Return the number of ranks in a grid; raises MPIError unless all extents are positive."""
    if any(extent <= 0 for extent in dims):
        raise MPIError(ERR_DIMS, f"the extents {list(dims)} of a grid are not all positive")
    return prod(dims)


def balanced(nodes: int, dims: Sequence[int]) -> list[int]:
    """Return ``dims`` with the zeros replaced so that the product is ``nodes``.

    The new extents do not increase, and the largest is as small as can be, then the second largest, and so on.
    """
    if nodes < 1:
        raise MPIError(ERR_ARG, f"a grid of {nodes} nodes")
    if any(extent < 0 for extent in dims):
        raise MPIError(ERR_DIMS, f"an extent is negative in {list(dims)}")
    rest, remainder = divmod(nodes, prod(extent for extent in dims if extent))
    if remainder:
        raise MPIError(ERR_DIMS, f"{nodes} nodes cannot be put in a grid {list(dims)}")
    if 0 not in dims:
        return list(dims)
    small = [divisor for divisor in range(1, isqrt(rest) + 1) if rest % divisor == 0]
    divisors = sorted({*small, *(rest // divisor for divisor in small)})
    found = iter(_factors(rest, dims.count(0), divisors) or ())
    return [extent or next(found) for extent in dims]


def _factors(rest: int, count: int, divisors: Sequence[int]) -> tuple[int, ...] | None:
    """Return the first non-increasing sequence of ``count`` of the divisors with the product ``rest``."""
    if not count:
        return () if rest == 1 else None
    for number, divisor in enumerate(divisors):
        if divisor**count >= rest and rest % divisor == 0:
            others = _factors(rest // divisor, count - 1, divisors[: number + 1])
            if others is not None:
                return (divisor, *others)
    return None
