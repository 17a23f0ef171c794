"""Inter-communicators: making, copying and merging them, messages and all collectives over them, their mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from compat_tests.support import CALLS, collective, constant_name, outcome, status_fields, values

COUNTS = (0, 1, 7, 3000)
calls = pytest.mark.parametrize("call", CALLS)
counts = pytest.mark.parametrize("count", COUNTS)
origins = pytest.mark.parametrize("origin", ["low", "high"])
ranks = pytest.mark.parametrize("which", ["first", "last"])


class Sides:
    """Two groups of the world with an inter-communicator between them; the low one may be the smaller."""

    def __init__(self, MPI: Any, comm: Any) -> None:
        self.MPI = MPI
        self.comm = comm
        self.middle = comm.Get_size() // 2
        self.low = comm.Get_rank() < self.middle
        self.local = comm.Split(int(self.low), comm.Get_rank())
        self.between = self.local.Create_intercomm(0, comm, self.middle if self.low else 0, 3)

    def root(self, origin: str, which: str) -> int:
        """Return what this process gives as the root: of group ``origin`` its first or last process."""
        MPI, between = self.MPI, self.between
        if self.low == (origin == "low"):
            leads = between.Get_rank() == (0 if which == "first" else between.Get_size() - 1)
            return MPI.ROOT if leads else MPI.PROC_NULL
        return 0 if which == "first" else between.Get_remote_size() - 1


@pytest.fixture
def sides(MPI: Any, comm: Any) -> Iterator[Sides]:
    if comm.Get_size() == 1:
        pytest.skip("needs two groups")
    made = Sides(MPI, comm)
    yield made
    made.between.Free()
    made.local.Free()


def about(MPI: Any, made: Any) -> tuple[Any, ...]:
    """Return what can be seen of a communicator, and free it."""
    kind = type(made).__name__
    if made == MPI.COMM_NULL:
        return kind, None
    inter = made.Is_inter()
    world = MPI.COMM_WORLD.Get_group()
    groups = [made.Get_group(), made.Get_remote_group()] if inter else [made.Get_group()]
    members = [group.Translate_ranks(None, world) for group in groups]
    seen = kind, inter, made.Get_rank(), made.Get_size(), members, made.allgather(MPI.COMM_WORLD.Get_rank())
    made.Free()
    return seen


MAKERS = {
    "Dup": lambda MPI, c, low: c.Dup(),
    "Clone": lambda MPI, c, low: c.Clone(),
    "Dup_with_info": lambda MPI, c, low: c.Dup_with_info(MPI.INFO_NULL),
    "Split": lambda MPI, c, low: c.Split(0, 0),
    "Split reversed": lambda MPI, c, low: c.Split(0, -c.Get_rank()),
    "Split by rank": lambda MPI, c, low: c.Split(c.Get_rank(), 0),
    "Split of no one": lambda MPI, c, low: c.Split(MPI.UNDEFINED, 0),
    "Split of one side": lambda MPI, c, low: c.Split(0 if low else MPI.UNDEFINED, 0),
    "Split_type": lambda MPI, c, low: c.Split_type(MPI.COMM_TYPE_SHARED),
    "Split_type of no one": lambda MPI, c, low: c.Split_type(MPI.UNDEFINED),
    "Create": lambda MPI, c, low: c.Create(c.Get_group()),
    "Create reversed": lambda MPI, c, low: c.Create(c.Get_group().Incl(range(c.Get_size())[::-1])),
    "Create first": lambda MPI, c, low: c.Create(c.Get_group().Incl([0])),
    "Create empty": lambda MPI, c, low: c.Create(c.Get_group() if low else MPI.GROUP_EMPTY),
    "Merge": lambda MPI, c, low: c.Merge(),
    "Merge low first": lambda MPI, c, low: c.Merge(not low),
    "Merge high first": lambda MPI, c, low: c.Merge(low),
    "Merge twice": lambda MPI, c, low: c.Merge(low).Split(0, 0),
    "Create_from_groups": lambda MPI, c, low: MPI.Intercomm.Create_from_groups(
        c.Get_group(), 0, c.Get_remote_group(), 0
    ),
    "Create_from_group": lambda MPI, c, low: MPI.Intracomm.Create_from_group(c.Get_group(), f"org.example.{low}"),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_construction(MPI: Any, sides: Sides, maker: str, record: Any) -> None:
    record(about(MPI, MAKERS[maker](MPI, sides.between, sides.low)))


@pytest.mark.parametrize("name", ["Idup", "Idup_with_info"])
def test_nonblocking_duplicates(MPI: Any, sides: Sides, name: str, record: Any) -> None:
    first, one = getattr(sides.between, name)(MPI.INFO_NULL)
    second, two = getattr(sides.between, name)(MPI.INFO_NULL)
    MPI.Request.Waitall([two, one])
    record(sides.between.Compare(first) == MPI.CONGRUENT, about(MPI, first), about(MPI, second))


def test_what_is_seen(MPI: Any, sides: Sides, record: Any) -> None:
    between = sides.between
    record(between.rank, between.size, between.remote_size, between.is_inter, between.is_intra, between.name)
    record(constant_name(MPI, between.topology, "UNDEFINED"), between.Get_attr(MPI.TAG_UB) is None)
    record(between.group.size, between.remote_group.size, between.remote_group.rank == MPI.UNDEFINED)
    record(type(MPI.Comm.fromhandle(between.handle)).__name__, MPI.Comm.fromhandle(between.handle) == between)
    record(MPI.Comm(between) == between, MPI.Intercomm(between) == between, MPI.Intercomm() == MPI.COMM_NULL)
    for name in ("Scan", "scan", "exscan", "Create_group", "Create_cart", "Spawn", "Merge", "Disconnect"):
        record(hasattr(between, name))


def test_comparison(MPI: Any, sides: Sides, record: Any) -> None:
    between = sides.between
    twin = between.Dup()
    turned = between.Split(0, -between.Get_rank())
    part = between.Create(between.Get_group().Incl([0]))
    for other in (between, twin, turned, sides.local, sides.comm):
        record(constant_name(MPI, between.Compare(other), "IDENT", "CONGRUENT", "SIMILAR", "UNEQUAL"))
    for made in (twin, turned, part):
        made.free()


def test_attributes_and_hints_are_copied(MPI: Any, sides: Sides, record: Any) -> None:
    key = MPI.Comm.Create_keyval(copy_fn=lambda comm, key, value: value + 1)
    sides.between.Set_attr(key, 4)
    twin = sides.between.Dup()
    record(twin.Get_attr(key), sides.between.Get_attr(key))
    twin.Free()
    MPI.Comm.Free_keyval(key)


def test_parent(MPI: Any, record: Any) -> None:
    parent = MPI.Comm.Get_parent()
    record(type(parent).__name__, parent == MPI.COMM_NULL, parent is MPI.Comm.Get_parent(), parent.Get_name())


def test_nested(MPI: Any, sides: Sides, record: Any) -> None:
    merged = sides.between.Merge(sides.low)
    even = merged.Get_rank() % 2 == 0
    half = merged.Split(int(even), merged.Get_rank())
    crossed = half.Create_intercomm(half.Get_size() - 1, merged, last(merged, 1 if even else 0), 9)
    record(about(MPI, crossed), about(MPI, half), about(MPI, merged))


def last(comm: Any, parity: int) -> int:
    """Return the last rank that is even (0) or odd (1)."""
    return max(rank for rank in range(comm.Get_size()) if rank % 2 == parity)


# -- messages ----------------------------------------------------------------------------------------------------------


@counts
def test_messages(MPI: Any, sides: Sides, count: int, record: Any) -> None:
    between = sides.between
    rank, peers = between.Get_rank(), range(between.Get_remote_size())
    requests = [between.Isend(values("d", count, 10 * rank + peer), peer, peer) for peer in peers]
    for peer in peers:
        found, status = np.full(count, -1.0), MPI.Status()
        between.Recv(found, peer, rank, status)
        assert np.array_equal(found, values("d", count, 10 * peer + rank))
        record(found, status_fields(MPI, status, MPI.DOUBLE))
    MPI.Request.Waitall(requests)


def test_objects_and_wildcards(MPI: Any, sides: Sides, record: Any) -> None:
    between = sides.between
    requests = [between.isend((sides.low, between.Get_rank()), peer, 5) for peer in range(between.Get_remote_size())]
    found = []
    for _ in range(between.Get_remote_size()):
        status = MPI.Status()
        between.probe(MPI.ANY_SOURCE, 5, status)
        found.append((status.source, between.recv(None, status.source, 5)))
    MPI.Request.waitall(requests)
    record(sorted(found))


def test_exchange_of_leaders(MPI: Any, sides: Sides, record: Any) -> None:
    peer = 0 if sides.between.Get_rank() == 0 else MPI.PROC_NULL
    record(sides.between.sendrecv(sides.low, peer, 1, None, peer, 1))
    data = np.array([int(sides.low)])
    sides.between.Sendrecv_replace(data, peer, 2, peer, 2)
    record(data)


# -- collectives -------------------------------------------------------------------------------------------------------


@calls
def test_barrier(MPI: Any, sides: Sides, call: str) -> None:
    for _ in range(2):
        collective(sides.between, call, "Barrier")


@calls
@counts
@origins
@ranks
def test_bcast(MPI: Any, sides: Sides, call: str, count: int, origin: str, which: str, record: Any) -> None:
    root = sides.root(origin, which)
    data = values("d", count, 5) if root == MPI.ROOT else np.full(count, -1.0)
    collective(sides.between, call, "Bcast", None if root == MPI.PROC_NULL else data, root)
    record(data)


@calls
@origins
@ranks
@pytest.mark.parametrize("vector", ["", "v"], ids=["equal", "vector"])
def test_gather_and_scatter(
    MPI: Any, sides: Sides, call: str, origin: str, which: str, vector: str, record: Any
) -> None:
    between, root = sides.between, sides.root(origin, which)
    peers = between.Get_remote_size()
    lengths = [3 + peer if vector else 4 for peer in range(peers)]
    mine = 3 + between.Get_rank() if vector else 4
    for name in ("Gather", "Scatter"):
        whole = values("i", sum(lengths), 2) if root == MPI.ROOT else None
        part = None if root in (MPI.ROOT, MPI.PROC_NULL) else values("i", mine, between.Get_rank())
        spec = [whole, lengths] if vector and whole is not None else whole
        pair = (part, spec) if name == "Gather" else (spec, part)
        collective(between, call, name + vector, *pair, root)
        record(whole, part)


@calls
@counts
def test_allgather(MPI: Any, sides: Sides, call: str, count: int, record: Any) -> None:
    between, own, other = sides.between, count, 2 * count
    if sides.low:
        own, other = other, own
    found = np.full((between.Get_remote_size(), other), -1, "i")
    collective(between, call, "Allgather", values("i", own, sides.comm.Get_rank()), found)
    record(found)


@calls
@pytest.mark.parametrize("gap", [0, 2])
def test_allgatherv(MPI: Any, sides: Sides, call: str, gap: int, record: Any) -> None:
    between = sides.between
    lengths = [2 * peer for peer in range(between.Get_remote_size())]
    places = [sum(lengths[:peer]) + gap * peer for peer in range(len(lengths))]
    found = np.full(sum(lengths) + gap * len(lengths), -1, "i")
    rank = between.Get_rank()
    collective(between, call, "Allgatherv", values("i", 2 * rank, rank + 4), [found, lengths, places, MPI.INT])
    record(found)


@calls
@counts
def test_alltoall(MPI: Any, sides: Sides, call: str, count: int, record: Any) -> None:
    between = sides.between
    peers = between.Get_remote_size()
    source = values("i", peers * count, sides.comm.Get_rank())
    found = np.full(peers * count, -1, "i")
    collective(between, call, "Alltoall", source, found)
    record(found)


@calls
@pytest.mark.parametrize("name", ["Alltoallv", "Alltoallw"])
def test_alltoall_of_different_blocks(MPI: Any, sides: Sides, call: str, name: str, record: Any) -> None:
    between = sides.between
    rank, peers = between.Get_rank(), between.Get_remote_size()
    lengths = [(rank + peer) % 3 for peer in range(peers)]
    places = [sum(lengths[:peer]) for peer in range(peers)]
    source, found = values("i", sum(lengths), sides.comm.Get_rank()), np.full(sum(lengths), -1, "i")
    if name == "Alltoallw":
        types = [MPI.INT] * peers
        offsets = [4 * place for place in places]
        pair = [source, lengths, offsets, types], [found, lengths, offsets, types]
    else:
        pair = [source, lengths, places, MPI.INT], [found, lengths, places, MPI.INT]
    collective(between, call, name, *pair)
    record(found)


OPS = ("SUM", "MAX", "PROD", "BXOR")


@calls
@counts
@pytest.mark.parametrize("op", OPS)
def test_allreduce(MPI: Any, sides: Sides, call: str, count: int, op: str, record: Any) -> None:
    found = np.full(count, -1, "i")
    collective(sides.between, call, "Allreduce", values("i", count, sides.comm.Get_rank()), found, getattr(MPI, op))
    record(found)


@calls
@counts
@origins
@ranks
def test_reduce(MPI: Any, sides: Sides, call: str, count: int, origin: str, which: str, record: Any) -> None:
    root = sides.root(origin, which)
    own = None if root in (MPI.ROOT, MPI.PROC_NULL) else values("i", count, sides.comm.Get_rank())
    found = np.full(count, -1, "i") if root == MPI.ROOT else None
    collective(sides.between, call, "Reduce", own, found, MPI.SUM, root)
    record(found)


@calls
@pytest.mark.parametrize("name", ["Reduce_scatter", "Reduce_scatter_block"])
def test_reduce_scatter(MPI: Any, sides: Sides, call: str, name: str, record: Any) -> None:
    between = sides.between
    size = between.Get_size()
    total = 2 * size * between.Get_remote_size()
    counts = [total // size] * size
    if name == "Reduce_scatter" and size > 1:
        counts[0], counts[1] = counts[0] - 1, counts[1] + 1
    found = np.full(counts[between.Get_rank()], -1, "i")
    more = [counts] if name == "Reduce_scatter" else []
    collective(between, call, name, values("i", total, sides.comm.Get_rank()), found, *more)
    record(found)


def test_order_of_operands(MPI: Any, sides: Sides, record: Any) -> None:
    def apply(first: Any, second: Any, datatype: Any) -> None:
        left, right = (np.frombuffer(memory, "i").reshape(-1, 2) for memory in (first, second))
        right[:, 1] += right[:, 0] * left[:, 1]
        right[:, 0] *= left[:, 0]

    op = MPI.Op.Create(apply, commute=False)
    pair = MPI.INT.Create_contiguous(2).Commit()
    found = np.full(6, -1, "i")
    sides.between.Allreduce([values("i", 6, sides.comm.Get_rank()), 3, pair], [found, 3, pair], op)
    record(found)
    pair.Free()
    op.Free()


@calls
def test_types_with_gaps(MPI: Any, sides: Sides, call: str, record: Any) -> None:
    between = sides.between
    gaps = MPI.INT.Create_vector(2, 1, 2).Create_resized(0, 16).Commit()
    peers = between.Get_remote_size()
    found = np.full(4 * peers, -1, "i")
    collective(between, call, "Allgather", [values("i", 4, sides.comm.Get_rank()), 1, gaps], [found, 1, gaps])
    record(found)
    root = sides.root("low", "first")
    data = values("i", 4, 9) if root == MPI.ROOT else np.full(4, -1, "i")
    collective(between, call, "Bcast", [data, 1, gaps], root)
    record(data)
    gaps.Free()


def test_several_at_once(MPI: Any, sides: Sides, record: Any) -> None:
    between = sides.between
    sources = [values("i", 50, at + sides.comm.Get_rank()) for at in range(6)]
    found = [np.full(50, -1, "i") for _ in range(6)]
    requests = [between.Iallreduce(*pair) for pair in zip(sources, found)]
    data = np.arange(3) if sides.low else np.zeros(3, int)
    requests.append(between.Ibcast(data, sides.root("low", "first")))
    MPI.Request.Waitall(requests)
    record(*found, data)


def test_persistent_again_and_again(MPI: Any, sides: Sides, record: Any) -> None:
    source, found = np.zeros(4, "i"), np.zeros(4, "i")
    request = sides.between.Allreduce_init(source, found)
    for turn in range(3):
        source[:] = turn + sides.comm.Get_rank()
        request.Start()
        request.Wait()
        record(found.copy())
    request.Free()


# -- objects -----------------------------------------------------------------------------------------------------------


@origins
@ranks
def test_objects_with_a_root(MPI: Any, sides: Sides, origin: str, which: str, record: Any) -> None:
    between, root = sides.between, sides.root(origin, which)
    me = sides.comm.Get_rank()
    record(between.bcast({"from": me}, root))
    record(between.gather(("part", me), root))
    record(between.scatter([me, "x", None, 4][: between.Get_remote_size()] if root == MPI.ROOT else None, root))
    record(between.reduce([me], MPI.SUM, root), between.reduce(me, max, root))


def test_objects_for_all(MPI: Any, sides: Sides, record: Any) -> None:
    between, me = sides.between, sides.comm.Get_rank()
    between.barrier()
    record(between.allgather("word" * me), between.allreduce([me]), between.allreduce(me, MPI.MAX))
    record(between.alltoall([(me, peer) for peer in range(between.Get_remote_size())]))
    array = between.allgather(np.full(30_000, me))
    record(array)


# -- mistakes ----------------------------------------------------------------------------------------------------------


MISTAKES = {
    "root": lambda MPI, c: c.Bcast(np.zeros(3), 17),
    "root below": lambda MPI, c: c.Bcast(np.zeros(3), -9),
    "root of objects": lambda MPI, c: c.gather(1, 17),
    "root of a scatter": lambda MPI, c: c.Scatter(None, np.zeros(2), 17),
    "root of a reduction": lambda MPI, c: c.reduce(1, root=17),
    "destination": lambda MPI, c: c.Send(np.zeros(3), 17),
    "source": lambda MPI, c: c.Recv(np.zeros(3), 17),
    "in place": lambda MPI, c: c.Allreduce(MPI.IN_PLACE, np.zeros(3)),
    "no buffer": lambda MPI, c: c.Allreduce(None, np.zeros(3)),
    "counts differ": lambda MPI, c: c.Allreduce(np.zeros(2), np.zeros(3)),
    "types differ": lambda MPI, c: c.Allreduce(np.zeros(3, "i"), np.zeros(3)),
    "no counts": lambda MPI, c: c.Reduce_scatter(np.zeros(6), np.zeros(6), None),
    "too many objects": lambda MPI, c: c.alltoall([1] * 9),
    "null group": lambda MPI, c: c.Create(MPI.GROUP_NULL),
    "split type": lambda MPI, c: c.Split_type(77),
    "of an intra-communicator": lambda MPI, c: MPI.Intercomm(MPI.COMM_WORLD),
    "as an intra-communicator": lambda MPI, c: MPI.Intracomm(c),
    "null": lambda MPI, c: MPI.Intercomm().Get_remote_size(),
    "null merged": lambda MPI, c: MPI.Intercomm().Merge(),
    "made of an inter-communicator": lambda MPI, c: MPI.Intracomm.Create_intercomm(c, 0, MPI.COMM_WORLD, 0),
    "local leader": lambda MPI, c: MPI.COMM_SELF.Create_intercomm(7, MPI.COMM_WORLD, 0),
    "remote leader": lambda MPI, c: MPI.COMM_SELF.Create_intercomm(0, MPI.COMM_WORLD, 77),
    "leader of both": lambda MPI, c: MPI.COMM_SELF.Create_intercomm(0, MPI.COMM_SELF, 0),
    "tag": lambda MPI, c: MPI.COMM_SELF.Create_intercomm(0, MPI.COMM_WORLD, 0, -3),
    "null peer": lambda MPI, c: MPI.COMM_SELF.Create_intercomm(0, MPI.COMM_NULL, 0),
    "of a null group": lambda MPI, c: MPI.Intracomm.Create_from_group(MPI.GROUP_NULL),
    "of null groups": lambda MPI, c: MPI.Intercomm.Create_from_groups(c.Get_group(), 0, MPI.GROUP_NULL, 0),
    "of an empty group": lambda MPI, c: MPI.Intracomm.Create_from_group(MPI.GROUP_EMPTY),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(MPI: Any, sides: Sides, mistake: str, record: Any) -> None:
    record(outcome(MPI, partial(MISTAKES[mistake], MPI, sides.between)))


def test_freed(MPI: Any, sides: Sides, record: Any) -> None:
    twin = sides.between.Dup()
    twin.Free()
    record(twin == MPI.COMM_NULL, bool(twin), outcome(MPI, twin.Free), outcome(MPI, lambda: twin.Get_remote_size()))
    twin.free()
