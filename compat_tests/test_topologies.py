"""Process topologies: grids, graphs, distributed graphs, their classes, queries, mistakes and neighbourhood collectives."""

from __future__ import annotations

import pickle
from itertools import product
from typing import Any

import numpy as np
import pytest

from compat_tests.support import CALLS, collective, constant_name, outcome, values

calls = pytest.mark.parametrize("call", CALLS)
CLASSES = ("Comm", "Intracomm", "Topocomm", "Cartcomm", "Graphcomm", "Distgraphcomm")
RINGS = [bits for number in (1, 2, 3) for bits in product((False, True), repeat=number)]


def plain(MPI: Any, value: Any) -> Any:
    """Return a value with negative numbers, which are constants here, replaced by their names."""
    if isinstance(value, int) and value < 0:
        return constant_name(MPI, value, "PROC_NULL", "UNDEFINED")
    if isinstance(value, (list, tuple)):
        return type(value)(plain(MPI, item) for item in value)
    return value


def about(comm: Any) -> Any:
    """Return class, rank and size of a communicator; only the class of a null one."""
    return (type(comm).__name__, comm.Get_rank(), comm.Get_size()) if comm else type(comm).__name__


def ring(size: int) -> tuple[list[int], list[int]]:
    return list(range(0, 2 * size + 1, 2)), [peer % size for rank in range(size) for peer in (rank - 1, rank + 1)]


def star(size: int) -> tuple[list[int], list[int]]:
    """Return a graph in which 0 is the neighbour of all others."""
    return [0, *range(size - 1, 2 * size - 1)], [*range(1, size), *[0] * (size - 1)]


def loops(size: int) -> tuple[list[int], list[int]]:
    """Return a graph of nodes that are twice their own neighbours."""
    return list(range(0, 2 * size + 1, 2)), [rank for rank in range(size) for _ in range(2)]


def grid(MPI: Any, comm: Any, rings: Any) -> Any:
    return comm.Create_cart(MPI.Compute_dims(comm.Get_size(), len(rings)), rings)


def doubled(comm: Any) -> Any:
    """Return a graph in which each rank has two edges to the next one, and one to itself between them."""
    before, rank, after = (comm.Get_rank() - 1) % comm.size, comm.Get_rank(), (comm.Get_rank() + 1) % comm.size
    return comm.Create_dist_graph_adjacent([before, rank, before], [after, rank, after])


def funnel(comm: Any) -> Any:
    """Return a graph in which all ranks have an edge to 0 alone."""
    return comm.Create_dist_graph_adjacent(range(comm.size)[::-1] if comm.Get_rank() == 0 else [], [0])


TOPOLOGIES: dict[str, Any] = {
    **{
        "grid " + "".join("o" if ring else "-" for ring in rings): lambda MPI, c, rings=rings: grid(MPI, c, rings)
        for rings in RINGS
    },
    "ring": lambda MPI, c: c.Create_graph(*ring(c.size)),
    "star": lambda MPI, c: c.Create_graph(*star(c.size)),
    "loops": lambda MPI, c: c.Create_graph(*loops(c.size)),
    "doubled": lambda MPI, c: doubled(c),
    "funnel": lambda MPI, c: funnel(c),
    "nobody": lambda MPI, c: c.Create_dist_graph_adjacent([], []),
}
topologies = pytest.mark.parametrize("topology", TOPOLOGIES)


# -- making ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comm", ["world", "reversed"], indirect=True)
@pytest.mark.parametrize("rings", RINGS, ids=str)
def test_grid(MPI: Any, comm: Any, rings: tuple[bool, ...], record: Any) -> None:
    made = grid(MPI, comm, rings)
    record(about(made), made.Get_topo(), made.topo, made.dims, made.periods, made.coords)
    record(made.dim, made.ndim, made.Get_dim(), made.is_topo, made.topology == MPI.CART)
    record([made.Get_coords(rank) for rank in range(made.size)])
    around = product(
        *(range(-extent, 2 * extent) if period else range(extent) for extent, period in zip(*made.topo[:2]))
    )
    record([made.Get_cart_rank(coords) for coords in around])
    shifts = [made.Shift(direction, steps) for direction in range(len(rings)) for steps in range(-5, 6)]
    record(plain(MPI, shifts), plain(MPI, made.inoutedges), plain(MPI, [made.inedges, made.outedges]))
    record(made.degrees, made.indegree, made.outdegree, outcome(MPI, made.Shift, len(rings), 1))
    made.Free()
    record(about(made))


