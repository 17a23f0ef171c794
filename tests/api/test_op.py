"""``MPI.Op``: calls on objects, local reductions, users' functions, pickling."""

from __future__ import annotations

import array
import pickle

import numpy as np
import pytest

from fmi_mpi import MPI

PREDEFINED = [
    MPI.MAX,
    MPI.MIN,
    MPI.SUM,
    MPI.PROD,
    MPI.LAND,
    MPI.BAND,
    MPI.LOR,
    MPI.BOR,
    MPI.LXOR,
    MPI.BXOR,
    MPI.MAXLOC,
    MPI.MINLOC,
    MPI.REPLACE,
    MPI.NO_OP,
]


def add(x, y, datatype):
    if datatype is None:
        return [a + b for a, b in zip(x, y)]
    np.frombuffer(y, "i")[:] += np.frombuffer(x, "i")
    return None


@pytest.mark.parametrize(
    ("op", "x", "y", "result"),
    [
        (MPI.MAX, 2, 3, 3),
        (MPI.MAX, (1, 2), (3,), (3,)),
        (MPI.MIN, 2, 3, 2),
        (MPI.SUM, "a", "b", "ab"),
        (MPI.PROD, 2, 3, 6),
        (MPI.LAND, 2, 3, True),
        (MPI.LOR, 0, 0, False),
        (MPI.LXOR, 2, 1, False),
        (MPI.BAND, 6, 3, 2),
        (MPI.BOR, 6, 3, 7),
        (MPI.BXOR, 6, 3, 5),
        (MPI.MAXLOC, [1, 2], [1, 1], (1, 1)),
        (MPI.MINLOC, (1, 2), (2, 1), (1, 2)),
        (MPI.REPLACE, 2, 3, 3),
        (MPI.NO_OP, 2, 3, 2),
    ],
)
def test_calls(op, x, y, result):
    for called in (op, MPI.Op(op)):
        found = called(x, y)
        assert found == result
        assert type(found) is type(result)


def test_locations_keep_the_objects():
    value, place = [1], [2]
    found = MPI.MINLOC([value, place], [[2], [1]])
    assert found[0] is value
    assert found[1] is place


def test_the_null_operation():
    assert not MPI.OP_NULL
    assert MPI.Op() == MPI.OP_NULL
    assert MPI.OP_NULL.is_predefined
    with pytest.raises(ValueError, match="null"):
        MPI.OP_NULL(1, 2)
    for call in (MPI.OP_NULL.Free, MPI.OP_NULL.Is_commutative):
        with pytest.raises(MPI.Exception) as caught:
            call()
        assert caught.value.Get_error_class() == MPI.ERR_OP


@pytest.mark.parametrize("op", PREDEFINED)
def test_predefined_operations(op):
    assert op.is_predefined
    assert op.is_commutative == (op not in (MPI.REPLACE, MPI.NO_OP))
    assert pickle.loads(pickle.dumps(op)) is op
    again = pickle.loads(pickle.dumps(MPI.Op(op)))
    assert again == op
    assert again is not op
    with pytest.raises(MPI.Exception) as caught:
        op.Free()
    assert caught.value.Get_error_class() == MPI.ERR_OP
    op.free()
    assert op
    copied = MPI.Op(op)
    copied.free()
    assert not copied


def test_local_reductions():
    x, y = np.arange(4.0), np.ones(4)
    MPI.SUM.Reduce_local(x, y)
    assert y.tolist() == [1, 2, 3, 4]
    MPI.MAX.Reduce_local([x, (2, 2), MPI.DOUBLE], [y, 2])
    assert y.tolist() == [2, 3, 3, 4]
    strided = MPI.INT.Create_resized(0, 8).Commit()
    given, into = np.arange(4, dtype="i"), np.full(4, 5, "i")
    op = MPI.Op.Create(lambda a, b, d: add(a, b, d), True)
    op.Reduce_local([given, 2, strided], [into, 2, strided])
    assert into.tolist() == [5, 5, 7, 5]
    op.Free()


@pytest.mark.parametrize(
    ("op", "x", "y", "error"),
    [
        (MPI.SUM, np.zeros(2), np.zeros(3), ValueError),
        (MPI.SUM, np.zeros(2), np.zeros(2, "f"), ValueError),
        (MPI.SUM, None, np.zeros(2), TypeError),
        (MPI.SUM, np.zeros(2), b"12345678", BufferError),
        (MPI.MAXLOC, np.zeros(2), np.zeros(2), MPI.Exception),
        (MPI.REPLACE, np.zeros(2), np.zeros(2), MPI.Exception),
        (MPI.OP_NULL, np.zeros(2), np.zeros(2), MPI.Exception),
    ],
)
def test_what_cannot_be_reduced(op, x, y, error):
    with pytest.raises(error):
        op.Reduce_local(x, y)


@pytest.mark.parametrize("commute", [False, True])
def test_users_operations(commute):
    op = MPI.Op.Create(add, commute)
    assert (op.is_commutative, op.is_predefined) == (commute, False)
    assert op([1], [2]) == [3]
    x, y = np.arange(3, dtype="i"), np.ones(3, "i")
    op.Reduce_local(x, y)
    assert y.tolist() == [1, 2, 3]
    again = pickle.loads(pickle.dumps(op))
    assert again != op
    op.Free()
    assert again([1], [2]) == [3]
    assert again.is_commutative == commute
    again.Free()
    assert again == MPI.OP_NULL


def test_a_users_function_gets_the_datatype():
    seen = []
    op = MPI.Op.Create(lambda a, b, datatype: seen.append((len(a), len(b), datatype == MPI.INT)))
    op.Reduce_local(np.zeros(3, "i"), np.zeros(3, "i"))
    op.Reduce_local(np.zeros(0, "i"), np.zeros(0, "i"))
    assert seen == [(12, 12, True)]
    op.Free()


def test_a_users_function_gets_buffers_that_take_any_memory():
    def function(a, b, datatype):
        assert type(a) is type(b) is MPI.buffer
        b[:] = array.array("i", [10 * x + y for x, y in zip(a.cast("i"), b.cast("i"))])

    op = MPI.Op.Create(function)
    into = np.arange(3, dtype="i")
    op.Reduce_local(np.ones(3, "i"), into)
    assert into.tolist() == [10, 11, 12]
    op.Free()


def test_an_operation_from_a_handle_does_not_know_its_function():
    op = MPI.Op.Create(add)
    again = MPI.Op.fromint(op.toint())
    assert again == op
    with pytest.raises(ValueError, match="handle"):
        again.__reduce__()
    assert MPI.Op.fromhandle(MPI.SUM.handle) == MPI.SUM
    op.Free()


def test_32_operations_at_a_time():
    ops = [MPI.Op.Create(add) for _ in range(32)]
    with pytest.raises(RuntimeError):
        MPI.Op.Create(add)
    ops.pop().Free()
    ops.append(MPI.Op.Create(add))
    for op in ops:
        op.Free()


def test_only_functions():
    with pytest.raises(TypeError):
        MPI.Op.Create(3)
