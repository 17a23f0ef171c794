"""Collectives on equal blocks: three forms of call, four communicators, empty to large, IN_PLACE, every root."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import CALLS, COMMS, collective, values

pytestmark = [
    pytest.mark.parametrize("comm", COMMS, indirect=True),
    pytest.mark.parametrize("call", CALLS),
]
COUNTS = (0, 1, 7, 2000, 150_000)
counts = pytest.mark.parametrize("count", COUNTS)
short_counts = pytest.mark.parametrize("count", (0, 1, 7, 2000))
roots = pytest.mark.parametrize("root", ["first", "last"])
in_place = pytest.mark.parametrize("inplace", [False, True], ids=["apart", "in-place"])


def root_of(comm: Any, root: str) -> int:
    return 0 if root == "first" else comm.Get_size() - 1


def all_blocks(comm: Any, count: int) -> np.ndarray[Any, Any]:
    """Return what an allgather of everybody's values has to give."""
    return np.concatenate([values("i", count, peer) for peer in range(comm.Get_size())])


def test_barrier(MPI: Any, comm: Any, call: str) -> None:
    for _ in range(3):
        collective(comm, call, "Barrier")


@counts
@roots
def test_bcast(MPI: Any, comm: Any, call: str, count: int, root: str, record: Any) -> None:
    origin = root_of(comm, root)
    data = values("d", count, origin) if comm.Get_rank() == origin else np.zeros(count)
    collective(comm, call, "Bcast", data, origin)
    assert np.array_equal(data, values("d", count, origin))
    record(data)


@short_counts
@roots
@in_place
def test_gather(MPI: Any, comm: Any, call: str, count: int, root: str, inplace: bool, record: Any) -> None:
    rank, size, origin = comm.Get_rank(), comm.Get_size(), root_of(comm, root)
    source = values("i", count, rank)
    target = np.full(size * count, -1, "i") if rank == origin else None
    if inplace and target is not None:
        target.reshape(size, count)[rank] = source
        collective(comm, call, "Gather", MPI.IN_PLACE, target, origin)
    else:
        collective(comm, call, "Gather", source, target, origin)
    assert target is None or np.array_equal(target, all_blocks(comm, count))
    record(target)


@short_counts
@roots
@in_place
def test_scatter(MPI: Any, comm: Any, call: str, count: int, root: str, inplace: bool, record: Any) -> None:
    rank, origin = comm.Get_rank(), root_of(comm, root)
    source = all_blocks(comm, count) if rank == origin else None
    target = values("i", count, rank) if inplace and rank == origin else np.full(count, -1, "i")
    collective(comm, call, "Scatter", source, MPI.IN_PLACE if inplace and rank == origin else target, origin)
    assert np.array_equal(target, values("i", count, rank))
    record(target)