@pytest.mark.parametrize("periods", [None, True, False, [1, 0], (0, 2)], ids=str)
@pytest.mark.parametrize("reorder", [True, False])
def test_periods(MPI: Any, comm: Any, periods: Any, reorder: bool, record: Any) -> None:
    made = comm.Create_cart(np.array([1, comm.size]), periods, reorder=reorder)
    record(about(made), made.topo, comm.Cart_map([1, comm.size], periods))
    made.Free()


@pytest.mark.parametrize("dims", [[], [1], [1, 1], [2], [1, 2, 1], [3]], ids=str)
def test_small_grids(MPI: Any, comm: Any, dims: list[int], record: Any) -> None:
    """Ranks without a place get a null communicator."""
    record(outcome(MPI, comm.Create_cart, dims))
    if np.prod(dims) > comm.size:
        return
    made = comm.Create_cart(dims)
    record(about(made), outcome(MPI, made.Get_topo), plain(MPI, comm.Cart_map(dims)))
    if made:
        record(made.topo, plain(MPI, made.inoutedges), made.Get_cart_rank([0] * len(dims)), made.Get_coords(0))
        record(made.neighbor_allgather(made.rank), outcome(MPI, made.Shift, 0, 1))
        made.Free()


@pytest.mark.parametrize("rings", [bits for bits in RINGS if len(bits) > 1], ids=str)
def test_subgrids(MPI: Any, comm: Any, rings: tuple[bool, ...], record: Any) -> None:
    made = grid(MPI, comm, rings)
    for remain in product((False, True), repeat=len(rings)):
        part = made.Sub(remain)
        record(about(part), part.topo, part.allgather(comm.Get_rank()), plain(MPI, part.inedges))
        part.Free()
    made.Free()


@pytest.mark.parametrize("leading", [False, True])
@pytest.mark.parametrize("shape", [ring, star, loops])
def test_graph(MPI: Any, comm: Any, shape: Any, leading: bool, record: Any) -> None:
    index, edges = shape(comm.size)
    if not leading and index != [0, 0]:  # a zero that is alone would be taken for the one before the index
        del index[0]
    made = comm.Create_graph(index, edges, reorder=leading)
    record(about(made), made.Get_topo(), made.topo, made.index, made.edges, made.is_topo, made.topology == MPI.GRAPH)
    record(made.Get_dims(), made.dims, made.nnodes, made.nedges, made.neighbors, made.nneighbors)
    record([(made.Get_neighbors(rank), made.Get_neighbors_count(rank)) for rank in range(made.size)])
    record(made.degrees, made.inoutedges, made.inedges, made.outedges, comm.Graph_map(index, edges))
    record(outcome(MPI, made.Get_neighbors, made.size), outcome(MPI, made.Get_neighbors_count, -5))
    made.Free()


@pytest.mark.parametrize(("index", "edges"), [([], []), ([0], []), ([1], [0]), ([0], [0]), ([1], [0, 0])], ids=str)
def test_small_graphs(MPI: Any, comm: Any, index: list[int], edges: list[int], record: Any) -> None:
    made = comm.Create_graph(index, edges)
    record(about(made), made.topo if made else None, plain(MPI, comm.Graph_map(index, edges)))
    if made:
        made.Free()


