"""MPI.pickle: protocol, buffers out of band, functions of the user, and what MPI objects let themselves be pickled."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from compat_tests.support import neighbours

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
CONSTANTS = ("INT", "DOUBLE", "DATATYPE_NULL", "SUM", "OP_NULL", "COMM_WORLD", "COMM_SELF", "COMM_NULL", "INFO_NULL",
             "REQUEST_NULL", "GROUP_EMPTY", "ERRORS_RETURN", "WIN_NULL", "FILE_NULL", "MESSAGE_NO_PROC", "BOTTOM",
             "IN_PLACE", "BUFFER_AUTOMATIC")  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols(MPI: Any, protocol: int, record: Any) -> None:
    tool = MPI.Pickle(protocol=protocol)
    data = tool.dumps({"a": [1, 2.5, None]})
    record(bytes(data), tool.loads(data), tool.PROTOCOL, tool.loads(bytearray(data)), tool.loads(memoryview(data)))


def test_defaults(MPI: Any, record: Any) -> None:
    record(MPI.pickle.PROTOCOL, MPI.Pickle().PROTOCOL, isinstance(MPI.pickle, MPI.Pickle), MPI.pickle.THRESHOLD)


def test_out_of_band(MPI: Any, record: Any) -> None:
    source = [np.arange(50_000), np.zeros((300, 200)).T, b"x" * 3000, np.arange(3)]
    data, buffers = MPI.pickle.dumps_oob(source)
    record(len(buffers), [len(memoryview(one).cast("B")) for one in buffers], MPI.pickle.loads_oob(data, buffers))
    assert len(memoryview(data)) < 10_000


@pytest.mark.parametrize("scope", ["shared", "own"])
def test_user_functions(MPI: Any, comm: Any, scope: str, record: Any) -> None:
    """Functions of the user replace pickle's, here a form of text."""
    before, after = neighbours(comm)
    tool = MPI.pickle if scope == "shared" else MPI.Pickle()
    tool.__init__(lambda obj, *args: f"<{obj}>".encode(), lambda data: bytes(data).decode()[1:-1])
    try:
        record(bytes(tool.dumps(3)), tool.loads(b"<4>"))
        record(comm.sendrecv(5, after, 1, None, before, 1), comm.bcast(6), comm.allgather(7), comm.gather(8))
    finally:
        tool.__init__()
    record(comm.sendrecv(5, after, 1, None, before, 1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocol_of_messages(MPI: Any, comm: Any, protocol: int, record: Any) -> None:
    before, after = neighbours(comm)
    usual = MPI.pickle.PROTOCOL
    MPI.pickle.PROTOCOL = protocol
    try:
        record(comm.sendrecv([np.arange(4), "text"], after, 1, None, before, 1))
    finally:
        MPI.pickle.PROTOCOL = usual


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(MPI: Any, name: str, protocol: int, record: Any) -> None:
    constant = getattr(MPI, name)
    again = pickle.loads(pickle.dumps(constant, protocol))
    record(again == constant, again is constant)


def test_objects_with_a_serial_form(MPI: Any, record: Any) -> None:
    kind = MPI.INT.Create_vector(2, 1, 3)
    again = pickle.loads(pickle.dumps(kind))
    record(again.Get_extent(), again.Get_size(), again.is_predefined)
    status = MPI.Status()
    status.Set_source(3)
    record(pickle.loads(pickle.dumps(status)).Get_source())
    info = MPI.Info.Create({"a": "b"})
    record(dict(pickle.loads(pickle.dumps(info))))
    error = MPI.Exception(MPI.ERR_TAG)
    record(pickle.loads(pickle.dumps(error)) == error)
    for one in (kind, again, info):
        one.Free()


@pytest.mark.parametrize("kind", ["comm", "group", "request", "errhandler"])
def test_objects_without(MPI: Any, comm: Any, kind: str, record: Any) -> None:
    thing = {
        "comm": lambda: comm,
        "group": comm.Get_group,
        "request": lambda: comm.Send_init(b"", 0),
        "errhandler": lambda: MPI.Comm.Create_errhandler(lambda c, e: None),
    }[kind]()
    with pytest.raises(ValueError):
        pickle.dumps(thing)
    if kind != "comm":
        thing.Free()
