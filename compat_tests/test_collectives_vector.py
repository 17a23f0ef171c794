"""Collectives on blocks of varying sizes: v and w forms, gaps, any order of displacements, zero counts, IN_PLACE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import CALLS, collective, values

pytestmark = [
    pytest.mark.parametrize("comm", ["world", "reversed", "halves"], indirect=True),
    pytest.mark.parametrize("call", CALLS),
]
layouts = pytest.mark.parametrize("layout", ["dense", "gaps", "backwards", "some empty"])
scales = pytest.mark.parametrize("scale", [1, 3000])
roots = pytest.mark.parametrize("root", ["first", "last"])
in_place = pytest.mark.parametrize("inplace", [False, True], ids=["apart", "in-place"])


class Layout:
    """Counts and displacements of one block per rank, by the name of a layout."""

    def __init__(self, name: str, size: int, scale: int) -> None:
        self.counts = [scale * (peer % 3 + 1) if name != "some empty" else scale * (peer % 2) for peer in range(size)]
        gap = 2 if name == "gaps" else 0
        order = range(size)[::-1] if name == "backwards" else range(size)
        self.starts = [0] * size
        self.length = gap
        for peer in order:
            self.starts[peer] = self.length
            self.length += self.counts[peer] + gap

    def spec(self, data: Any, MPI: Any) -> list[Any]:
        return [data, self.counts, self.starts, MPI.INT]

    def blocks(self, data: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return [data[start : start + count] for start, count in zip(self.starts, self.counts, strict=True)]

    def filled(self, seeds: Any) -> np.ndarray[Any, Any]:
        """Return an array with -1 in its gaps, whose block p holds the values of seed seeds(p)."""
        data = np.full(self.length, -1, "i")
        for peer, block in enumerate(self.blocks(data)):
            block[:] = values("i", len(block), seeds(peer))
        return data


@layouts
@scales
@roots
@in_place
def test_gatherv(
    MPI: Any, comm: Any, call: str, layout: str, scale: int, root: str, inplace: bool, record: Any
) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    origin = 0 if root == "first" else size - 1
    plan = Layout(layout, size, scale)
    source: Any = values("i", plan.counts[rank], rank)
    target = np.full(plan.length, -1, "i") if rank == origin else None
    if inplace and target is not None:
        plan.blocks(target)[rank][:] = source
        source = MPI.IN_PLACE
    collective(comm, call, "Gatherv", source, plan.spec(target, MPI) if rank == origin else None, origin)
    assert target is None or np.array_equal(target, plan.filled(lambda peer: peer))
    record(target)


@layouts
@scales
@roots
@in_place
def test_scatterv(
    MPI: Any, comm: Any, call: str, layout: str, scale: int, root: str, inplace: bool, record: Any
) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    origin = 0 if root == "first" else size - 1
    plan = Layout(layout, size, scale)
    source = plan.spec(plan.filled(lambda peer: peer), MPI) if rank == origin else None
    target = np.full(plan.counts[rank], -1, "i")
    keep = inplace and rank == origin
    collective(comm, call, "Scatterv", source, MPI.IN_PLACE if keep else target, origin)
    assert keep or np.array_equal(target, values("i", plan.counts[rank], rank))
    record(target)


@layouts
@scales
@in_place
def test_allgatherv(MPI: Any, comm: Any, call: str, layout: str, scale: int, inplace: bool, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    plan = Layout(layout, size, scale)
    source: Any = values("i", plan.counts[rank], rank)
    target = np.full(plan.length, -1, "i")
    if inplace:
        plan.blocks(target)[rank][:] = source
        source = MPI.IN_PLACE
    collective(comm, call, "Allgatherv", source, plan.spec(target, MPI))
    assert np.array_equal(target, plan.filled(lambda peer: peer))
    record(target)


@layouts
@scales
@in_place
def test_alltoallv(MPI: Any, comm: Any, call: str, layout: str, scale: int, inplace: bool, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    plan = Layout(layout, size, scale)
    mine = plan.counts[rank]
    if inplace:  # counts have to be symmetric
        plan = Layout("dense", size, scale)
        plan.counts, plan.starts, plan.length = [scale] * size, [scale * peer for peer in range(size)], scale * size
        target = plan.filled(lambda peer: 5 * rank + peer)
        collective(comm, call, "Alltoallv", MPI.IN_PLACE, plan.spec(target, MPI))
        assert np.array_equal(target, plan.filled(lambda peer: 5 * peer + rank))
    else:  # a rank gets its own count from each peer
        receive = Layout("dense", size, scale)
        receive.counts, receive.starts = [mine] * size, [mine * peer for peer in range(size)]
        receive.length = mine * size
        target = np.full(receive.length, -1, "i")
        source = plan.filled(lambda peer: 5 * rank + peer)
        collective(comm, call, "Alltoallv", plan.spec(source, MPI), receive.spec(target, MPI))
        assert np.array_equal(target, receive.filled(lambda peer: 5 * peer + rank))
    record(target)


@scales
@in_place
def test_alltoallw(MPI: Any, comm: Any, call: str, scale: int, inplace: bool, record: Any) -> None:
    """Even peers exchange ints, odd ones shorts: displacements in bytes, types by peer."""
    rank, size = comm.Get_rank(), comm.Get_size()
    codes = ["i" if (rank + peer) % 2 == 0 else "h" for peer in range(size)]
    types = [MPI.INT if code == "i" else MPI.SHORT for code in codes]
    sizes = [scale * (rank + peer + 1) * np.dtype(code).itemsize for peer, code in enumerate(codes)]
    starts = [sum(sizes[:peer]) for peer in range(size)]
    counts = [scale * (rank + peer + 1) for peer in range(size)]

    def message(seeds: Any) -> bytearray:
        parts = [values(codes[peer], counts[peer], seeds(peer)).tobytes() for peer in range(size)]
        return bytearray(b"".join(parts))

    source, target = message(lambda peer: 5 * rank + peer), bytearray(sum(sizes))
    if inplace:
        target[:] = source
    spec = [source, (counts, starts), types]
    collective(comm, call, "Alltoallw", MPI.IN_PLACE if inplace else spec, [target, (counts, starts), types])
    assert target == message(lambda peer: 5 * peer + rank)
    record(target)


@pytest.mark.parametrize("name", ["Gather", "Allgather", "Bcast", "Scatter"])
def test_strided_types(MPI: Any, comm: Any, call: str, name: str, record: Any) -> None:
    """Columns of matrices travel as resized vectors."""
    rank, size = comm.Get_rank(), comm.Get_size()
    column = MPI.INT.Create_vector(5, 1, size)
    block = column.Create_resized(0, 4).Commit()
    matrix = np.zeros((5, size), "i")
    whole = np.stack([values("i", 5, peer) for peer in range(size)], axis=1)
    if name == "Bcast":
        matrix[:] = whole if rank == 0 else 0
        collective(comm, call, name, [matrix, size, block], 0)
    elif name == "Scatter":
        matrix = np.zeros((5, 1), "i")
        source = np.ascontiguousarray(whole)
        collective(comm, call, name, [source, 1, block] if rank == 0 else None, matrix, 0)
        whole = whole[:, rank : rank + 1]
    else:
        args = (0,) if name == "Gather" else ()
        collective(comm, call, name, values("i", 5, rank), [matrix, 1, block], *args)
        whole = whole if name == "Allgather" or rank == 0 else np.zeros_like(whole)
    assert np.array_equal(matrix, whole)
    record(matrix)
    column.Free()
    block.Free()
