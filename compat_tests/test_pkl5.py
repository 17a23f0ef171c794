"""mpi4py.util.pkl5: communicators that pickle by themselves, their requests and messages, and their mistakes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from compat_tests.support import COMMS, neighbours, outcome

OBJECTS = {
    "none": None,
    "nested": {"a": [1, 2.5, (None, True)], "b": {"c": b"\0\1"}},
    "bytes": bytes(range(256)) * 2000,
    "bytearray": bytearray(range(256)) * 2000,
    "arrays": [np.arange(9).reshape(3, 3).T, np.zeros(0), np.arange(60_000.0)],
}
objects = pytest.mark.parametrize("name", OBJECTS)
everywhere = pytest.mark.parametrize("comm", COMMS, indirect=True)
thresholds = pytest.mark.parametrize("threshold", [0, 64, None])


@pytest.fixture
def pkl5(MPI: Any) -> Iterator[Any]:
    module = importlib.import_module(f"{MPI.__name__.partition('.')[0]}.util.pkl5")
    yield module
    module.pickle.__init__()


@objects
@everywhere
@thresholds
@pytest.mark.parametrize("mode", ["isend", "issend"])
def test_messages(pkl5: Any, comm: Any, name: str, threshold: int | None, mode: str, record: Any) -> None:
    pkl5.pickle.THRESHOLD = threshold
    ring, status = pkl5.Intracomm(comm), pkl5.Status()
    before, after = neighbours(comm)
    sent = getattr(ring, mode)(OBJECTS[name], after, 3)
    got = ring.recv(None, before, 3, status)
    assert repr(got) == repr(OBJECTS[name])
    record(got, status.Get_source(), status.Get_tag(), sent.wait(), bool(sent))
    record(ring.sendrecv(OBJECTS[name], after, 4, None, before, 4))


@pytest.mark.parametrize("mode", ["send", "ssend"])
def test_blocking_modes(pkl5: Any, comm: Any, mode: str, record: Any) -> None:
    """One after another along the ranks."""
    line, rank, size = pkl5.Intracomm(comm), comm.Get_rank(), comm.Get_size()
    got = line.recv(None, rank - 1) if rank else OBJECTS["arrays"]
    if rank < size - 1:
        getattr(line, mode)(got, rank + 1)
    record(got)


@objects
@everywhere
@thresholds
def test_collectives(pkl5: Any, comm: Any, name: str, threshold: int | None, record: Any) -> None:
    pkl5.pickle.THRESHOLD = threshold
    ring, obj = pkl5.Intracomm(comm), OBJECTS[name]
    size, mine = comm.Get_size(), (comm.Get_rank(), obj)
    record(ring.bcast(mine, size - 1), ring.gather(mine), ring.allgather(mine))
    record(ring.scatter(iter([mine] * size)), ring.alltoall([(mine, peer) for peer in range(size)]))
    record(ring.scatter(None), ring.alltoall(None))


@everywhere
def test_own_objects_are_copies(pkl5: Any, comm: Any, record: Any) -> None:
    pkl5.pickle.THRESHOLD = 0
    ring, mine, size = pkl5.Intracomm(comm), np.arange(100), comm.Get_size()
    for found in (
        ring.gather(mine) or [],
        ring.allgather(mine),
        ring.alltoall([mine] * size),
        [ring.scatter([mine] * size)],
    ):
        record([np.shares_memory(one, mine) for one in found], [one.flags.writeable for one in found])
    assert ring.bcast(mine) is not mine


def test_requests(MPI: Any, pkl5: Any, comm: Any, record: Any) -> None:
    ring, rank = pkl5.Intracomm(comm), comm.Get_rank()
    sends = [ring.issend(number, rank) for number in range(3)]
    statuses: list[Any] = []
    record(pkl5.Request.testall(sends), pkl5.Request.get_status_all(sends), sends[0].test(), sends[1].get_status())
    receives = [pkl5.Message.probe(comm, rank).irecv() for _ in range(3)]
    record(pkl5.Request.waitall(receives, statuses), [status.Get_source() == rank for status in statuses])
    record(pkl5.Request.waitall(sends), [bool(one) for one in sends + receives])
    record(pkl5.Request.testall([]), pkl5.Request.waitall([]), pkl5.Request.get_status_all([]))
    shared = ring.isend(1, rank)
    other = pkl5.Request(shared)
    record(shared == other, shared != other, shared == MPI.REQUEST_NULL, isinstance(shared, MPI.Request))
    record(ring.recv(None, rank), other.wait(), bool(shared), shared == MPI.REQUEST_NULL)


def test_messages_by_probe(MPI: Any, pkl5: Any, comm: Any, record: Any) -> None:
    ring, rank = pkl5.Intracomm(comm), comm.Get_rank()
    record(ring.improbe(rank), pkl5.Message.iprobe(ring, rank))
    sends = [ring.isend(number, rank, number) for number in (1, 2)]
    message = ring.mprobe(rank, 2)
    other = pkl5.Message(message)
    record(message == other, message != other, message == MPI.MESSAGE_NULL, isinstance(message, MPI.Message))
    record(other.recv(), bool(message), bool(other), message == MPI.MESSAGE_NULL, ring.recv(None, rank))
    record(pkl5.Request.waitall(sends))
    nobody = ring.mprobe(MPI.PROC_NULL)
    record(nobody == MPI.MESSAGE_NO_PROC, nobody.irecv().wait(), nobody == MPI.MESSAGE_NULL)


MISTAKES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "send: rank": lambda MPI, pkl5, ring: ring.send(1, 999),
    "send: tag": lambda MPI, pkl5, ring: ring.send(1, 0, -7),
    "send: not to be pickled": lambda MPI, pkl5, ring: ring.send(lambda: 0, 0),
    "recv: rank": lambda MPI, pkl5, ring: ring.recv(None, 999),
    "irecv": lambda MPI, pkl5, ring: ring.irecv(None, 0),
    "bcast: root": lambda MPI, pkl5, ring: ring.bcast(1, 999),
    "gather: root": lambda MPI, pkl5, ring: ring.gather(1, 999),
    "scatter: root": lambda MPI, pkl5, ring: ring.scatter([1], 999),
    "alltoall: short": lambda MPI, pkl5, ring: ring.alltoall([1] * (ring.Get_size() - 1)),
    "alltoall: number": lambda MPI, pkl5, ring: ring.alltoall(3),
    "null communicator": lambda MPI, pkl5, ring: pkl5.Intracomm().send(1, 0),
    "null message: recv": lambda MPI, pkl5, ring: pkl5.Message().recv(),
    "null message: irecv": lambda MPI, pkl5, ring: pkl5.Message().irecv(),
    "null message: free": lambda MPI, pkl5, ring: pkl5.Message().free(),
    "null request: wait": lambda MPI, pkl5, ring: pkl5.Request().wait(),
    "null request: test": lambda MPI, pkl5, ring: pkl5.Request().test(),
    "null request: cancel": lambda MPI, pkl5, ring: pkl5.Request().cancel(),
    "null request: Free": lambda MPI, pkl5, ring: pkl5.Request().Free(),
    "null request: free": lambda MPI, pkl5, ring: pkl5.Request().free(),
    "hash": lambda MPI, pkl5, ring: hash(pkl5.Request()),
    "request of a message": lambda MPI, pkl5, ring: pkl5.Request(MPI.MESSAGE_NULL),
    "message of a number": lambda MPI, pkl5, ring: pkl5.Message(3),
    "waitall of MPI's": lambda MPI, pkl5, ring: pkl5.Request.waitall([MPI.Request()]),
    "communicator of a number": lambda MPI, pkl5, ring: pkl5.Comm(3),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(MPI: Any, pkl5: Any, comm: Any, name: str, record: Any) -> None:
    record(outcome(MPI, MISTAKES[name], MPI, pkl5, pkl5.Intracomm(comm)))


def test_classes(MPI: Any, pkl5: Any, comm: Any, record: Any) -> None:
    ring = pkl5.Intracomm(comm)
    record(ring == comm, bool(pkl5.Intracomm()), pkl5.Request() == MPI.REQUEST_NULL, pkl5.Message() == MPI.MESSAGE_NULL)
    record(pkl5.pickle.THRESHOLD, pkl5.pickle.PROTOCOL, pkl5.pickle is MPI.pickle)
    for made in (ring.Dup(), ring.Split(0)):
        record(type(made).__module__.partition(".")[2], type(made).__name__)
        made.Free()


@pytest.mark.parametrize("protocol", [None, -1, 0, 2, 5])
@pytest.mark.parametrize("threshold", [-1, 0, 800, 801, None])
def test_pickle(MPI: Any, pkl5: Any, protocol: int | None, threshold: int | None, record: Any) -> None:
    tool = pkl5.Pickle(protocol=protocol, threshold=threshold)
    data, buffers = tool.dumps_oob(np.arange(100.0))
    record(type(data).__name__, [type(one) is MPI.buffer for one in buffers], tool.loads_oob(data, buffers))
    tool.PROTOCOL, tool.THRESHOLD = protocol, threshold
    record(tool.PROTOCOL, tool.THRESHOLD)
