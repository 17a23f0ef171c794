"""Making communicators with a process topology (MPI-4.1, 8.5).

Rules of this file:
- Lists of integers become Python's here; what they may be is checked by the topology (``runtime.topology``).
- Ranks are never reordered: which process is near which is for the channels to know.
- A rank that has no place in the topology gets a null communicator.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as whole
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fmi_mpi.api.comm.construction import Construction, exchange
from fmi_mpi.api.comm.core import boundary, c_int, complete
from fmi_mpi.api.exception import boundary as plain_boundary
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.constants import ERR_ARG, ERR_DIMS, ERR_TOPOLOGY, PROC_NULL, UNDEFINED, UNWEIGHTED, WEIGHTS_EMPTY
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.topology import Cartesian, DistGraph, Graph, Topology, balanced, grid_size

if TYPE_CHECKING:
    from fmi_mpi.api.comm import Comm
    from fmi_mpi.api.comm.topocomm import Cartcomm, Distgraphcomm, Graphcomm

__all__ = ["Compute_dims", "Topologies", "integers"]

C = TypeVar("C", bound="Comm")
_EDGE_BYTES = 3 * 8


@plain_boundary
def Compute_dims(nnodes: int, dims: int | Sequence[int]) -> list[int]:
    """Return extents of a balanced grid (MPI-4.1, 8.5.2).

    Args:
        nnodes: number of processes.
        dims: number of dimensions, or an extent for each of them: zeros are replaced, others stay.
    """
    extents = integers(dims) if hasattr(dims, "__len__") else [0] * _number(dims)
    return balanced(c_int(nnodes), extents)


class Topologies(Construction):
    """Chapter mixin of ``Intracomm``."""

    __slots__ = ()

    @boundary
    def Create_cart(
        self, dims: Sequence[int], periods: Sequence[bool] | None = None, reorder: bool = False
    ) -> Cartcomm:
        """Return a communicator of a Cartesian grid (MPI-4.1, 8.5.1).

        Args:
            dims: number of processes in each dimension.
            periods: which dimensions are rings; one truth value stands for all.
            reorder: ranks may change; they do not.
        """
        from fmi_mpi.api.comm.topocomm import Cartcomm

        comm = self._state()
        extents, rings = _grid(comm, dims, periods, ERR_ARG)
        size = grid_size(extents)
        return self._with(Cartcomm, size, Cartesian(extents, rings, comm.rank) if comm.rank < size else None)

    @boundary
    def Create_graph(self, index: Sequence[int], edges: Sequence[int], reorder: bool = False) -> Graphcomm:
        """Return a communicator of a graph that all processes give in full (MPI-4.1, 8.5.3).

        Args:
            index: for each node, the number of edges of the nodes up to it; a zero may precede.
            edges: neighbours of the nodes, one after another.
            reorder: ranks may change; they do not.
        """
        from fmi_mpi.api.comm.topocomm import Graphcomm

        graph = _graph(self._state(), index, edges)
        return self._with(Graphcomm, len(graph.index), graph)

    @boundary
    def Create_dist_graph_adjacent(
        self,
        sources: Sequence[int],
        destinations: Sequence[int],
        sourceweights: Sequence[int] | None = None,
        destweights: Sequence[int] | None = None,
        info: Info = INFO_NULL,
        reorder: bool = False,
    ) -> Distgraphcomm:
        """Return a communicator of a graph of which each process gives its own edges (MPI-4.1, 8.5.4).

        Args:
            sources, destinations: neighbours with edges to and from this process; None for none.
            sourceweights, destweights: of these edges; None or UNWEIGHTED for none, WEIGHTS_EMPTY if there are no edges.
            reorder: ranks may change; they do not.
        """
        from fmi_mpi.api.comm.topocomm import Distgraphcomm

        comm = self._state()
        into = integers(() if sources is None else sources)
        out = integers(() if destinations is None else destinations)
        weights_in, weights_out = _weights(sourceweights, len(into)), _weights(destweights, len(out))
        if (weights_in is None) != (weights_out is None) and (into if weights_in is None else out):
            raise MPIError(ERR_TOPOLOGY, "either all edges have weights or none")
        _check_ranks(comm, [rank for rank in (*into, *out) if rank != PROC_NULL])
        weighted = weights_in is not None or weights_out is not None
        weights = (weights_in or [], weights_out or []) if weighted else None
        return self._with(Distgraphcomm, comm.size, DistGraph(into, out, weights))

    @boundary
    def Create_dist_graph(
        self,
        sources: Sequence[int],
        degrees: Sequence[int],
        destinations: Sequence[int],
        weights: Sequence[int] | None = None,
        info: Info = INFO_NULL,
        reorder: bool = False,
    ) -> Distgraphcomm:
        """Return a communicator of a graph of which each process gives any edges (MPI-4.1, 8.5.4).

        Neighbours are in the order of the ranks that gave the edges, and as these gave them.

        Args:
            sources: ranks that edges start from, not necessarily this one.
            degrees: for each of them, the number of edges.
            destinations: ranks that the edges of the sources lead to, one source after another.
            weights: of the edges; None or UNWEIGHTED for none, WEIGHTS_EMPTY if there are no edges.
            reorder: ranks may change; they do not.
        """
        from fmi_mpi.api.comm.topocomm import Distgraphcomm

        comm = self._state()
        starts = integers(sources)
        numbers = integers(degrees, len(starts))
        ends = integers(destinations, sum(numbers))
        values = _weights(weights, len(ends))
        if any(number < 0 for number in numbers):
            raise MPIError(ERR_ARG, f"a degree is negative in {numbers}")
        _check_ranks(comm, (*starts, *ends))
        given = np.empty((len(ends), 3), np.int64)
        given[:, 0] = np.repeat(np.array(starts, np.int64), numbers)
        given[:, 1] = ends
        given[:, 2] = 1 if values is None else values
        context, edges, weighted = _collect(comm, given, values is not None)
        into, out = edges[edges[:, 1] == comm.rank], edges[edges[:, 0] == comm.rank]
        graph = DistGraph(
            into[:, 0].tolist(),
            out[:, 1].tolist(),
            (into[:, 2].tolist(), out[:, 2].tolist()) if weighted else None,
        )
        return self._made(Distgraphcomm, context, comm.local, graph)

    @boundary
    def Cart_map(self, dims: Sequence[int], periods: Sequence[bool] | None = None) -> int:
        """Return the rank that this process would have in a grid, UNDEFINED if none (MPI-4.1, 8.5.8)."""
        comm = self._state()
        extents, _ = _grid(comm, dims, periods, ERR_DIMS)
        return comm.rank if comm.rank < grid_size(extents) else UNDEFINED

    @boundary
    def Graph_map(self, index: Sequence[int], edges: Sequence[int]) -> int:
        """Return the rank that this process would have in a graph, UNDEFINED if none (MPI-4.1, 8.5.8)."""
        comm = self._state()
        return comm.rank if comm.rank < len(_graph(comm, index, edges).index) else UNDEFINED

    def _with(self, cls: type[C], size: int, topology: Topology | None) -> C:
        """Return a communicator of the first ``size`` processes; a null one elsewhere."""
        comm = self._state()
        offers = exchange(comm, comm.world.new_context())
        if comm.rank >= size:
            return cls()
        return self._made(cls, offers[0][0], comm.local[:size], topology)

    def _made(self, cls: type[C], context: int, procs: Sequence[int], topology: Topology | None) -> C:
        state = self._new(self._state(), context, procs)._handle
        state.topology = topology
        return cls._wrap(state)


def _number(dims: Any) -> int:
    """Return a number of dimensions, or raise what an empty list does that should have so many."""
    number = whole(dims)
    if number < 0:
        raise ValueError(f"expecting {number} dimensions")
    return number


def integers(items: Any, number: int | None = None) -> list[int]:
    """Return integers of a sequence.

    Args:
        number: how many they have to be. ValueError, TypeError, OverflowError as in mpi4py.
    """
    found = [c_int(whole(items[position])) for position in range(len(items))]
    if number is not None and len(found) != number:
        raise ValueError(f"expecting {number} items, got {len(found)}")
    return found


def _grid(comm: Communicator, dims: Any, periods: Any, too_large: int) -> tuple[list[int], list[int]]:
    """Return extents and periods of a grid that fits the communicator."""
    extents = integers(dims)
    if periods is None or isinstance(periods, bool):
        rings = [int(bool(periods))] * len(extents)
    else:
        rings = integers(periods, len(extents))
    if grid_size(extents) > comm.size:
        raise MPIError(too_large, f"a grid {extents} has more than the {comm.size} processes of the communicator")
    return extents, rings


def _graph(comm: Communicator, index: Any, edges: Any) -> Graph:
    """Return a graph that fits the communicator, without the zero that may precede the index."""
    counts, nodes = integers(index), integers(edges)
    if counts and counts[0] == 0 and counts[-1] == len(nodes):
        del counts[0]
    if len(counts) > comm.size:
        raise MPIError(ERR_ARG, f"a graph of {len(counts)} nodes; the communicator has {comm.size} processes")
    return Graph(counts, nodes, comm.rank)


def _weights(weights: Any, number: int) -> list[int] | None:
    """Return the weights of edges, None for none."""
    if weights is None or (isinstance(weights, int) and weights == UNWEIGHTED):
        return None
    if isinstance(weights, int) and weights == WEIGHTS_EMPTY:
        if number:
            raise ValueError(f"WEIGHTS_EMPTY, but there are {number} edges")
        return []
    found = integers(weights, number)
    if any(weight < 0 for weight in found):
        raise MPIError(ERR_ARG, f"a weight is negative in {found}")
    return found


def _check_ranks(comm: Communicator, ranks: Sequence[int]) -> None:
    for rank in ranks:
        if not 0 <= rank < comm.size:
            raise MPIError(ERR_ARG, f"an edge to or from {rank}, not a rank of a communicator of {comm.size}")


def _collect(comm: Communicator, given: np.ndarray[Any, Any], weighted: bool) -> tuple[int, np.ndarray[Any, Any], bool]:
    """Return a context, the edges (source, destination, weight) of all processes, and whether they have weights."""
    offers = exchange(comm, comm.world.new_context(), len(given), weighted)
    marks = {row[2] for row in offers if row[1]} or {int(weighted)}
    if len(marks) > 1:
        raise MPIError(ERR_TOPOLOGY, "either all processes give weights or none")
    data = memoryview(bytearray(sum(row[1] for row in offers) * _EDGE_BYTES))
    blocks, start = [], 0
    for row in offers:
        blocks.append(data[start : start + row[1] * _EDGE_BYTES])
        start += row[1] * _EDGE_BYTES
    run = comm.select("allgatherv", len(data))
    complete(comm, comm.start(run(comm, memoryview(given.tobytes()), blocks)))
    edges = np.frombuffer(data, np.int64).reshape(-1, 3) if start else given
    return offers[0][0], edges, bool(marks.pop())