ADJACENT: dict[str, Any] = {
    "none": lambda MPI, before, after: (None, None),
    "plain": lambda MPI, before, after: ([before], [after]),
    "arrays": lambda MPI, before, after: (np.array([before]), np.array([after])),
    "unweighted": lambda MPI, before, after: ([before], [after], MPI.UNWEIGHTED, MPI.UNWEIGHTED),
    "weights": lambda MPI, before, after: ([before], [after], [before + 5], [after + 7]),
    "no weight": lambda MPI, before, after: ([before], [after], [0], [0]),
    "empty": lambda MPI, before, after: ([], [], MPI.WEIGHTS_EMPTY, MPI.WEIGHTS_EMPTY),
    "empty lists": lambda MPI, before, after: ([], [], [], []),
    "empty and none": lambda MPI, before, after: ([], [], MPI.WEIGHTS_EMPTY, None),
    "only in": lambda MPI, before, after: ([before], None),
    "only out": lambda MPI, before, after: (None, [after], None, MPI.UNWEIGHTED),
    "weights in": lambda MPI, before, after: ([before], [], [3], MPI.WEIGHTS_EMPTY),
    "weights in, none": lambda MPI, before, after: ([before], None, [3]),
    "several": lambda MPI, before, after: ([before, after, before], [after, after], [1, 2, 3], [4, 5]),
    "half weighted": lambda MPI, before, after: ([before], [after], [1]),
    "other half weighted": lambda MPI, before, after: ([before], [after], MPI.UNWEIGHTED, [1]),
    "empty weights": lambda MPI, before, after: ([before], [after], MPI.WEIGHTS_EMPTY, MPI.WEIGHTS_EMPTY),
    "few weights": lambda MPI, before, after: ([before], [after], [], []),
    "many weights": lambda MPI, before, after: ([before], [after], [1, 2], [1, 2]),
    "one weight": lambda MPI, before, after: ([before], [after], 1, 1),
    "float weights": lambda MPI, before, after: ([before], [after], [0.5], [0.5]),
    "text": lambda MPI, before, after: ("a", "b"),
    "numbers": lambda MPI, before, after: (before, after),
}


