"""Communicators with a process topology (MPI-4.1, 8.5).

Rules of this file:
- Each class is for the communicators of one kind of topology and refuses others; the topology is in the state.
- Lists that are returned are new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

from fmi_mpi.api.comm import Comm, Intracomm
from fmi_mpi.api.comm.construction import exchange
from fmi_mpi.api.comm.core import boundary, c_int
from fmi_mpi.api.comm.neighbor import NeighborCollectives
from fmi_mpi.api.comm.topology import integers
from fmi_mpi.constants import CART, DIST_GRAPH, GRAPH

__all__ = ["CLASSES", "Cartcomm", "Distgraphcomm", "Graphcomm", "Topocomm"]


class Topocomm(Intracomm, NeighborCollectives):
    """Communicator with a process topology."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"
    _kind_of_topology: ClassVar[int] = 0
    """Zero: any."""

    def __new__(cls, comm: Comm | None = None) -> Self:
        self = super().__new__(cls, comm)
        if self._handle is not None:
            kind = 0 if self._handle.topology is None else self._handle.topology.kind
            if not kind or cls._kind_of_topology not in (0, kind):
                raise TypeError(f"the communicator has not the topology of a {cls.__name__}")
        return self

    @property
    @boundary
    def degrees(self) -> tuple[int, int]:
        """Numbers of neighbours to receive from and to send to."""
        topology = self._topology()
        return len(topology.sources), len(topology.destinations)

    @property
    def indegree(self) -> int:
        """Number of neighbours to receive from."""
        return self.degrees[0]

    @property
    def outdegree(self) -> int:
        """Number of neighbours to send to."""
        return self.degrees[1]

    @property
    @boundary
    def inoutedges(self) -> tuple[list[int], list[int]]:
        """Neighbours to receive from, and to send to."""
        topology = self._topology()
        return list(topology.sources), list(topology.destinations)

    @property
    def inedges(self) -> list[int]:
        """Neighbours to receive from."""
        return self.inoutedges[0]

    @property
    def outedges(self) -> list[int]:
        """Neighbours to send to."""
        return self.inoutedges[1]


