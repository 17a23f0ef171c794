"""Collectives of Python objects, with MPI's and with Python's own operations, and their mistakes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compat_tests.support import COMMS, freeze, outcome

pytestmark = pytest.mark.parametrize("comm", COMMS, indirect=True)
roots = pytest.mark.parametrize("root", ["first", "last"])
KINDS: dict[str, Callable[[int], Any]] = {
    "number": lambda peer: peer * 3,
    "text": lambda peer: "ab☃" * peer,
    "nested": lambda peer: {"rank": peer, "data": [(peer, None)] * peer},
    "array": lambda peer: np.arange(peer * 20_000),
    "none": lambda peer: None,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def root_of(comm: Any, root: str) -> int:
    return 0 if root == "first" else comm.Get_size() - 1


@kinds
@roots
def test_bcast(MPI: Any, comm: Any, kind: str, root: str, record: Any) -> None:
    origin = root_of(comm, root)
    got = comm.bcast(KINDS[kind](origin + 1) if comm.Get_rank() == origin else "ignored", origin)
    assert freeze(got) == freeze(KINDS[kind](origin + 1))
    record(got)


@kinds
@roots
def test_gather(MPI: Any, comm: Any, kind: str, root: str, record: Any) -> None:
    origin = root_of(comm, root)
    got = comm.gather(KINDS[kind](comm.Get_rank()), origin)
    assert (got is None) == (comm.Get_rank() != origin)
    record(got)


@kinds
@roots
def test_scatter(MPI: Any, comm: Any, kind: str, root: str, record: Any) -> None:
    origin = root_of(comm, root)
    objects = [KINDS[kind](peer) for peer in range(comm.Get_size())] if comm.Get_rank() == origin else None
    got = comm.scatter(objects, origin)
    assert freeze(got) == freeze(KINDS[kind](comm.Get_rank()))
    record(got)


@kinds
def test_allgather(MPI: Any, comm: Any, kind: str, record: Any) -> None:
    got = comm.allgather(KINDS[kind](comm.Get_rank()))
    assert freeze(got) == freeze([KINDS[kind](peer) for peer in range(comm.Get_size())])
    record(got)


@kinds
def test_alltoall(MPI: Any, comm: Any, kind: str, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    record(comm.alltoall([(rank, KINDS[kind](peer)) for peer in range(size)]))


def test_barrier(MPI: Any, comm: Any, record: Any) -> None:
    record(comm.barrier())


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "SUM": lambda MPI: MPI.SUM,
    "PROD": lambda MPI: MPI.PROD,
    "MAX": lambda MPI: MPI.MAX,
    "MIN": lambda MPI: MPI.MIN,
    "BAND": lambda MPI: MPI.BAND,
    "BOR": lambda MPI: MPI.BOR,
    "BXOR": lambda MPI: MPI.BXOR,
    "LAND": lambda MPI: MPI.LAND,
    "LOR": lambda MPI: MPI.LOR,
    "LXOR": lambda MPI: MPI.LXOR,
    "REPLACE": lambda MPI: MPI.REPLACE,
    "NO_OP": lambda MPI: MPI.NO_OP,
    "python": lambda MPI: operator.add,
    "in order": lambda MPI: lambda a, b: f"{a}{b}",
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", ["reduce", "allreduce", "scan", "exscan"])
def test_reductions(MPI: Any, comm: Any, operation: str, name: str, record: Any) -> None:
    op = OPERATIONS[operation](MPI)
    for item in (comm.Get_rank() + 1, comm.Get_rank() % 2 == 0):
        record(getattr(comm, name)(item, op))


@roots
def test_reduce_of_lists_keeps_the_order(MPI: Any, comm: Any, root: str, record: Any) -> None:
    origin = root_of(comm, root)
    got = comm.reduce([comm.Get_rank()], MPI.SUM, origin)
    assert got == (list(range(comm.Get_size())) if comm.Get_rank() == origin else None)
    record(got, comm.allreduce(str(comm.Get_rank())), comm.scan([comm.Get_rank()]), comm.exscan([comm.Get_rank()]))


@pytest.mark.parametrize("name", ["MAXLOC", "MINLOC"])
def test_locations(MPI: Any, comm: Any, name: str, record: Any) -> None:
    rank = comm.Get_rank()
    op = getattr(MPI, name)
    for value in (rank % 2, -rank, 1.5, "tie"):
        record(comm.allreduce((value, rank), op), comm.reduce((value, rank), op), comm.scan((value, rank), op))


def test_reduction_of_arrays(MPI: Any, comm: Any, record: Any) -> None:
    record(comm.allreduce(np.arange(4) + comm.Get_rank()), comm.reduce(np.ones(3), MPI.PROD, 0))


@pytest.mark.parametrize("length", [-1, 1])
@pytest.mark.parametrize("name", ["scatter", "alltoall"])
def test_wrong_length(MPI: Any, comm: Any, name: str, length: int, record: Any) -> None:
    if name == "scatter":  # only the root notices: with nobody else waiting
        comm = MPI.COMM_SELF
    objects = [0] * (comm.Get_size() + length)
    record(outcome(MPI, getattr(comm, name), objects))


def test_wrong_root(MPI: Any, comm: Any, record: Any) -> None:
    for root in (-1, comm.Get_size()):
        record([outcome(MPI, getattr(comm, name), None, root) for name in ("bcast", "gather", "scatter")])
