"""Point-to-point of Python objects: every mode, nonblocking forms, user buffers, statuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import COMMS, neighbours, outcome

everywhere = pytest.mark.parametrize("comm", COMMS, indirect=True)

OBJECTS = {
    "none": None,
    "number": 7,
    "text": "naïve ☃",
    "nested": {"a": [1, 2.5, (None, True)], "b": {"c": b"\0\1"}},
    "long": list(range(5000)),
    "bytes": bytes(range(256)) * 3000,
    "array": np.arange(60_000, dtype="d").reshape(300, 200),
    "arrays": [np.arange(9).reshape(3, 3).T, np.zeros(0), np.array(3.5)],
}
objects = pytest.mark.parametrize("name", OBJECTS)


@pytest.fixture(params=["", "b", "s"], ids=lambda mode: mode or "standard")
def mode(request: pytest.FixtureRequest, MPI: Any) -> Any:
    """A mode of sending; the buffered one comes with an attached buffer."""
    if request.param == "b":
        MPI.Attach_buffer(bytearray(1 << 22))
    yield request.param
    if request.param == "b":
        MPI.Detach_buffer()


@objects
@everywhere
def test_isend_and_recv(MPI: Any, comm: Any, mode: str, name: str, record: Any) -> None:
    before, after = neighbours(comm)
    send = getattr(comm, f"i{mode}send")(OBJECTS[name], after, 8)
    status = MPI.Status()
    got = comm.recv(source=before, tag=MPI.ANY_TAG, status=status)
    assert send.wait() is None
    assert repr(got) == repr(OBJECTS[name])
    record(got, status.Get_source(), status.Get_tag())


@objects
def test_send_and_irecv(MPI: Any, comm: Any, mode: str, name: str, record: Any) -> None:
    before, after = neighbours(comm)
    request = comm.irecv(bytearray(1 << 20), before, 8)
    getattr(comm, f"{mode}send")(OBJECTS[name], after, 8)
    record(request.wait())


@objects
def test_sendrecv(MPI: Any, comm: Any, name: str, record: Any) -> None:
    before, after = neighbours(comm)
    record(comm.sendrecv((OBJECTS[name], comm.Get_rank()), after, 1, None, before, 1))


@pytest.mark.parametrize("matched", [True, False])
def test_probe_then_receive(MPI: Any, comm: Any, matched: bool, record: Any) -> None:
    before, after = neighbours(comm)
    send = comm.isend(OBJECTS["nested"], after, 2)
    if matched:
        got = comm.mprobe(before, 2).recv()
    else:
        comm.probe(before, 2)
        got = comm.recv(source=before, tag=2)
    send.wait()
    record(got)


def test_matched_irecv(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    send = comm.isend(OBJECTS["long"], after, 2)
    request = comm.mprobe(before, 2).irecv()
    record(request.wait())
    send.wait()


@pytest.mark.parametrize("wait", ["waitall", "waitany", "waitsome", "testall", "testany", "testsome"])
def test_completion_of_several(MPI: Any, comm: Any, wait: str, record: Any) -> None:
    before, after = neighbours(comm)
    requests = [comm.irecv(source=before, tag=tag) for tag in range(3)]
    for tag in (2, 0, 1):
        comm.send(("object", tag), after, tag)
    got: dict[int, Any] = {}
    while len(got) < 3:
        result = getattr(MPI.Request, wait)(requests)
        if wait in ("waitall", "testall"):
            found = result if wait == "waitall" else (result[1] if result[0] else [])
            got |= dict(enumerate(found))
        elif wait in ("waitany", "testany"):
            index, *flag, item = result
            if index != MPI.UNDEFINED and all(flag):
                got[index] = item
        elif result[0]:
            got |= dict(zip(*result, strict=True))
    record(got)


def test_test_gives_the_object_once(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    request = comm.irecv(source=before, tag=1)
    comm.send([1, 2], after, 1)
    flag, got = request.test()
    while not flag:
        flag, got = request.test()
    record(got, request.test(), request.wait())


def test_sends_are_ordered(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    things = [number if number % 3 else list(range(20_000)) for number in range(9)]
    sends = [comm.isend(thing, after, 1) for thing in things]
    assert [comm.recv(source=before, tag=1) for _ in things] == things
    MPI.Request.waitall(sends)


def test_object_that_cannot_be_pickled(MPI: Any, comm: Any, record: Any) -> None:
    record(outcome(MPI, comm.send, lambda: 0, comm.Get_rank()) != "fine", outcome(MPI, comm.isend, comm, 0))
    comm.Barrier()
    assert not comm.Iprobe()


def test_object_that_fails_to_unpickle(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    send = comm.Isend(b"this is no pickle", after, 1)
    record(outcome(MPI, comm.recv, None, before, 1))
    send.Wait()
    record(comm.sendrecv("still in step", after, 2, None, before, 2))


def test_user_buffer_too_small(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    request = comm.irecv(bytearray(10), before, 1)
    comm.Barrier()
    send = comm.isend(b"x" * 1000, after, 1)
    record(outcome(MPI, request.wait))
    send.wait()
