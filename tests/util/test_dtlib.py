"""Datatypes become numpy dtypes of the same layout, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fmi_mpi import MPI
from fmi_mpi.util import dtlib
from fmi_mpi.util.dtlib import from_numpy_dtype, to_numpy_dtype

Datatype = MPI.Datatype
RECORD = ([1, 2], [0, 8], [MPI.INT, MPI.DOUBLE])
PACKED = np.dtype({"names": ["a", "b"], "formats": ["i4", "f8"], "offsets": [8, 0], "itemsize": 32})

DTYPES = [
    *"?bhilqBHILQefdgFDG",
    "S1",
    "(3,)i4",
    "(0,)i4",
    "(2,3)f8",
    "i4,f8",
    "i1,(2,2)f8,i1",
    PACKED,
    [("x", "f8"), ("inner", [("y", "i2"), ("z", "u1")], (2,))],
]


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("given", DTYPES, ids=str)
def test_there_and_back(given: Any, align: bool) -> None:
    dtype = np.dtype(given, align=align)
    datatype = from_numpy_dtype(dtype)
    back = to_numpy_dtype(datatype)
    assert datatype.extent == dtype.itemsize == back.itemsize
    assert _layout(back) == _layout(dtype)
    datatype.Free()


def _layout(dtype: np.dtype[Any]) -> Any:
    """Return a dtype without the names of its fields."""
    if dtype.subdtype is not None:
        return _layout(dtype.subdtype[0]), dtype.shape
    if dtype.names is None:
        return dtype
    assert dtype.fields is not None
    return [(_layout(dtype.fields[name][0]), dtype.fields[name][1]) for name in dtype.names]


@pytest.mark.parametrize(
    ("datatype", "expected"),
    [
        (MPI.WCHAR, np.dtype("U1")),
        (MPI.CHAR.Dup(), np.dtype("S1")),
        (MPI.DOUBLE_INT, np.dtype("d,i", align=True)),
        (MPI.SHORT_INT.Dup(), np.dtype("h,i", align=True)),
        (MPI.INT.Create_contiguous(3).Create_contiguous(2), np.dtype(("(3,)i4", (2,)))),
        (MPI.INT.Create_subarray([2, 3], [2, 3], [0, 0], MPI.ORDER_F), np.dtype("(3,2)i4")),
        (Datatype.Create_struct(*RECORD), np.dtype("i4,(2,)f8", align=True)),
    ],
)
def test_of_a_datatype(datatype: MPI.Datatype, expected: np.dtype[Any]) -> None:
    assert to_numpy_dtype(datatype) == expected


@pytest.mark.parametrize(
    ("datatype", "offsets", "itemsize"),
    [
        (MPI.INT.Create_vector(3, 2, 4), [0, 16, 32], 40),
        (MPI.INT.Create_hvector(2, 1, 7), [0, 7], 11),
        (MPI.INT.Create_indexed([1, 2], [0, 3]), [0, 12], 20),
        (MPI.INT.Create_hindexed_block(2, [1, 14]), [1, 14], 22),
        (Datatype.Create_struct(*RECORD).Create_resized(0, 40), [0, 8], 40),
    ],
    ids=["vector", "hvector", "indexed", "hindexed block", "resized struct"],
)
def test_fields_are_where_the_blocks_are(datatype: MPI.Datatype, offsets: list[int], itemsize: int) -> None:
    dtype = to_numpy_dtype(datatype)
    assert dtype.fields is not None and dtype.names is not None
    assert [dtype.fields[name][1] for name in dtype.names] == offsets
    assert dtype.itemsize == itemsize


def test_alignment_is_that_of_the_fields() -> None:
    at_odd_offsets = Datatype.Create_struct([1, 1], [0, 4], [MPI.INT, MPI.DOUBLE])
    assert to_numpy_dtype(Datatype.Create_struct(*RECORD)).isalignedstruct
    assert not to_numpy_dtype(at_odd_offsets).isalignedstruct


@pytest.mark.parametrize(
    "datatype",
    [
        MPI.DATATYPE_NULL,
        MPI.INT.Create_resized(0, 32),
        MPI.INT.Create_subarray([2], [1], [0]),
        MPI.INT.Create_vector(2, 1, -2),
        MPI.INT.Create_darray(1, 0, [4], [MPI.DISTRIBUTE_BLOCK], [MPI.DISTRIBUTE_DFLT_DARG], [1]),
    ],
    ids=["null", "resized", "partial subarray", "below zero", "darray"],
)
def test_numpy_has_no_such_type(datatype: MPI.Datatype) -> None:
    with pytest.raises(ValueError):
        to_numpy_dtype(datatype)


@pytest.mark.parametrize("given", [">i4", "O", "V8", [("a", "i4"), ("b", "O")], "i4,>f8"], ids=str)
def test_mpi_has_no_such_type(given: Any) -> None:
    with pytest.raises(ValueError):
        from_numpy_dtype(given)


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtlib, "_np_dtype", None)
    pair: Any = to_numpy_dtype(MPI.DOUBLE_INT)
    assert pair == ("d,i", {"align": True})
    array: Any = to_numpy_dtype(MPI.INT.Create_contiguous(3))
    assert array == ("i", (3,))
    record: Any = to_numpy_dtype(Datatype.Create_struct(*RECORD))
    assert record["formats"] == ["i", ("d", 2)]
    assert (record["offsets"], record["itemsize"], record["aligned"]) == ([0, 8], 24, True)
    with pytest.raises(RuntimeError):
        from_numpy_dtype("i4")


@pytest.mark.parametrize("given", DTYPES, ids=str)
def test_same_datatype_as_mpi4py(given: Any) -> None:
    theirs = pytest.importorskip("mpi4py.util.dtlib").from_numpy_dtype(given)
    ours = from_numpy_dtype(given)
    assert (ours.size, ours.extent, ours.decode()[1]) == (theirs.size, theirs.extent, theirs.decode()[1])
