"""What bad arguments raise: a table of calls; both implementations have to raise the same class.

Rules of this file:
- no case here on which MPICH and Open MPI themselves disagree and ours sides with one of them: MPI leaves those open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compat_tests.support import error_name, outcome

Call = Callable[[Any, Any], Any]
A = np.zeros(8, "i")

CASES: dict[str, Call] = {
    "Send: rank too large": lambda MPI, c: c.Send(A, c.size),
    "Send: rank negative": lambda MPI, c: c.Send(A, -5),
    "Send: ANY_SOURCE": lambda MPI, c: c.Send(A, MPI.ANY_SOURCE),
    "Send: tag negative": lambda MPI, c: c.Send(A, 0, -7),
    "Send: ANY_TAG": lambda MPI, c: c.Send(A, 0, MPI.ANY_TAG),
    "Send: count negative": lambda MPI, c: c.Send([A, -1, MPI.INT], 0),
    "Send: null type": lambda MPI, c: c.Send([A, 1, MPI.DATATYPE_NULL], 0),
    "Send: uncommitted": lambda MPI, c: c.Send([A, 1, MPI.INT.Create_contiguous(2)], 0),
    "Send: rank of text": lambda MPI, c: c.Send(A, "0"),
    "Send: rank of float": lambda MPI, c: c.Send(A, float(MPI.PROC_NULL)),
    "Send: tag None": lambda MPI, c: c.Send(A, 0, None),
    "Send: huge tag": lambda MPI, c: c.Send(A, 0, 1 << 40),
    "Send: no buffer": lambda MPI, c: c.Send(3, 0),
    "Send: unknown keyword": lambda MPI, c: c.Send(A, 0, nothing=1),
    "Send: too few": lambda MPI, c: c.Send(A),
    "Recv: rank too large": lambda MPI, c: c.Recv(A, c.size),
    "Recv: tag negative": lambda MPI, c: c.Recv(A, 0, -7),
    "Recv: null type": lambda MPI, c: c.Recv([A, 1, MPI.DATATYPE_NULL], 0),
    "Irecv: rank too large": lambda MPI, c: c.Irecv(A, c.size),
    "Isend: rank too large": lambda MPI, c: c.Isend(A, c.size),
    "Send_init: rank too large": lambda MPI, c: c.Send_init(A, c.size),
    "Recv_init: tag negative": lambda MPI, c: c.Recv_init(A, 0, -7),
    "Sendrecv: dest": lambda MPI, c: c.Sendrecv(A, c.size, 0, A, 0, 0),
    "Sendrecv: source": lambda MPI, c: c.Sendrecv(A, MPI.PROC_NULL, 0, A, c.size, 0),
    "Probe: rank": lambda MPI, c: c.Probe(c.size),
    "Iprobe: tag": lambda MPI, c: c.Iprobe(0, -7),
    "send: rank": lambda MPI, c: c.send(1, c.size),
    "recv: rank": lambda MPI, c: c.recv(source=c.size),
    "recv: tag": lambda MPI, c: c.recv(source=0, tag=-7),
    "Bcast: root too large": lambda MPI, c: c.Bcast(A, c.size),
    "Bcast: root negative": lambda MPI, c: c.Bcast(A, -1),
    "Bcast: null type": lambda MPI, c: c.Bcast([A, 1, MPI.DATATYPE_NULL]),
    "Reduce: root": lambda MPI, c: c.Reduce(A, A.copy(), MPI.SUM, c.size),
    "Reduce: null op": lambda MPI, c: c.Reduce(A, A.copy(), MPI.OP_NULL, 0),
    "Allreduce: null op": lambda MPI, c: c.Allreduce(A, A.copy(), MPI.OP_NULL),
    "Allreduce: op for another type": lambda MPI, c: c.Allreduce(A.astype("d"), A.astype("d"), MPI.BAND),
    "Allreduce: MINLOC of ints": lambda MPI, c: c.Allreduce(A, A.copy(), MPI.MINLOC),
    "Allreduce: op of text": lambda MPI, c: c.Allreduce(A, A.copy(), "sum"),
    "Allreduce: lengths": lambda MPI, c: c.Allreduce(A[:3], A[:2].copy()),
    "Allreduce: types": lambda MPI, c: c.Allreduce([A, MPI.INT], [A.copy(), MPI.FLOAT]),
    "Scan: null op": lambda MPI, c: c.Scan(A, A.copy(), MPI.OP_NULL),
    "Gather: root": lambda MPI, c: c.Gather(A, None, c.size),
    "Scatter: root": lambda MPI, c: c.Scatter(None, A, c.size),
    "Iallreduce: null op": lambda MPI, c: c.Iallreduce(A, A.copy(), MPI.OP_NULL),
    "Allreduce_init: null op": lambda MPI, c: c.Allreduce_init(A, A.copy(), MPI.OP_NULL),
    "Barrier: null comm": lambda MPI, c: MPI.COMM_NULL.Barrier(),
    "Send: null comm": lambda MPI, c: MPI.COMM_NULL.Send(A, 0),
    "bcast: null comm": lambda MPI, c: MPI.COMM_NULL.bcast(1),
    "Cart: too many": lambda MPI, c: c.Create_cart([c.size + 1]),
    "Cart: no periods": lambda MPI, c: c.Create_cart([1], [True, False]),
    "Dims: impossible": lambda MPI, c: MPI.Compute_dims(5, [2, 0]),
    "Type: negative count": lambda MPI, c: MPI.INT.Create_contiguous(-1),
    "Type: null": lambda MPI, c: MPI.DATATYPE_NULL.Create_contiguous(1),
    "Type: lengths differ": lambda MPI, c: MPI.INT.Create_indexed([1, 2], [0]),
    "Type: struct lengths": lambda MPI, c: MPI.Datatype.Create_struct([1], [0, 1], [MPI.INT]),
    "Type: subarray order": lambda MPI, c: MPI.INT.Create_subarray([4], [2], [1], 99),
    "Type: free predefined": lambda MPI, c: MPI.INT.Free(),
    "Type: contents of a basic type": lambda MPI, c: MPI.INT.Get_contents(),
    "Type: size of null": lambda MPI, c: MPI.DATATYPE_NULL.Get_size(),
    "Type: unknown code": lambda MPI, c: MPI.Datatype.fromcode("no such code"),
    "Op: free predefined": lambda MPI, c: MPI.SUM.Free(),
    "Op: null local": lambda MPI, c: MPI.OP_NULL.Reduce_local(A, A.copy()),
    "Request: null cancel": lambda MPI, c: MPI.REQUEST_NULL.Cancel(),
    "Request: start of no persistent": lambda MPI, c: MPI.Prequest().Start(),
    "Message: null": lambda MPI, c: MPI.Message().Recv(bytearray(1)),
    "Message: none": lambda MPI, c: MPI.MESSAGE_NULL.Irecv(bytearray(1)),
    "Errhandler: null free": lambda MPI, c: MPI.Errhandler().Free(),
    "Info: empty key": lambda MPI, c: MPI.Info.Create().Set("", "value"),
    "Info: number": lambda MPI, c: MPI.Info.Create().Set("key", 3),
    "Group: null rank": lambda MPI, c: MPI.GROUP_NULL.Get_rank(),
    "Attach: no buffer": lambda MPI, c: MPI.Attach_buffer(3),
    "Buffer: of text": lambda MPI, c: MPI.buffer("text"),
    "Buffer: negative": lambda MPI, c: MPI.buffer.allocate(-1),
    "Comm: of a number": lambda MPI, c: MPI.Comm(3),
    "Comm: hash": lambda MPI, c: hash(c),
    "Comm: order": lambda MPI, c: c < c,
    "Status: of a number": lambda MPI, c: MPI.Status(3),
    "Error class: unknown": lambda MPI, c: MPI.Get_error_class(1 << 29),
    "Error string: unknown": lambda MPI, c: MPI.Get_error_string(1 << 29),
    "File: null": lambda MPI, c: MPI.FILE_NULL.Get_size(),
    "File: missing": lambda MPI, c: MPI.File.Open(MPI.COMM_SELF, "/no/such/file", MPI.MODE_RDONLY),
    "Win: null": lambda MPI, c: MPI.WIN_NULL.Fence(),
}


@pytest.mark.parametrize("case", CASES)
def test_class_of_error(MPI: Any, comm: Any, case: str, record: Any) -> None:
    record(outcome(MPI, CASES[case], MPI, comm))


NAMES = ("TRUNCATE", "RANK", "TAG", "COMM", "TYPE", "COUNT", "ARG", "ROOT", "OP", "GROUP", "REQUEST", "OTHER", "INTERN")


@pytest.mark.parametrize("name", NAMES)
def test_exception_object(MPI: Any, name: str, record: Any) -> None:
    code = getattr(MPI, f"ERR_{name}")
    error = MPI.Exception(code)
    record(error_name(MPI, error.Get_error_class()), error.Get_error_code() == code, int(error) == code, bool(error))
    record(isinstance(error, RuntimeError), error == code, error == MPI.Exception(code), error != MPI.SUCCESS)
    assert error.Get_error_string() == str(error) == error.error_string
    record(hash(error) == hash(code), type(error).__name__)


def test_exception_of_success(MPI: Any, record: Any) -> None:
    record(bool(MPI.Exception()), int(MPI.Exception()), MPI.Exception().Get_error_class() == MPI.SUCCESS)


def test_added_classes(MPI: Any, record: Any) -> None:
    added = MPI.Add_error_class()
    code = MPI.Add_error_code(added)
    MPI.Add_error_string(added, "a class")
    MPI.Add_error_string(code, "a code")
    record(MPI.Get_error_class(code) == added, MPI.Get_error_string(added), MPI.Get_error_string(code))
    record(str(MPI.Exception(code)), MPI.Exception(code).Get_error_class() == added, added > MPI.ERR_LASTCODE - 1 > 0)
    for step, value in ((MPI.Remove_error_string, code), (MPI.Remove_error_string, added)):
        step(value)
    MPI.Remove_error_code(code)
    MPI.Remove_error_class(added)