class Cartcomm(Topocomm):
    """Communicator of a Cartesian grid."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"
    _kind_of_topology = CART

    def __new__(cls, comm: Comm | None = None) -> Self:
        return super().__new__(cls, comm)

    @boundary
    def Get_dim(self) -> int:
        """Return the number of dimensions."""
        return len(self._topology().dims)

    @boundary
    def Get_topo(self) -> tuple[list[int], list[int], list[int]]:
        """Return extents, periods and the coordinates of this process (MPI-4.1, 8.5.5)."""
        grid = self._topology()
        return list(grid.dims), list(grid.periods), grid.coords(grid.rank)

    @boundary
    def Get_cart_rank(self, coords: Sequence[int]) -> int:
        """Return the rank at coordinates.

        Args:
            coords: taken round in periodic dimensions; ERR_ARG beyond the ends of others.
        """
        grid = self._topology()
        rank: int = grid.rank_of(integers(coords, len(grid.dims)))
        return rank

    @boundary
    def Get_coords(self, rank: int) -> list[int]:
        """Return the coordinates of a rank."""
        coords: list[int] = self._topology().coords(c_int(rank))
        return coords

    @boundary
    def Shift(self, direction: int, disp: int) -> tuple[int, int]:
        """Return the ranks to receive from and to send to in a shift, as `Sendrecv` needs them (MPI-4.1, 8.5.6).

        Args:
            direction: dimension, from 0.
            disp: steps upwards, or downwards if negative. Beyond the end of a dimension is PROC_NULL.
        """
        pair: tuple[int, int] = self._topology().shift(c_int(direction), c_int(disp))
        return pair

    @boundary
    def Sub(self, remain_dims: Sequence[bool]) -> Cartcomm:
        """Return the communicator of the subgrid of some dimensions that this process is in (MPI-4.1, 8.5.7).

        Args:
            remain_dims: for each dimension, whether it remains.
        """
        comm, grid = self._state(), self._topology()
        subgrid, members = grid.sub(integers(remain_dims, len(grid.dims)))
        offers = exchange(comm, comm.world.new_context())
        return self._made(Cartcomm, offers[members[0]][0], [comm.local[member] for member in members], subgrid)

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self.Get_dim()

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.Get_dim()

    @property
    def topo(self) -> tuple[list[int], list[int], list[int]]:
        """Extents, periods and the coordinates of this process."""
        return self.Get_topo()

    @property
    def dims(self) -> list[int]:
        """Extents."""
        return self.Get_topo()[0]

    @property
    def periods(self) -> list[int]:
        """Which dimensions are rings."""
        return self.Get_topo()[1]

    @property
    def coords(self) -> list[int]:
        """Coordinates of this process."""
        return self.Get_topo()[2]


class Graphcomm(Topocomm):
    """Communicator of a graph."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"
    _kind_of_topology = GRAPH

    def __new__(cls, comm: Comm | None = None) -> Self:
        return super().__new__(cls, comm)

    @boundary
    def Get_dims(self) -> tuple[int, int]:
        """Return the numbers of nodes and edges (MPI-4.1, 8.5.5)."""
        graph = self._topology()
        return len(graph.index), len(graph.edges)

    @boundary
    def Get_topo(self) -> tuple[list[int], list[int]]:
        """Return index and edges."""
        graph = self._topology()
        return list(graph.index), list(graph.edges)

    @boundary
    def Get_neighbors_count(self, rank: int) -> int:
        """Return the number of neighbours of a rank."""
        return len(self._topology().neighbors(c_int(rank)))

    @boundary
    def Get_neighbors(self, rank: int) -> list[int]:
        """Return the neighbours of a rank."""
        return list(self._topology().neighbors(c_int(rank)))

    @property
    def dims(self) -> tuple[int, int]:
        """Numbers of nodes and edges."""
        return self.Get_dims()

    @property
    def nnodes(self) -> int:
        """Number of nodes."""
        return self.Get_dims()[0]

    @property
    def nedges(self) -> int:
        """Number of edges."""
        return self.Get_dims()[1]

    @property
    def topo(self) -> tuple[list[int], list[int]]:
        """Index and edges."""
        return self.Get_topo()

    @property
    def index(self) -> list[int]:
        """For each node, the number of edges of the nodes up to it."""
        return self.Get_topo()[0]

    @property
    def edges(self) -> list[int]:
        """Neighbours of the nodes, one after another."""
        return self.Get_topo()[1]

    @property
    def nneighbors(self) -> int:
        """Number of neighbours of this process."""
        return self.Get_neighbors_count(self.Get_rank())

    @property
    def neighbors(self) -> list[int]:
        """Neighbours of this process."""
        return self.Get_neighbors(self.Get_rank())


class Distgraphcomm(Topocomm):
    """Communicator of a distributed graph."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"
    _kind_of_topology = DIST_GRAPH

    def __new__(cls, comm: Comm | None = None) -> Self:
        return super().__new__(cls, comm)

    @boundary
    def Get_dist_neighbors_count(self) -> tuple[int, int, bool]:
        """Return the numbers of edges in and out, and whether they have weights (MPI-4.1, 8.5.5)."""
        graph = self._topology()
        return len(graph.sources), len(graph.destinations), graph.weights is not None

    @boundary
    def Get_dist_neighbors(self) -> tuple[list[int], list[int], tuple[list[int], list[int]] | None]:
        """Return the neighbours with edges in and out, and the weights of both, None if there are none."""
        graph = self._topology()
        weights = None if graph.weights is None else (list(graph.weights[0]), list(graph.weights[1]))
        return list(graph.sources), list(graph.destinations), weights


CLASSES: Final[dict[int, Any]] = {CART: Cartcomm, GRAPH: Graphcomm, DIST_GRAPH: Distgraphcomm}
"""By kind of topology."""
