"""Operations: every predefined one on every predefined type, pairs, user operations that do not commute, local use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import CALLS, ELEMENTS, PAIRS, collective, outcome, pair_dtype, values

OPS = (
    "MAX",
    "MIN",
    "SUM",
    "PROD",
    "LAND",
    "LOR",
    "LXOR",
    "BAND",
    "BOR",
    "BXOR",
    "MAXLOC",
    "MINLOC",
    "REPLACE",
    "NO_OP",
)
ALLOWED = OPS[:10]
MODULUS = 10007


@pytest.mark.parametrize("datatype", ELEMENTS)
@pytest.mark.parametrize("name", OPS)
def test_local_reduction(MPI: Any, name: str, datatype: str, record: Any) -> None:
    """Reduce_local gives the same numbers, or refuses the same combinations with the same class."""
    source, target = values(ELEMENTS[datatype], 11, 1), values(ELEMENTS[datatype], 11, 2)
    spec = [getattr(MPI, datatype)]
    result = outcome(MPI, getattr(MPI, name).Reduce_local, [source, *spec], [target, *spec])
    record(result, target)


@pytest.mark.parametrize("datatype", ["INT", "DOUBLE", "INT8_T", "C_DOUBLE_COMPLEX", "C_BOOL", "BYTE", "UINT64_T"])
@pytest.mark.parametrize("name", ALLOWED)
def test_allreduce(MPI: Any, comm: Any, name: str, datatype: str, record: Any) -> None:
    kind = getattr(MPI, datatype)
    source, target = values(ELEMENTS[datatype], 30, comm.Get_rank()), values(ELEMENTS[datatype], 30)
    record(outcome(MPI, comm.Allreduce, [source, kind], [target, kind], getattr(MPI, name)), target)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize("name", ["SUM", "PROD", "MAX", "MIN"])
def test_special_values(MPI: Any, name: str, special: float, record: Any) -> None:
    for first, second in ((special, 1.0), (special, special)):
        target = np.array([second])
        getattr(MPI, name).Reduce_local(np.array([first]), target)
        record(target)


@pytest.mark.parametrize("code", ["b", "h", "i", "q", "B", "Q"])
def test_overflow_wraps(MPI: Any, code: str, record: Any) -> None:
    top = np.iinfo(code).max
    source, target = np.array([top, top], code), np.array([1, top], code)
    for op in (MPI.SUM, MPI.PROD):
        op.Reduce_local(source, target)
        record(target)


@pytest.mark.parametrize("datatype", PAIRS)
@pytest.mark.parametrize("name", ["MAXLOC", "MINLOC"])
def test_pairs(MPI: Any, comm: Any, name: str, datatype: str, record: Any) -> None:
    """Equal values go to the lowest index."""
    layout = pair_dtype(PAIRS[datatype])
    source, target = np.zeros(6, layout), np.zeros(6, layout)
    source["value"] = (np.arange(6) + comm.Get_rank()) % 2
    source["index"] = comm.Get_rank()
    kind = getattr(MPI, datatype)
    comm.Allreduce([source, 6, kind], [target, 6, kind], getattr(MPI, name))
    seen = [(np.arange(6) + peer) % 2 for peer in range(comm.Get_size())]
    best = np.max(seen, axis=0) if name == "MAXLOC" else np.min(seen, axis=0)
    assert np.array_equal(target["value"], best)
    assert np.array_equal(target["index"], np.argmax(np.equal(seen, best), axis=0))
    record(target["value"].astype("d"), target["index"])


def compose(inbuf: Any, inoutbuf: Any, _datatype: Any) -> None:
    """Composition of maps x -> a x + b: associative, does not commute."""
    first = np.frombuffer(inbuf, "q").reshape(-1, 2)
    second = np.frombuffer(inoutbuf, "q").reshape(-1, 2)
    product = first[:, 0] * second[:, 0]
    second[:, 1] = (first[:, 0] * second[:, 1] + first[:, 1]) % MODULUS
    second[:, 0] = product % MODULUS


def maps(peer: int, count: int) -> np.ndarray[Any, Any]:
    return np.stack([2 + (np.arange(count) + peer) % 5, 1 + (np.arange(count) * 3 + peer) % 7], axis=1).astype("q")


def chain(first: int, last: int, count: int) -> np.ndarray[Any, Any]:
    """Return the composition of the maps of ranks first to last - 1, in order."""
    result = maps(last - 1, count)
    for peer in reversed(range(first, last - 1)):
        compose(maps(peer, count), result, None)
    return result


@pytest.mark.parametrize("comm", ["world", "reversed", "self"], indirect=True)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("count", [1, 9, 4000])
@pytest.mark.parametrize("name", ["Reduce", "Allreduce", "Scan", "Exscan", "Reduce_scatter_block", "Reduce_scatter"])
def test_order_of_operands(MPI: Any, comm: Any, call: str, name: str, count: int, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    kind = MPI.INT64_T.Create_contiguous(2).Commit()
    op = MPI.Op.Create(compose, commute=False)
    shares = {"Reduce_scatter_block": [count] * size, "Reduce_scatter": [count + peer for peer in range(size)]}.get(
        name
    )
    whole = sum(shares) if shares else count
    target = np.full((shares[rank] if shares else whole, 2), -1, "q")
    extra = {"Reduce": (op, size - 1), "Reduce_scatter": (shares, op)}.get(name, (op,))
    source = maps(rank, whole)
    send = [source, count if name == "Reduce_scatter_block" else whole, kind]
    collective(comm, call, name, send, [target, len(target), kind], *extra)
    last = {"Scan": rank + 1, "Exscan": rank}.get(name, size)
    defined = rank == size - 1 if name == "Reduce" else last > 0
    if defined:
        begin = sum(shares[:rank]) if shares else 0
        assert np.array_equal(target, chain(0, last, whole)[begin : begin + len(target)])
    record(target if defined else None)
    op.Free()
    kind.Free()


@pytest.mark.parametrize("commute", [True, False])
def test_properties(MPI: Any, commute: bool, record: Any) -> None:
    op = MPI.Op.Create(compose, commute=commute)
    record(op.Is_commutative(), op.is_predefined, bool(op))
    record(MPI.SUM.Is_commutative(), MPI.REPLACE.Is_commutative(), MPI.SUM.is_predefined)
    op.Free()
    assert op == MPI.OP_NULL


@pytest.mark.parametrize("name", OPS)
def test_call_on_objects(MPI: Any, name: str, record: Any) -> None:
    op = getattr(MPI, name)
    pairs = [((2, 1), (2, 0)), ((3, 1), (2, 0))] if name.endswith("LOC") else [(6, 3), (0, 5), (True, False)]
    record([op(first, second) for first, second in pairs])


def test_python_op_on_objects(MPI: Any, comm: Any, record: Any) -> None:
    op = MPI.Op.Create(lambda a, b, datatype: f"<{a}|{b}|{datatype == MPI.DATATYPE_NULL}>")
    record(op("x", "y"), comm.allreduce(comm.Get_rank(), op))
    op.Free()
    record(outcome(MPI, MPI.SUM.Free))


def test_user_operation_that_sees_its_datatype(MPI: Any, comm: Any, record: Any) -> None:
    seen = set()

    def largest(inbuf: Any, inoutbuf: Any, datatype: Any) -> None:
        seen.add((datatype.Get_size(), datatype == MPI.INT))
        np.maximum(np.frombuffer(inbuf, "i"), into := np.frombuffer(inoutbuf, "i"), out=into)

    op = MPI.Op.Create(largest, commute=True)
    target = np.array([0, 9], "i")
    op.Reduce_local(np.array([3, 3], "i"), target)
    record(sorted(seen), target)
    op.Free()
