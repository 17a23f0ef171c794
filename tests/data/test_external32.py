"""external32: sizes and bytes as MPICH writes them, and back."""

from __future__ import annotations

import numpy as np
import pytest

from fmi_mpi.constants import ERR_UNSUPPORTED_DATAREP
from fmi_mpi.data import constructors as make
from fmi_mpi.data.external32 import check, external_size, from_external, to_external
from fmi_mpi.data.predefined import TYPES, simple
from fmi_mpi.errors import MPIError


@pytest.mark.parametrize(
    ("name", "value", "external"),
    [
        ("CHAR", 1, "01"),
        ("SHORT", 0x0102, "0102"),
        ("INT", 0x01020304, "01020304"),
        ("LONG", 0x01020304, "01020304"),
        ("UNSIGNED_LONG", 0x01020304, "01020304"),
        ("LONG_LONG", 0x0102030405060708, "0102030405060708"),
        ("INT64_T", -2, "fffffffffffffffe"),
        ("AINT", 3, "0000000000000003"),
        ("WCHAR", 65, "0041"),
        ("C_BOOL", True, "01"),
        ("FLOAT", 1.5, "3fc00000"),
        ("DOUBLE", 1.5, "3ff8000000000000"),
        ("LONG_DOUBLE", 1.5, "3fff8000000000000000000000000000"),
        ("LONG_DOUBLE", -0.0, "80000000000000000000000000000000"),
        ("C_COMPLEX", 1.5, "3fc0000000000000"),
        ("C_LONG_DOUBLE_COMPLEX", 1.5, "3fff8000000000000000000000000000" + 32 * "0"),
    ],
)
def test_the_bytes_of_a_value(name, value, external):
    datatype = simple(name)
    packed = np.array([value, value], datatype.dtype).tobytes()
    data = to_external(datatype, memoryview(packed))
    assert data.hex() == 2 * external
    assert len(data) == external_size(datatype, 2)
    back = np.frombuffer(from_external(datatype, memoryview(data), 2), datatype.dtype)
    assert back.tolist() == [value, value]


@pytest.mark.parametrize("value", [0.0, 1.0, -2.25, np.inf, 1e-300, np.longdouble("1e4000")])
def test_long_doubles_come_back(value):
    array = np.array([value], np.longdouble)
    data = to_external(simple("LONG_DOUBLE"), memoryview(array.tobytes()))
    back = np.frombuffer(from_external(simple("LONG_DOUBLE"), memoryview(data), 1), np.longdouble)
    assert back.tolist() == array.tolist()


def test_structures_are_converted_field_by_field():
    record = make.struct([1, 2], [0, 8], [simple("INT"), simple("LONG")])
    datatype = make.vector(record, 2, 1, 3)
    fields = np.dtype([("i", "i4"), ("l", "i8", 2)])
    values = np.array([(1, (2, 3)), (4, (5, 6))], fields)
    data = to_external(datatype, memoryview(values.tobytes()))
    assert np.frombuffer(data, ">i4").tolist() == [1, 2, 3, 4, 5, 6]
    assert external_size(datatype, 3) == 72
    assert from_external(datatype, memoryview(data), 1) == values.tobytes()


def test_pairs():
    pair = TYPES["LONG_INT"]
    packed = np.array([(7, 8)], np.dtype([("value", "i8"), ("index", "i4")])).tobytes()
    assert to_external(pair, memoryview(packed)).hex() == "0000000700000008"


def test_only_external32():
    check("external32")
    with pytest.raises(MPIError) as caught:
        check("native")
    assert caught.value.error_class == ERR_UNSUPPORTED_DATAREP