@counts
@in_place
def test_allgather(MPI: Any, comm: Any, call: str, count: int, inplace: bool, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    target = np.full((size, count), -1, "i")
    if inplace:
        target[rank] = values("i", count, rank)
    collective(comm, call, "Allgather", MPI.IN_PLACE if inplace else values("i", count, rank), target)
    assert np.array_equal(target.ravel(), all_blocks(comm, count))
    record(target)


@short_counts
@in_place
def test_alltoall(MPI: Any, comm: Any, call: str, count: int, inplace: bool, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    source = np.concatenate([values("i", count, 5 * rank + peer) for peer in range(size)])
    target = source.copy() if inplace else np.full(size * count, -1, "i")
    collective(comm, call, "Alltoall", MPI.IN_PLACE if inplace else source, target)
    assert np.array_equal(target, np.concatenate([values("i", count, 5 * peer + rank) for peer in range(size)]))
    record(target)


def total(comm: Any, count: int, ranks: int | None = None) -> np.ndarray[Any, Any]:
    """Return the sum of the first so many ranks' values."""
    seeds = range(comm.Get_size() if ranks is None else ranks)
    return sum((values("d", count, peer) for peer in seeds), np.zeros(count))


@counts
@roots
@in_place
def test_reduce(MPI: Any, comm: Any, call: str, count: int, root: str, inplace: bool, record: Any) -> None:
    rank, origin = comm.Get_rank(), root_of(comm, root)
    source = values("d", count, rank)
    target = (source.copy() if inplace else np.full(count, -1.0)) if rank == origin else None
    collective(comm, call, "Reduce", MPI.IN_PLACE if inplace and rank == origin else source, target, MPI.SUM, origin)
    assert target is None or np.array_equal(target, total(comm, count))
    record(target)


@counts
@in_place
def test_allreduce(MPI: Any, comm: Any, call: str, count: int, inplace: bool, record: Any) -> None:
    source = values("d", count, comm.Get_rank())
    target = source.copy() if inplace else np.full(count, -1.0)
    collective(comm, call, "Allreduce", MPI.IN_PLACE if inplace else source, target, MPI.SUM)
    assert np.array_equal(target, total(comm, count))
    record(target)


@short_counts
@in_place
@pytest.mark.parametrize("name", ["Scan", "Exscan"])
def test_scans(MPI: Any, comm: Any, call: str, count: int, inplace: bool, name: str, record: Any) -> None:
    rank = comm.Get_rank()
    source = values("d", count, rank)
    target = source.copy() if inplace else np.full(count, -1.0)
    collective(comm, call, name, MPI.IN_PLACE if inplace else source, target, MPI.SUM)
    if name == "Scan":
        assert np.array_equal(target, total(comm, count, rank + 1))
    elif rank > 0:  # on rank 0 the result of Exscan is undefined
        assert np.array_equal(target, total(comm, count, rank))
    record(target if rank > 0 else None)


@short_counts
@in_place
def test_reduce_scatter_block(MPI: Any, comm: Any, call: str, count: int, inplace: bool, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    source = values("d", size * count, rank)
    target = source.copy() if inplace else np.full(count, -1.0)
    collective(comm, call, "Reduce_scatter_block", MPI.IN_PLACE if inplace else source, target, MPI.SUM)
    assert np.array_equal(target[:count], total(comm, size * count)[rank * count : (rank + 1) * count])
    record(target[:count])


@short_counts
@in_place
def test_reduce_scatter(MPI: Any, comm: Any, call: str, count: int, inplace: bool, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    shares = [count + peer % 3 for peer in range(size)]
    source = values("d", sum(shares), rank)
    target = source.copy() if inplace else np.full(shares[rank], -1.0)
    collective(comm, call, "Reduce_scatter", MPI.IN_PLACE if inplace else source, target, shares, MPI.SUM)
    begin = sum(shares[:rank])
    assert np.array_equal(target[: shares[rank]], total(comm, sum(shares))[begin : begin + shares[rank]])
    record(target[: shares[rank]])


def test_several_at_once(MPI: Any, comm: Any, call: str, record: Any) -> None:
    """Nonblocking and persistent collectives on one communicator overlap, and finish in any order."""
    rank, size = comm.Get_rank(), comm.Get_size()
    sums, blocks, word = np.zeros(500), np.zeros(size * 3, "i"), np.array([rank])
    plans = [
        ("Allreduce", (values("d", 500, rank), sums)),
        ("Allgather", (values("i", 3, rank), blocks)),
        ("Bcast", (word, size - 1)),
        ("Barrier", ()),
    ]
    if call == "blocking":
        for name, args in plans:
            getattr(comm, name)(*args)
    elif call == "nonblocking":
        requests = [getattr(comm, f"I{name.lower()}")(*args) for name, args in plans]
        MPI.Request.Waitall(requests[::-1])
    else:
        requests = [getattr(comm, f"{name}_init")(*args) for name, args in plans]
        for _ in range(3):
            MPI.Prequest.Startall(requests)
            MPI.Request.Waitall(requests)
        for request in requests:
            request.Free()
    assert np.array_equal(sums, total(comm, 500))
    assert np.array_equal(blocks, all_blocks(comm, 3))
    record(sums, blocks, word)


def test_again_with_other_values(MPI: Any, comm: Any, call: str, record: Any) -> None:
    """A persistent collective reads its buffers anew at each start; the others are called as often."""
    source, target = np.zeros(40), np.zeros(40)
    request = comm.Allreduce_init(source, target, MPI.MAX) if call == "persistent" else None
    for turn in range(4):
        source[:] = values("d", 40, comm.Get_rank() + turn)
        if request:
            request.Start()
            request.Wait()
        else:
            collective(comm, call, "Allreduce", source, target, MPI.MAX)
        record(target)
    if request:
        request.Free()