@pytest.mark.parametrize("case", ADJACENT)
def test_adjacent_graph(MPI: Any, comm: Any, case: str, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    args = ADJACENT[case](MPI, (rank - 1) % size, (rank + 1) % size)
    record(outcome(MPI, comm.Create_dist_graph_adjacent, *args))
    if outcome(MPI, comm.Create_dist_graph_adjacent, *args) != "fine":
        return
    made = comm.Create_dist_graph_adjacent(*args)
    record(about(made), made.Get_dist_neighbors_count(), made.Get_dist_neighbors(), made.topology == MPI.DIST_GRAPH)
    record(made.degrees, made.indegree, made.outdegree, made.inedges, made.outedges, made.inoutedges, made.is_topo)
    made.Free()


EDGES: dict[str, Any] = {
    "none": lambda MPI, rank, size: ([], [], []),
    "empty": lambda MPI, rank, size: ([], [], [], MPI.WEIGHTS_EMPTY),
    "own": lambda MPI, rank, size: ([rank], [2], [(rank + 1) % size, rank]),
    "weights": lambda MPI, rank, size: ([rank], [2], [(rank + 1) % size, rank], [10 + rank, 20 + rank]),
    "of another": lambda MPI, rank, size: ([(rank + 1) % size], [1], [(rank - 1) % size], [rank]),
    "all from 0": lambda MPI, rank, size: (range(size), [1] * size, [0] * size) if rank == 0 else ([], [], []),
    "to one": lambda MPI, rank, size: ([rank, rank], [1, 1], [0, 0], [1 + rank, 10 + rank]),
    "no degree": lambda MPI, rank, size: ([rank, 0], [1, 0], [0]),
    "few degrees": lambda MPI, rank, size: ([rank], [], [0]),
    "many degrees": lambda MPI, rank, size: ([rank], [1, 1], [0, 0]),
    "few destinations": lambda MPI, rank, size: ([rank], [2], [0]),
    "many destinations": lambda MPI, rank, size: ([rank], [1], [0, 0]),
    "few weights": lambda MPI, rank, size: ([rank], [1], [0], []),
    "empty weights": lambda MPI, rank, size: ([rank], [1], [0], MPI.WEIGHTS_EMPTY),
    "one degree": lambda MPI, rank, size: ([rank], 1, [0]),
    "None": lambda MPI, rank, size: (None, None, None),
    "text": lambda MPI, rank, size: ("a", "b", "c"),
}


@pytest.mark.parametrize("case", EDGES)
def test_distributed_graph(MPI: Any, comm: Any, case: str, record: Any) -> None:
    """The order of the neighbours is the implementation's."""
    args = EDGES[case](MPI, comm.Get_rank(), comm.Get_size())
    record(outcome(MPI, comm.Create_dist_graph, *args))
    if outcome(MPI, comm.Create_dist_graph, *args) != "fine":
        return
    made = comm.Create_dist_graph(*args)
    sources, destinations, weights = made.Get_dist_neighbors()
    record(about(made), made.Get_dist_neighbors_count(), weights is None)
    into, out = weights or (sources, destinations)
    record(sorted(zip(sources, into)), sorted(zip(destinations, out)), made.degrees)
    assert (made.inedges, made.outedges) == (sources, destinations)
    received = made.neighbor_alltoall([(comm.Get_rank(), peer) for peer in destinations])
    assert received == [(peer, comm.Get_rank()) for peer in sources]
    made.Free()


DIMS = [
    *product([1, 2, 5, 6, 12, 16, 36, 60, 64, 97, 100, 128, 210, 1000, 1024], [1, 2, 3, 4, 5]),
    *product([12, 60], [[0], [0, 0], (3, 0), [0, 3], [0, 2, 0], [5, 0], [0, 7], [-1, 0], [], [3, 4], [1, 1]]),
    (12, np.array([0, 0])),
    (12.0, 2),
    (6, 0),
    (6, -1),
    (6, 2.0),
    (6, None),
    (6, "ab"),
    (-1, 2),
]


@pytest.mark.parametrize("args", DIMS, ids=str)
def test_compute_dims(MPI: Any, args: Any, record: Any) -> None:
    how = outcome(MPI, MPI.Compute_dims, *args)
    record(how, MPI.Compute_dims(*args) if how == "fine" else None)


# -- classes -----------------------------------------------------------------------------------------------------------

KINDS = {
    "grid": lambda MPI, c: c.Create_cart([c.size]),
    "graph": lambda MPI, c: c.Create_graph(*ring(c.size)),
    "distributed": lambda MPI, c: doubled(c),
}
COPIES = {
    "Dup": lambda MPI, c: c.Dup(),
    "Clone": lambda MPI, c: c.Clone(),
    "Dup_with_info": lambda MPI, c: c.Dup_with_info(MPI.INFO_NULL),
    "Idup": lambda MPI, c: idup(c),
    "Split": lambda MPI, c: c.Split(0, 0),
    "Split_type": lambda MPI, c: c.Split_type(MPI.COMM_TYPE_SHARED),
    "Create": lambda MPI, c: c.Create(c.Get_group()),
    "Create_group": lambda MPI, c: c.Create_group(c.Get_group()),
    "Create_cart": lambda MPI, c: c.Create_cart([c.size]),
    "Dup as Comm": lambda MPI, c: MPI.Comm(c).Dup(),
    "Dup as Intracomm": lambda MPI, c: MPI.Intracomm(c).Dup(),
    "Dup as Topocomm": lambda MPI, c: MPI.Topocomm(c).Dup(),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def idup(comm: Any) -> Any:
    made, request = comm.Idup()
    request.Wait()
    return made


@kinds
@pytest.mark.parametrize("copy", COPIES)
def test_copies(MPI: Any, comm: Any, kind: str, copy: str, record: Any) -> None:
    made = KINDS[kind](MPI, comm)
    other = COPIES[copy](MPI, made)
    record(about(other), other.is_topo, other.topology == made.topology)
    if isinstance(other, MPI.Topocomm):
        record(other.neighbor_allgather(comm.Get_rank()))
        if type(other) is not MPI.Topocomm:  # mpi4py then does not know the kind of topology
            record(plain(MPI, other.inoutedges))
    made.Free()
    other.Free()


@kinds
@pytest.mark.parametrize("name", CLASSES)
def test_classes(MPI: Any, comm: Any, kind: str, name: str, record: Any) -> None:
    cls, made = getattr(MPI, name), KINDS[kind](MPI, comm)
    record([base.__name__ for base in cls.__mro__ if base.__name__ in CLASSES])
    record(about(cls()), about(cls(MPI.COMM_NULL)), outcome(MPI, cls, MPI.COMM_SELF), outcome(MPI, cls, 3))
    record(outcome(MPI, cls, made), outcome(MPI, cls, MPI.Comm(made)))
    record(about(cls.fromhandle(made.handle)), about(cls.fromint(made.toint())), about(cls.f2py(made.py2f())))
    record(about(cls.fromhandle(MPI.COMM_SELF.handle)), cls.fromhandle(made.handle) == made)
    made.Free()


def test_subclass(MPI: Any, comm: Any, record: Any) -> None:
    class Mine(MPI.Cartcomm):
        pass

    made = Mine(comm.Create_cart([comm.size], [True]))
    other = made.Dup()
    record(about(made), about(other), other.topo, about(made.Sub([True])))
    made.Free()
    other.Free()


@kinds
def test_no_pickle(MPI: Any, comm: Any, kind: str, record: Any) -> None:
    made = KINDS[kind](MPI, comm)
    record(outcome(MPI, pickle.dumps, made), outcome(MPI, hash, made), bool(made))
    made.Free()


@pytest.mark.parametrize("name", CLASSES[2:])
def test_members(MPI: Any, name: str, record: Any) -> None:
    record(sorted(member for member in set(dir(getattr(MPI, name))) - set(dir(MPI.Intracomm)) if member[0] != "_"))


@pytest.mark.parametrize("name", ["scan", "Scan", "exscan", "Iexscan", "Create_cart", "Graph_map", "Create_dist_graph"])
def test_members_of_intracommunicators(MPI: Any, name: str, record: Any) -> None:
    record(hasattr(MPI.Comm, name), hasattr(MPI.Intracomm, name), callable(getattr(MPI.Topocomm, name)))


# -- mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES: dict[str, Any] = {
    "grid too large": lambda MPI, c: c.Create_cart([c.size + 1]),
    "dims number": lambda MPI, c: c.Create_cart(c.size),
    "dims None": lambda MPI, c: c.Create_cart(None),
    "dims text": lambda MPI, c: c.Create_cart("ab"),
    "dims float": lambda MPI, c: c.Create_cart([1.0]),
    "dims huge": lambda MPI, c: c.Create_cart([1 << 40]),
    "periods few": lambda MPI, c: c.Create_cart([1], []),
    "periods many": lambda MPI, c: c.Create_cart([1], [True, True]),
    "periods number": lambda MPI, c: c.Create_cart([1], 1),
    "periods text": lambda MPI, c: c.Create_cart([1], ["a"]),
    "periods numpy": lambda MPI, c: c.Create_cart([1], np.array([True])),
    "null": lambda MPI, c: MPI.Intracomm().Create_cart([1]),
    "map too large": lambda MPI, c: c.Cart_map([c.size + 1]),
    "map periods": lambda MPI, c: c.Cart_map([1], []),
    "graph too large": lambda MPI, c: c.Create_graph([1] * (c.size + 1), [0]),
    "graph few edges": lambda MPI, c: c.Create_graph([3], [0]),
    "graph negative edge": lambda MPI, c: c.Create_graph([1], [-5]),
    "graph negative index": lambda MPI, c: c.Create_graph([-1], []),
    "graph decreasing": lambda MPI, c: c.Create_graph([2, 1], [0, 0]),
    "graph text": lambda MPI, c: c.Create_graph("a", "b"),
    "graph None": lambda MPI, c: c.Create_graph(None, None),
    "graph number": lambda MPI, c: c.Create_graph(1, 0),
    "graph map too large": lambda MPI, c: c.Graph_map([1] * (c.size + 1), [0]),
    "null topo": lambda MPI, c: MPI.Cartcomm().Get_topo(),
    "null dims": lambda MPI, c: MPI.Cartcomm().dims,
    "null shift": lambda MPI, c: MPI.Cartcomm().Shift(0, 1),
    "null graph": lambda MPI, c: MPI.Graphcomm().Get_dims(),
    "null degrees": lambda MPI, c: MPI.Graphcomm().degrees,
    "null edges": lambda MPI, c: MPI.Cartcomm().inoutedges,
    "null distributed": lambda MPI, c: MPI.Distgraphcomm().Get_dist_neighbors(),
    "null objects": lambda MPI, c: MPI.Cartcomm().neighbor_allgather(1),
    "null buffers": lambda MPI, c: MPI.Cartcomm().Neighbor_allgather(b"", bytearray()),
    "null is_topo": lambda MPI, c: MPI.COMM_NULL.is_topo,
    "null topology": lambda MPI, c: MPI.COMM_NULL.topology,
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(MPI: Any, comm: Any, case: str, record: Any) -> None:
    record(outcome(MPI, MISTAKES[case], MPI, comm))


MISUSES: dict[str, Any] = {
    "coords beyond": lambda MPI, g: g.Get_cart_rank([g.dims[0], 0]),
    "coords negative": lambda MPI, g: g.Get_cart_rank([-1, 0]),
    "coords around": lambda MPI, g: g.Get_cart_rank([0, -7]),
    "coords few": lambda MPI, g: g.Get_cart_rank([0]),
    "coords many": lambda MPI, g: g.Get_cart_rank([0, 0, 0]),
    "coords number": lambda MPI, g: g.Get_cart_rank(0),
    "coords None": lambda MPI, g: g.Get_cart_rank(None),
    "coords float": lambda MPI, g: g.Get_cart_rank([0.0, 0.0]),
    "coords array": lambda MPI, g: g.Get_cart_rank(np.array([0, 0])),
    "rank beyond": lambda MPI, g: g.Get_coords(g.size),
    "rank negative": lambda MPI, g: g.Get_coords(-1),
    "rank null": lambda MPI, g: g.Get_coords(MPI.PROC_NULL),
    "rank text": lambda MPI, g: g.Get_coords("a"),
    "rank float": lambda MPI, g: g.Get_coords(0.0),
    "direction beyond": lambda MPI, g: g.Shift(2, 1),
    "direction negative": lambda MPI, g: g.Shift(-1, 1),
    "direction text": lambda MPI, g: g.Shift("a", 1),
    "displacement float": lambda MPI, g: g.Shift(0, 1.5),
    "displacement None": lambda MPI, g: g.Shift(0, None),
    "sub few": lambda MPI, g: g.Sub([True]),
    "sub many": lambda MPI, g: g.Sub([True] * 3),
    "sub truth": lambda MPI, g: g.Sub(True),
    "sub None": lambda MPI, g: g.Sub(None),
    "sub text": lambda MPI, g: g.Sub("ab"),
    "objects few": lambda MPI, g: g.neighbor_alltoall([1]),
    "objects many": lambda MPI, g: g.neighbor_alltoall([1] * 5),
    "objects number": lambda MPI, g: g.neighbor_alltoall(5),
    "no send buffer": lambda MPI, g: g.Neighbor_allgather(None, np.zeros(4)),
    "no receive buffer": lambda MPI, g: g.Neighbor_allgather(np.zeros(1), None),
    "uneven receive": lambda MPI, g: g.Neighbor_allgather(np.zeros(1), np.zeros(5)),
    "uneven send": lambda MPI, g: g.Neighbor_alltoall(np.zeros(5), np.zeros(4)),
    "receive counts": lambda MPI, g: g.Neighbor_allgatherv(np.zeros(1), [np.zeros(4), [1, 1]]),
    "send counts": lambda MPI, g: g.Neighbor_alltoallv([np.zeros(4), [4]], np.zeros(4)),
    "read-only": lambda MPI, g: g.Neighbor_allgather(np.zeros(1), bytes(32)),
    "no datatypes": lambda MPI, g: g.Neighbor_alltoallw([np.zeros(4), []], [np.zeros(4), []]),
    "assigned": lambda MPI, g: setattr(g, "dims", [1]),
}


@pytest.mark.parametrize("case", MISUSES)
def test_misuses(MPI: Any, comm: Any, case: str, record: Any) -> None:
    made = comm.Create_cart([comm.size, 1], [False, True])
    record(outcome(MPI, MISUSES[case], MPI, made))
    made.Free()


# -- neighbourhood collectives -----------------------------------------------------------------------------------------


@topologies
@calls
@pytest.mark.parametrize("count", [1, 3, 5000])
def test_allgather(MPI: Any, comm: Any, topology: str, call: str, count: int, record: Any) -> None:
    made = TOPOLOGIES[topology](MPI, comm)
    target = np.full((made.indegree, count), -1, "i")
    collective(made, call, "Neighbor_allgather", values("i", count, made.rank), target)
    for peer, block in zip(made.inedges, target):
        assert np.array_equal(block, values("i", count, peer) if peer != MPI.PROC_NULL else np.full(count, -1, "i"))
    record(target)
    made.Free()


@topologies
@calls
def test_alltoall(MPI: Any, comm: Any, topology: str, call: str, record: Any) -> None:
    made = TOPOLOGIES[topology](MPI, comm)
    source = np.arange(2 * made.outdegree, dtype="i") + 100 * made.rank
    target = np.full(2 * made.indegree, -1, "i")
    collective(made, call, "Neighbor_alltoall", source, target)
    record(target)
    made.Free()


@topologies
@calls
@pytest.mark.parametrize("gap", [0, 2])
def test_allgatherv(MPI: Any, comm: Any, topology: str, call: str, gap: int, record: Any) -> None:
    """Ranks send different numbers of elements."""
    made = TOPOLOGIES[topology](MPI, comm)
    counts = [0 if peer == MPI.PROC_NULL else peer % 3 + 1 for peer in made.inedges]
    starts = [sum(counts[:place]) + gap * place for place in range(len(counts))]
    target = np.full(sum(counts) + gap * len(counts), -1, "i")
    spec = [target, counts, starts, MPI.INT]
    collective(made, call, "Neighbor_allgatherv", values("i", made.rank % 3 + 1, made.rank), spec)
    record(target)
    made.Free()


@topologies
@calls
@pytest.mark.parametrize("form", ["v", "w"])
def test_alltoallv(MPI: Any, comm: Any, topology: str, call: str, form: str, record: Any) -> None:
    """An edge carries as many elements as the sum of its ends' ranks, of a type by the parity of the sum."""
    made = TOPOLOGIES[topology](MPI, comm)

    def layout(peers: list[int]) -> tuple[list[int], list[int], list[Any]]:
        counts = [2 if peer == MPI.PROC_NULL else made.rank + peer for peer in peers]
        kinds = [MPI.INT if form == "v" or count % 2 else MPI.SHORT for count in counts]
        scale = 4 if form == "w" else 1
        return counts, [sum(counts[:place]) * scale for place in range(len(counts))], kinds

    counts, starts, kinds = layout(made.outedges)
    source = np.arange(sum(counts), dtype="i") + 1000 * made.rank
    into, places, types = layout(made.inedges)
    target = np.full(sum(into), -1, "i")
    kind: Any = MPI.INT
    sends = [source, (counts, starts), kinds if form == "w" else kind]
    receives = [target, (into, places), types if form == "w" else kind]
    collective(made, call, f"Neighbor_alltoall{form}", sends, receives)
    record(target)
    made.Free()


@topologies
@calls
def test_strided_types(MPI: Any, comm: Any, topology: str, call: str, record: Any) -> None:
    """Columns travel; what is between them, and the columns of neighbours that are not there, stay as they are."""
    made = TOPOLOGIES[topology](MPI, comm)
    width = made.indegree
    column = MPI.INT.Create_vector(3, 1, width).Create_resized(0, 4).Commit()
    target = np.full((3, width), -1, "i")
    collective(made, call, "Neighbor_allgather", values("i", 3, made.rank), [target, 1, column])
    record(target)
    matrix = np.arange(3 * made.outdegree, dtype="i").reshape(3, -1) + 100 * made.rank
    slice_ = MPI.INT.Create_vector(3, 1, made.outdegree).Create_resized(0, 4).Commit()
    collective(made, call, "Neighbor_alltoall", [matrix, 1, slice_], [target, 1, column])
    record(target)
    column.Free()
    slice_.Free()
    made.Free()


@topologies
def test_objects(MPI: Any, comm: Any, topology: str, record: Any) -> None:
    made = TOPOLOGIES[topology](MPI, comm)
    record(made.neighbor_allgather({"rank": made.rank, "data": values("d", 3000, made.rank)}))
    record(made.neighbor_alltoall([(made.rank, place) for place in range(made.outdegree)]))
    record(made.neighbor_alltoall(iter(range(made.outdegree))), made.neighbor_alltoall(None))
    mine = [made.rank]
    received = made.neighbor_allgather(mine)
    assert all(one is not mine for one in received)
    made.Free()


@topologies
def test_persistent_restarts(MPI: Any, comm: Any, topology: str, record: Any) -> None:
    made = TOPOLOGIES[topology](MPI, comm)
    source, target = np.zeros(made.outdegree, "i"), np.full(made.indegree, -1, "i")
    request = made.Neighbor_alltoall_init(source, target)
    for turn in range(3):
        source[:] = np.arange(made.outdegree) + 10 * made.rank + 100 * turn
        request.Start()
        request.Wait()
        record(target)
    request.Free()
    made.Free()


@topologies
def test_several_at_once(MPI: Any, comm: Any, topology: str, record: Any) -> None:
    made = TOPOLOGIES[topology](MPI, comm)
    sources = [values("i", 40 * made.outdegree, made.rank + turn) for turn in range(4)]
    targets = [np.full(40 * made.indegree, -1, "i") for _ in range(4)]
    requests = [made.Ineighbor_alltoall(*pair) for pair in zip(sources, targets)]
    total = made.allreduce(made.rank)
    MPI.Request.Waitall(requests)
    record(total, targets)
    made.Free()
