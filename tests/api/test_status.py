"""Status: fields, counts, memory, Fortran form, pickling."""

from __future__ import annotations

import ctypes
import pickle

import pytest

from fmi_mpi import MPI

BIG = (1 << 40) + 3


@pytest.fixture
def status():
    return MPI.Status()


def filled() -> MPI.Status:
    made = MPI.Status()
    made._set(5, 6, MPI.ERR_OTHER, BIG, True)
    return made


def test_is_empty_at_first(status):
    assert (status.source, status.tag, status.error) == (MPI.ANY_SOURCE, MPI.ANY_TAG, MPI.SUCCESS)
    assert status.count == 0 and status.cancelled is False


@pytest.mark.parametrize("remembered", [False, True])
def test_fields_can_be_set_by_call_and_attribute(status, remembered):
    if remembered:
        status.tomemory()
    status.Set_source(1)
    status.Set_tag(2)
    status.Set_error(3)
    status.Set_cancelled(1)
    status.count = 4
    assert (status.Get_source(), status.Get_tag(), status.Get_error()) == (1, 2, 3)
    assert status.Is_cancelled() is True and status.count == 4
    status.source, status.tag, status.error, status.cancelled = 10, 20, 30, False
    assert (status.source, status.tag, status.error, status.cancelled) == (10, 20, 30, False)


@pytest.mark.parametrize(
    ("nbytes", "datatype", "count", "elements"),
    [
        (0, MPI.INT, 0, 0),
        (12, MPI.BYTE, 12, 12),
        (12, MPI.INT, 3, 3),
        (12, MPI.DOUBLE, MPI.UNDEFINED, MPI.UNDEFINED),
        (24, MPI.INT_INT, 3, 6),
        (20, MPI.INT_INT, MPI.UNDEFINED, 5),
    ],
)
def test_counts_of_a_datatype(status, nbytes, datatype, count, elements):
    status._set(0, 0, 0, nbytes)
    assert status.Get_count(datatype) == count
    assert status.Get_elements(datatype) == elements


@pytest.mark.parametrize("datatype", [MPI.BYTE, MPI.INT, MPI.DOUBLE_INT])
def test_set_elements_is_the_inverse_of_get_elements(status, datatype):
    status.Set_elements(datatype, 7)
    assert status.Get_elements(datatype) == 7


@pytest.mark.parametrize(
    ("method", "arguments", "errorclass"),
    [
        ("Get_count", (MPI.DATATYPE_NULL,), MPI.ERR_TYPE),
        ("Get_elements", (MPI.DATATYPE_NULL,), MPI.ERR_TYPE),
        ("Set_elements", (MPI.DATATYPE_NULL, 0), MPI.ERR_TYPE),
        ("Set_elements", (MPI.BYTE, -1), MPI.ERR_COUNT),
    ],
)
def test_errors(status, method, arguments, errorclass):
    with pytest.raises(MPI.Exception) as caught:
        getattr(status, method)(*arguments)
    assert caught.value == errorclass


@pytest.mark.parametrize("value", ["a", None, 1.5])
def test_fields_are_integers(status, value):
    with pytest.raises(TypeError):
        status.source = value
    with pytest.raises(TypeError):
        status.Get_elements(value)


@pytest.mark.parametrize(
    "copied",
    [
        MPI.Status,
        lambda status: pickle.loads(pickle.dumps(status)),
        lambda status: MPI.Status.f2py(status.py2f()),
    ],
    ids=["copy", "pickle", "Fortran"],
)
def test_copies_are_equal_and_independent(copied):
    original = filled()
    clone = copied(original)
    assert clone == original and clone._get() == (5, 6, MPI.ERR_OTHER, BIG, True)
    clone.tag = 99
    assert clone != original and original.tag == 6


def test_fortran_form(status):
    status._set(5, 6, 7, 8)
    numbers = status.py2f()
    assert len(numbers) == MPI.F_STATUS_SIZE
    assert (numbers[MPI.F_SOURCE], numbers[MPI.F_TAG], numbers[MPI.F_ERROR]) == (5, 6, 7)
    with pytest.raises(IndexError):
        MPI.Status.f2py([1, 2, 3])


def test_memory_is_shared_both_ways(status):
    memory = status.tomemory()
    memory[MPI.F_TAG] = 42
    assert status.tag == 42
    status._set(1, 2, 3, 4, False)
    assert memory.tolist()[MPI.F_SOURCE :] == [1, 2, 3]
    number = ctypes.c_int.from_address(status._address() + 4 * MPI.F_SOURCE)
    number.value = 77
    assert status.source == 77


@pytest.mark.parametrize("other", [123, "abc", MPI.INT])
def test_is_made_of_statuses_only(other):
    with pytest.raises(TypeError):
        MPI.Status(other)
    assert MPI.Status() != other
