"""Requests: completion of one, any, some and all, null and inactive requests, statuses, generalized requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import constant_name, neighbours, outcome, status_fields

SINGLE = ("Wait", "Test", "Get_status")
ALL = ("Waitall", "Testall", "Get_status_all")
SUBSETS = ("Waitany", "Testany", "Waitsome", "Testsome")


def pending(MPI: Any, comm: Any, count: int, persistent: bool = False) -> tuple[list[Any], np.ndarray[Any, Any]]:
    """Return receives of one double each, tags 0 to count - 1, from the rank before."""
    before, _ = neighbours(comm)
    targets = np.zeros((count, 1))
    make = comm.Recv_init if persistent else comm.Irecv
    requests = [make(targets[number], before, number) for number in range(count)]
    if persistent:
        MPI.Prequest.Startall(requests)
    return requests, targets


def satisfy(MPI: Any, comm: Any, count: int) -> None:
    _, after = neighbours(comm)
    for number in reversed(range(count)):
        comm.Send(np.array([number + 0.5]), after, number)


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "once"])
def test_single(MPI: Any, comm: Any, name: str, persistent: bool, record: Any) -> None:
    [request], targets = pending(MPI, comm, 1, persistent)
    if name != "Wait":
        record(getattr(request, name)())
    comm.Barrier()
    satisfy(MPI, comm, 1)
    status = MPI.Status()
    while not getattr(request, name)(status):
        pass
    record(targets, status_fields(MPI, status, MPI.DOUBLE), request == MPI.REQUEST_NULL)
    request.Wait()
    if persistent:
        request.Free()
    record(request == MPI.REQUEST_NULL)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("statuses", ["none", "list", "short list"])
@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "once"])
def test_all(MPI: Any, comm: Any, name: str, statuses: str, persistent: bool, record: Any) -> None:
    requests, targets = pending(MPI, comm, 4, persistent)
    into = {"none": None, "list": [MPI.Status() for _ in range(4)], "short list": []}[statuses]
    comm.Barrier()
    satisfy(MPI, comm, 4)
    while not getattr(MPI.Request, name)(requests, into):
        pass
    record(targets, [request == MPI.REQUEST_NULL for request in requests])
    record([status_fields(MPI, status, MPI.DOUBLE) for status in into or []])
    MPI.Request.Waitall(requests)
    if persistent:
        for request in requests:
            request.Free()


@pytest.mark.parametrize("name", SUBSETS)
@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "once"])
def test_subsets(MPI: Any, comm: Any, name: str, persistent: bool, record: Any) -> None:
    requests, targets = pending(MPI, comm, 5, persistent)
    if name in ("Testany", "Testsome"):
        first = getattr(MPI.Request, name)(requests)
        record(constant_name(MPI, first[0], "UNDEFINED") if name == "Testany" else first)
    comm.Barrier()
    satisfy(MPI, comm, 5)
    done: dict[int, Any] = {}
    while len(done) < 5:
        if name.endswith("any"):
            status = MPI.Status()
            result = getattr(MPI.Request, name)(requests, status)
            index, flag = result if name == "Testany" else (result, True)
            if flag and index != MPI.UNDEFINED:
                done[index] = status_fields(MPI, status, MPI.DOUBLE)
        else:
            into: list[Any] = []
            indices = getattr(MPI.Request, name)(requests, into) or []
            done |= {
                index: status_fields(MPI, status, MPI.DOUBLE) for index, status in zip(indices, into, strict=False)
            }
    record(targets, done, [request == MPI.REQUEST_NULL for request in requests])
    if persistent:
        for request in requests:
            request.Free()


def plain(MPI: Any, result: Any) -> Any:
    """Return the result of a completion call with MPI.UNDEFINED by name."""
    if isinstance(result, tuple):
        return tuple(plain(MPI, item) for item in result)
    return result if isinstance(result, bool | list | type(None)) else constant_name(MPI, result, "UNDEFINED")


@pytest.mark.parametrize("name", [*ALL, *SUBSETS, "Get_status_any", "Get_status_some"])
@pytest.mark.parametrize("kind", ["no requests", "null requests", "inactive requests"])
def test_nothing_to_wait_for(MPI: Any, comm: Any, name: str, kind: str, record: Any) -> None:
    inactive = [comm.Recv_init(bytearray(1), 0, tag) for tag in range(2)]
    requests = {
        "no requests": [],
        "null requests": [MPI.REQUEST_NULL, MPI.REQUEST_NULL],
        "inactive requests": inactive,
    }[kind]
    record(plain(MPI, getattr(MPI.Request, name)(requests)))
    for request in inactive:
        request.Free()


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("null", [True, False], ids=["null", "inactive"])
def test_empty_status(MPI: Any, comm: Any, name: str, null: bool, record: Any) -> None:
    request = MPI.Request() if null else comm.Send_init(b"", 0)
    status = MPI.Status()
    status.source, status.tag = 3, 4
    record(getattr(request, name)(status), status_fields(MPI, status))
    if not null:
        request.Free()


@pytest.mark.parametrize("name", ["Cancel", "Free", "Start"])
def test_null_request(MPI: Any, name: str, record: Any) -> None:
    request = MPI.Prequest() if name == "Start" else MPI.Request()
    record(outcome(MPI, getattr(request, name)))


def test_free_of_an_active_send(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    data = np.arange(10)
    request = comm.Isend(data, after, 1)
    request.Free()
    assert request == MPI.REQUEST_NULL
    target = np.zeros_like(data)
    comm.Recv(target, before, 1)
    comm.Barrier()
    record(target)


def test_error_of_one_among_many(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    targets = [bytearray(8), bytearray(2), bytearray(8)]
    requests = [comm.Irecv(target, before, tag) for tag, target in enumerate(targets)]
    comm.Barrier()
    sends = [comm.Isend(bytes(8), after, tag) for tag in range(3)]
    record(outcome(MPI, MPI.Request.Waitall, requests))
    MPI.Request.Waitall(sends)
    requests = [request for request in requests if request]
    if requests:
        MPI.Request.Waitall(requests)


def test_generalized_request(MPI: Any, record: Any) -> None:
    calls: list[Any] = []

    def query(status: Any, *args: Any, **kwargs: Any) -> None:
        calls.append(("query", args, kwargs))
        status.Set_elements(MPI.INT, 3)
        status.Set_cancelled(False)
        status.source, status.tag = 5, 6

    request = MPI.Grequest.Start(
        query,
        lambda *args, **kwargs: calls.append(("free", args, kwargs)),
        lambda completed, *args, **kwargs: calls.append(("cancel", completed, args, kwargs)),
        (1,),
        {"key": 2},
    )
    record(request.Test())
    request.Cancel()
    request.Complete()
    status = MPI.Status()
    request.Wait(status)
    record(calls, status_fields(MPI, status, MPI.INT), request == MPI.REQUEST_NULL)


def test_status_by_hand(MPI: Any, record: Any) -> None:
    status = MPI.Status()
    record(status_fields(MPI, status))
    status.Set_source(2)
    status.Set_tag(9)
    status.Set_error(MPI.ERR_TRUNCATE)
    status.Set_elements(MPI.DOUBLE, 7)
    status.Set_cancelled(True)
    record(status.source, status.tag, status.error == MPI.ERR_TRUNCATE, status.cancelled, status.count)
    record(status.Get_count(MPI.DOUBLE), constant_name(MPI, MPI.Status(status).Get_count(MPI.DOUBLE_INT), "UNDEFINED"))


def test_requests_compare_by_identity_of_the_operation(MPI: Any, comm: Any, record: Any) -> None:
    one, two = comm.Irecv(bytearray(1), MPI.ANY_SOURCE, 7), comm.Irecv(bytearray(1), MPI.ANY_SOURCE, 7)
    record(one == MPI.Request(one), one == two, bool(one), bool(MPI.REQUEST_NULL))
    for request in (one, two):
        request.Cancel()
        request.Wait()
