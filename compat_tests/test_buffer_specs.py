"""Buffer specifications: every form a message may take, every predefined type, and what is refused."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compat_tests.support import CHARACTERS, ELEMENTS, PAIRS, outcome, pair_dtype, values

Form = Callable[[Any, Any], Any]

# Each form describes the same 12 ints of an array; MPI.INT is their type.
FORMS: dict[str, Form] = {
    "array": lambda MPI, a: a,
    "count": lambda MPI, a: [a, 12],
    "datatype": lambda MPI, a: [a, MPI.INT],
    "datatype by name": lambda MPI, a: [a, "i"],
    "datatype in numpy's words": lambda MPI, a: [a, "i4"],
    "count and datatype": lambda MPI, a: [a, 12, MPI.INT],
    "no count": lambda MPI, a: [a, None, MPI.INT],
    "count and name": lambda MPI, a: [a, 12, "i"],
    "tuple": lambda MPI, a: (a, 12, MPI.INT),
    "count and displacement": lambda MPI, a: [a, (12, 0), MPI.INT],
    "count in a tuple": lambda MPI, a: [a, (12, None), MPI.INT],
    "bytes": lambda MPI, a: [a, 48, MPI.BYTE],
    "memoryview": lambda MPI, a: memoryview(a),
    "memoryview of bytes": lambda MPI, a: memoryview(a).cast("B"),
    "two dimensions": lambda MPI, a: a.reshape(3, 4),
    "MPI.buffer": lambda MPI, a: [MPI.buffer.frombuffer(a), 12, MPI.INT],
    "array in Fortran's order": lambda MPI, a: a.reshape(3, 4).T,
    "prefix": lambda MPI, a: [a, 5, MPI.INT],
    "middle": lambda MPI, a: [a, (5, 3), MPI.INT],
    "from a displacement to the end": lambda MPI, a: [a, (None, 3), MPI.INT],
    "BOTTOM": lambda MPI, a: [MPI.BOTTOM, 1, absolute(MPI, a)],
    "None": lambda MPI, a: [None, 0, MPI.INT],
}


def absolute(MPI: Any, a: Any) -> Any:
    """Return a committed type that holds the address of an array of 12 ints."""
    return MPI.INT.Create_hindexed([12], [MPI.Get_address(a)]).Commit()


def exchange(MPI: Any, comm: Any, send: Any, recv: Any) -> Any:
    """Send to oneself and return the status."""
    status = MPI.Status()
    rank = comm.Get_rank()
    comm.Sendrecv(send, rank, 1, recv, rank, 1, status)
    return status


@pytest.mark.parametrize("form", FORMS)
def test_send_forms(MPI: Any, comm: Any, form: str, record: Any) -> None:
    target = np.zeros(12, "i")
    status = exchange(MPI, comm, FORMS[form](MPI, values("i", 12)), target)
    record(target, status.Get_count(MPI.INT))


@pytest.mark.parametrize("form", FORMS)
def test_receive_forms(MPI: Any, comm: Any, form: str, record: Any) -> None:
    target = np.zeros(12, "i")
    count = {"prefix": 5, "middle": 5, "from a displacement to the end": 9, "None": 0}.get(form, 12)
    status = exchange(MPI, comm, [values("i", 12), count], FORMS[form](MPI, target))
    record(target, status.Get_count(MPI.INT))


REFUSED: dict[str, Form] = {
    "number": lambda MPI, a: 3,
    "text": lambda MPI, a: "text",
    "dictionary": lambda MPI, a: {},
    "None alone": lambda MPI, a: None,
    "empty list": lambda MPI, a: [],
    "array alone in a list": lambda MPI, a: [a],
    "five items": lambda MPI, a: [a, 1, 1, MPI.INT, 1],
    "count of text": lambda MPI, a: [a, "x", MPI.INT],
    "float count": lambda MPI, a: [a, 1.5, MPI.INT],
    "negative count": lambda MPI, a: [a, -1, MPI.INT],
    "negative displacement": lambda MPI, a: [a, (1, -1), MPI.INT],
    "too long": lambda MPI, a: [a, 13, MPI.INT],
    "past the end": lambda MPI, a: [a, (1, 12), MPI.INT],
    "unknown name": lambda MPI, a: [a, "no such type"],
    "type of a wrong kind": lambda MPI, a: [a, MPI.SUM],
    "None with a count": lambda MPI, a: [None, 3, MPI.INT],
    "strided": lambda MPI, a: np.zeros(24, "i")[::2],
    "object array": lambda MPI, a: np.array([None]),
    "null type": lambda MPI, a: [a, 1, MPI.DATATYPE_NULL],
    "uncommitted type": lambda MPI, a: [a, 1, MPI.INT.Create_contiguous(2)],
    "bytes that are no multiple": lambda MPI, a: [bytearray(7), MPI.INT],
    "foreign byte order": lambda MPI, a: a.astype(a.dtype.newbyteorder()),
    "IN_PLACE": lambda MPI, a: MPI.IN_PLACE,
}


@pytest.mark.parametrize("form", REFUSED)
@pytest.mark.parametrize("side", ["Send", "Recv"])
def test_refused_forms(MPI: Any, comm: Any, form: str, side: str, record: Any) -> None:
    spec = REFUSED[form](MPI, values("i", 12))
    record(outcome(MPI, getattr(comm, side), spec, MPI.PROC_NULL))


@pytest.mark.parametrize("readonly", [b"0123", np.broadcast_to(np.int32(1), 1)], ids=["bytes", "array"])
def test_receive_into_read_only(MPI: Any, comm: Any, readonly: Any, record: Any) -> None:
    record(outcome(MPI, comm.Recv, readonly, MPI.PROC_NULL))


@pytest.mark.parametrize("count", [0, 1, 17])
@pytest.mark.parametrize("name", [*ELEMENTS, *CHARACTERS])
def test_predefined_types(MPI: Any, comm: Any, name: str, count: int, record: Any) -> None:
    code = (ELEMENTS | CHARACTERS)[name]
    datatype = getattr(MPI, name)
    source, target = values(code, count), np.zeros(count, code)
    status = exchange(MPI, comm, [source, datatype], [target, datatype])
    assert np.array_equal(source, target)
    assert status.Get_count(datatype) == count
    record(target, datatype.Get_size(), datatype.Get_extent(), datatype.Get_name())


@pytest.mark.parametrize("name", PAIRS)
def test_pair_types(MPI: Any, comm: Any, name: str, record: Any) -> None:
    layout = pair_dtype(PAIRS[name])
    datatype = getattr(MPI, name)
    source, target = np.zeros(4, layout), np.zeros(4, layout)
    source["value"], source["index"] = values(PAIRS[name], 4), values("i", 4, 1)
    status = exchange(MPI, comm, [source, 4, datatype], [target, 4, datatype])
    assert np.array_equal(source, target)
    record(status.Get_count(datatype), datatype.Get_size(), datatype.Get_extent(), datatype.Get_name())


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_array_module(MPI: Any, comm: Any, code: str, record: Any) -> None:
    source, target = array(code, [3, 1, 2]), array(code, [0] * 3)
    exchange(MPI, comm, source, target)
    record(target.tolist())


@pytest.mark.parametrize("code", "?bBhHiIlLqQfdgFDG")
def test_type_is_inferred(MPI: Any, comm: Any, code: str, record: Any) -> None:
    target = np.zeros((2, 3), code)
    exchange(MPI, comm, values(code, 6), target)
    record(target, MPI.Datatype.fromcode(code).Get_size(), MPI.Datatype.fromcode(code).tocode())


# Blocks: an allgather of one int per rank; vectors: every rank gets rank + 1 ints. n is the size.
BLOCKS: dict[str, Callable[[Any, Any, int], Any]] = {
    "array": lambda MPI, a, n: a,
    "count": lambda MPI, a, n: [a, 2],
    "datatype": lambda MPI, a, n: [a, MPI.INT],
    "count and datatype": lambda MPI, a, n: [a, 2, MPI.INT],
    "no count": lambda MPI, a, n: [a, None, "i"],
    "one count too many": lambda MPI, a, n: [a, 2, MPI.INT, 4, 5],
}


@pytest.mark.parametrize("form", BLOCKS)
def test_block_forms(MPI: Any, comm: Any, form: str, record: Any) -> None:
    size = comm.Get_size()
    target = np.zeros(2 * size, "i")
    result = outcome(MPI, comm.Allgather, values("i", 2, comm.Get_rank()), BLOCKS[form](MPI, target, size))
    record(result, target)


def counts(n: int) -> list[int]:
    return [peer + 1 for peer in range(n)]


def offsets(n: int) -> list[int]:
    return [peer * (peer + 1) // 2 for peer in range(n)]


VECTORS: dict[str, Callable[[Any, Any, int], Any]] = {
    "counts": lambda MPI, a, n: [a, counts(n)],
    "tuple": lambda MPI, a, n: (a, counts(n)),
    "counts in an array": lambda MPI, a, n: [a, np.array(counts(n))],
    "counts and type": lambda MPI, a, n: [a, counts(n), MPI.INT],
    "counts, offsets": lambda MPI, a, n: [a, (counts(n), offsets(n))],
    "counts, offsets, type": lambda MPI, a, n: [a, (counts(n), offsets(n)), MPI.INT],
    "four items": lambda MPI, a, n: [a, counts(n), offsets(n), MPI.INT],
    "four items by name": lambda MPI, a, n: [a, counts(n), offsets(n), "i"],
    "counts, no offsets": lambda MPI, a, n: [a, counts(n), None, MPI.INT],
    "backwards": lambda MPI, a, n: [a, counts(n), backwards(n), MPI.INT],
    "too few counts": lambda MPI, a, n: [a, [1] * (n - 1), MPI.INT] if n > 1 else [a, [1, 1], MPI.INT],
    "text": lambda MPI, a, n: [a, "counts", MPI.INT],
    "six items": lambda MPI, a, n: [a, 1, 2, MPI.INT, 5, 6],
}


def backwards(n: int) -> list[int]:
    return [sum(counts(n)[peer + 1 :]) for peer in range(n)]


@pytest.mark.parametrize("form", VECTORS)
def test_vector_forms(MPI: Any, comm: Any, form: str, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    target = np.zeros(size * (size + 1) // 2, "i")
    result = outcome(MPI, comm.Allgatherv, values("i", rank + 1, rank), VECTORS[form](MPI, target, size))
    record(result, target)


WIDE: dict[str, Callable[[Any, Any, int], Any]] = {
    "counts, offsets, types": lambda MPI, a, n: [a, ([2] * n, [8 * p for p in range(n)]), [MPI.INT] * n],
    "four items": lambda MPI, a, n: [a, [2] * n, [8 * p for p in range(n)], [MPI.INT] * n],
    "one type": lambda MPI, a, n: [a, [2] * n, [8 * p for p in range(n)], MPI.INT],
}


@pytest.mark.parametrize("form", WIDE)
def test_alltoallw_forms(MPI: Any, comm: Any, form: str, record: Any) -> None:
    size = comm.Get_size()
    source, target = values("i", 2 * size, comm.Get_rank()), np.zeros(2 * size, "i")
    result = outcome(MPI, comm.Alltoallw, WIDE[form](MPI, source, size), WIDE[form](MPI, target, size))
    record(result, target)
