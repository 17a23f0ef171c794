"""Reductions: results on every allowed type, what is refused, users' functions."""

from __future__ import annotations

import operator

import numpy as np
import pytest

from fmi_mpi.constants import ERR_OP
from fmi_mpi.data import constructors as make
from fmi_mpi.data.kernels import OPS, OpImpl, kernel
from fmi_mpi.data.predefined import TYPES, f90, simple, value_index
from fmi_mpi.errors import MPIError

ARITHMETIC = ("MAX", "MIN", "SUM", "PROD")
LOGICAL = ("LAND", "LOR", "LXOR")
BITWISE = ("BAND", "BOR", "BXOR")
LOCATIONS = ("MAXLOC", "MINLOC")
REDUCTIONS = ARITHMETIC + LOGICAL + BITWISE + LOCATIONS
C_INTEGERS = [
    "CHAR",
    "SIGNED_CHAR",
    "SHORT",
    "INT",
    "LONG",
    "LONG_LONG",
    "UNSIGNED_CHAR",
    "UNSIGNED_SHORT",
    "UNSIGNED",
    "UNSIGNED_LONG",
    "UNSIGNED_LONG_LONG",
    "INT8_T",
    "INT16_T",
    "INT32_T",
    "INT64_T",
    "UINT8_T",
    "UINT16_T",
    "UINT32_T",
    "UINT64_T",
    "AINT",
    "OFFSET",
    "COUNT",
]
F_INTEGERS = ["INTEGER", "INTEGER1", "INTEGER2", "INTEGER4", "INTEGER8"]
FLOATS = [
    "FLOAT",
    "DOUBLE",
    "LONG_DOUBLE",
    "FLOAT16_T",
    "REAL",
    "DOUBLE_PRECISION",
    "REAL4",
    "REAL8",
    "REAL16",
    "REAL2",
]
COMPLEXES = ["C_COMPLEX", "C_DOUBLE_COMPLEX", "C_LONG_DOUBLE_COMPLEX", "COMPLEX", "DOUBLE_COMPLEX", "COMPLEX8"]
BOOLEANS = ["C_BOOL", "CXX_BOOL", "LOGICAL", "LOGICAL1", "LOGICAL4"]
PAIRS = ["SHORT_INT", "TWOINT", "LONG_INT", "FLOAT_INT", "DOUBLE_INT", "LONG_DOUBLE_INT"]

# What MPICH takes; it has no BFLOAT16_T.
ALLOWED = {
    **dict.fromkeys(C_INTEGERS, ARITHMETIC + LOGICAL + BITWISE),
    **dict.fromkeys(F_INTEGERS, ARITHMETIC + BITWISE),
    **dict.fromkeys([*FLOATS, "BFLOAT16_T"], ARITHMETIC),
    **dict.fromkeys(COMPLEXES, ("SUM", "PROD")),
    **dict.fromkeys(BOOLEANS, LOGICAL),
    **dict.fromkeys(PAIRS, LOCATIONS),
    "BYTE": BITWISE,
    "PACKED": [],
    "CHARACTER": [],
    "WCHAR": [],
}

PLAIN = {
    "MAX": max,
    "MIN": min,
    "SUM": operator.add,
    "PROD": operator.mul,
    "LAND": lambda x, y: bool(x) and bool(y),
    "LOR": lambda x, y: bool(x) or bool(y),
    "LXOR": lambda x, y: bool(x) != bool(y),
    "BAND": operator.and_,
    "BOR": operator.or_,
    "BXOR": operator.xor,
}


def run(name, datatype, given, into):
    """Reduce two arrays of packed elements and return the result as bytes."""
    result = bytearray(into.tobytes())
    kernel(OPS[name], datatype)(memoryview(given.tobytes()), memoryview(result))
    return result


@pytest.mark.parametrize("name", [name for name in ALLOWED if name not in (*PAIRS, "BFLOAT16_T")])
def test_results(name):
    datatype = simple(name)
    dtype = datatype.dtype
    given = np.array([0, 1, 3, 5, 1], dtype)
    into = np.array([0, 0, 2, 6, 1], dtype)
    for op in ALLOWED[name]:
        expected = np.array([PLAIN[op](x, y) for x, y in zip(given.tolist(), into.tolist())]).astype(dtype)
        found = np.frombuffer(run(op, datatype, given, into), dtype)
        assert found.tolist() == expected.tolist(), op


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_refused(name):
    for op in set(REDUCTIONS) - set(ALLOWED[name]) | {"REPLACE", "NO_OP"}:
        with pytest.raises(MPIError) as caught:
            kernel(OPS[op], TYPES[name])
        assert caught.value.error_class == ERR_OP


@pytest.mark.parametrize("derived", [make.dup(simple("INT")), make.contiguous(simple("INT"), 2)])
def test_derived_types_are_refused(derived):
    with pytest.raises(MPIError, match=r"Op\.Create"):
        kernel(OPS["SUM"], derived)


def test_fortran_kinds():
    found = run("SUM", f90("real", 15, 300), np.array([1.5]), np.array([2.0]))
    assert np.frombuffer(found).tolist() == [3.5]
    with pytest.raises(MPIError):
        kernel(OPS["LAND"], f90("integer", 4))


@pytest.mark.parametrize("name", [*PAIRS, "new"])
def test_locations_on_packed_pairs(name):
    datatype = value_index(simple("INT"), simple("SHORT")) if name == "new" else TYPES[name]
    value, index = (datatype.dtype.fields[field][0] for field in ("value", "index"))
    packed = np.dtype([("value", value), ("index", index)])
    assert packed.itemsize == datatype.size
    given = np.array([(1, 9), (5, 3), (4, 4), (7, 2)], packed)
    into = np.array([(2, 1), (3, 8), (4, 2), (7, 6)], packed)
    largest = np.frombuffer(run("MAXLOC", datatype, given, into), packed)
    smallest = np.frombuffer(run("MINLOC", datatype, given, into), packed)
    assert largest.tolist() == [(2, 1), (5, 3), (4, 2), (7, 2)]
    assert smallest.tolist() == [(1, 9), (3, 8), (4, 2), (7, 2)]


def bfloat16(values):
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize(
    ("op", "given", "into", "result"),
    [
        ("SUM", [1.0, -2.5, 256.0, 256.0], [2.0, 0.5, 1.0, 3.0], [3.0, -2.0, 256.0, 260.0]),
        ("PROD", [3.0], [0.5], [1.5]),
        ("MAX", [3.0, -1.0], [0.5, -2.0], [3.0, -1.0]),
        ("MIN", [np.inf], [0.5], [0.5]),
    ],
)
def test_bfloat16_is_rounded_to_even(op, given, into, result):
    found = run(op, TYPES["BFLOAT16_T"], bfloat16(given), bfloat16(into))
    assert np.frombuffer(found, np.uint16).tolist() == bfloat16(result).tolist()


def test_bfloat16_keeps_what_is_not_a_number():
    found = run("SUM", TYPES["BFLOAT16_T"], bfloat16([np.nan]), bfloat16([1.0]))
    assert np.isnan((np.frombuffer(found, np.uint16).astype(np.uint32) << 16).view(np.float32)).all()


def test_accumulations_have_replace_and_no_op_for_any_type():
    for datatype in (simple("WCHAR"), TYPES["SHORT_INT"], simple("DOUBLE")):
        given, into = (bytes([i]) * 3 * datatype.size for i in (1, 2))
        for name, expected in (("REPLACE", given), ("NO_OP", into)):
            result = bytearray(into)
            kernel(OPS[name], datatype, accumulate=True)(memoryview(given), memoryview(result))
            assert result == expected


def test_kernels_are_made_once_and_say_what_they_are():
    found = kernel(OPS["SUM"], simple("DOUBLE"))
    assert found is kernel(OPS["SUM"], simple("DOUBLE"))
    assert (found.commutative, found.granule) == (True, 8)


def test_a_users_function_gets_gap_free_elements_without_a_copy():
    def function(in_, inout, datatype):
        seen.append((in_, inout, datatype))
        inout[:] = bytes(x ^ y for x, y in zip(in_, inout))

    seen = []
    combine = kernel(OpImpl("user", False, None, function), simple("BYTE"), "holder")
    given, into = memoryview(b"\1\2"), memoryview(bytearray(b"\3\3"))
    combine(given, into)
    assert seen == [(given, into, "holder")]
    assert into == b"\2\1"
    assert (combine.commutative, combine.granule) == (False, 1)


@pytest.mark.parametrize(
    ("datatype", "extent", "first"),
    [
        (make.resized(simple("INT"), 0, 12), 12, 0),
        (make.resized(simple("INT"), -4, 12), 12, 4),
        (make.vector(simple("INT"), 1, 1, 3), 4, 0),
        (TYPES["SHORT_INT"], 8, 0),
    ],
)
def test_a_users_function_sees_the_types_own_layout(datatype, extent, first):
    def function(in_, inout, holder):
        assert len(in_) == len(inout) == 3 * extent
        for at in range(first, 3 * extent, extent):
            inout[at] += 10 * in_[at]

    given, into = (bytes(range(begin, begin + 3 * datatype.size)) for begin in (1, 50))
    result = bytearray(into)
    kernel(OpImpl("user", True, None, function), datatype)(memoryview(given), memoryview(result))
    expected = bytearray(into)
    for at in range(0, len(into), datatype.size):
        expected[at] += 10 * given[at]
    assert result == expected
