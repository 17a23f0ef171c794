"""Predefined types: sizes of the 64-bit Linux ABI, codes, Fortran kinds, pairs."""

from __future__ import annotations

import numpy as np
import pytest

from fmi_mpi import constants as c
from fmi_mpi.data.predefined import ALIASES, BY_CODE, BY_CODE_C, BY_CODE_F, BY_DTYPE, TYPES, f90, match_size, simple
from fmi_mpi.data.predefined import value_index as pair_of
from fmi_mpi.errors import MPIError

NULL = ("LOGICAL16", "INTEGER16", "COMPLEX4")


@pytest.mark.parametrize(
    ("name", "size", "align", "char", "string", "code", "mpi_name"),
    [
        ("AINT", 8, 8, "p", "i8", "p", "MPI_AINT"),
        ("BYTE", 1, 1, "B", "u1", "B", "MPI_BYTE"),
        ("CHAR", 1, 1, "c", "S1", "c", "MPI_CHAR"),
        ("WCHAR", 4, 4, "U", "U1", "U", "MPI_WCHAR"),
        ("LONG", 8, 8, "l", "i8", "l", "MPI_LONG"),
        ("LONG_LONG", 8, 8, "q", "i8", "q", "MPI_LONG_LONG_INT"),
        ("LONG_DOUBLE", 16, 16, "g", "f16", "g", "MPI_LONG_DOUBLE"),
        ("C_BOOL", 1, 1, "?", "b1", "b1", "MPI_C_BOOL"),
        ("CXX_BOOL", 1, 1, "?", "b1", "?", "MPI_CXX_BOOL"),
        ("INT64_T", 8, 8, "l", "i8", "i8", "MPI_INT64_T"),
        ("UINT64_T", 8, 8, "L", "u8", "u8", "MPI_UINT64_T"),
        ("FLOAT16_T", 2, 2, "e", "f2", "e", "MPIX_C_FLOAT16"),
        ("C_DOUBLE_COMPLEX", 16, 8, "D", "c16", "D", "MPI_C_DOUBLE_COMPLEX"),
        ("COMPLEX32", 32, 16, "G", "c32", "c32", "MPI_COMPLEX32"),
        ("LOGICAL", 4, 4, "i", "i4", "i", "MPI_LOGICAL"),
        ("INTEGER8", 8, 8, "l", "i8", "i8", "MPI_INTEGER8"),
        ("REAL16", 16, 16, "g", "f16", "f16", "MPI_REAL16"),
        ("BFLOAT16_T", 2, 2, "V", "V2", None, "MPI_BFLOAT16_T"),
        ("TWOINT", 8, 4, "V", "V8", None, "MPI_2INT"),
    ],
)
def test_a_row(name, size, align, char, string, code, mpi_name):
    found = TYPES[name]
    assert (found.size, found.align, found.char, found.string, found.code, found.name) == (
        size,
        align,
        char,
        string,
        code,
        mpi_name,
    )
    assert found.permanent
    assert found.ready
    assert found.named


@pytest.mark.parametrize(
    "name", [name for name, found in TYPES.items() if found is not None and found.dtype is not None]
)
def test_numpy_agrees(name):
    found = TYPES[name]
    assert found.dtype.itemsize == found.extent
    assert found.dtype.alignment == found.align


@pytest.mark.parametrize(
    ("name", "size", "extent", "true_extent"),
    [
        ("SHORT_INT", 6, 8, 8),
        ("LONG_INT", 12, 16, 12),
        ("FLOAT_INT", 8, 8, 8),
        ("DOUBLE_INT", 12, 16, 12),
        ("LONG_DOUBLE_INT", 20, 32, 20),
    ],
)
def test_pairs(name, size, extent, true_extent):
    found = TYPES[name]
    assert (found.size, found.extent, found.true_extent) == (size, extent, true_extent)


def test_what_no_library_has_is_null():
    assert [name for name, found in TYPES.items() if found is None] == list(NULL)


def test_aliases_are_the_same_type():
    for alias, name in ALIASES.items():
        assert TYPES[alias] is TYPES[name]


@pytest.mark.parametrize("codes", [BY_CODE, BY_CODE_C])
def test_codes_that_numpy_knows_have_numpys_size(codes):
    for code, found in codes.items():
        if code in ("u", "1u", "w", "1w", "Zf", "Zd", "Zg", "a", "s", "1s", "M", "m") or code.startswith(("S", "U")):
            continue
        assert np.dtype(code).itemsize == found.size, code


def test_dictionaries():
    assert BY_CODE["p"] is TYPES["AINT"]
    assert BY_CODE_F["z"] is TYPES["DOUBLE_COMPLEX"]
    assert BY_DTYPE[np.dtype(np.float64)] is TYPES["DOUBLE"]
    assert np.dtype(">f8") not in BY_DTYPE


@pytest.mark.parametrize(("digits", "size"), [(0, 1), (2, 1), (3, 2), (4, 2), (5, 4), (9, 4), (10, 8), (18, 8)])
def test_f90_integers(digits, size):
    found = f90("integer", digits)
    assert found.size == size
    assert found is f90("integer", digits)
    assert (found.combiner, found.integers) == (c.COMBINER_F90_INTEGER, (digits,))
    assert found.permanent
    assert not found.named


@pytest.mark.parametrize(
    ("precision", "reach", "size"),
    [(6, 30, 4), (6, 37, 4), (6, 38, 8), (7, c.UNDEFINED, 8), (15, 307, 8), (15, 308, 16), (33, 4931, 16)],
)
def test_f90_reals(precision, reach, size):
    assert f90("real", precision, reach).size == size
    assert f90("complex", precision, reach).size == 2 * size


@pytest.mark.parametrize("kind", [("integer", 40), ("real", 34, 1), ("complex", 6, 5000)])
def test_f90_kinds_that_do_not_exist(kind):
    with pytest.raises(MPIError) as caught:
        f90(*kind)
    assert caught.value.error_class == c.ERR_OTHER


def test_match_size():
    assert match_size(c.TYPECLASS_INTEGER, 8) is TYPES["INTEGER8"]
    assert match_size(c.TYPECLASS_REAL, 2) is TYPES["REAL2"]
    assert match_size(c.TYPECLASS_COMPLEX, 16) is TYPES["COMPLEX16"]
    assert match_size(c.TYPECLASS_LOGICAL, 4) is TYPES["LOGICAL4"]
    assert match_size(c.TYPECLASS_COMPLEX, 4).size == 4
    for typeclass, size in ((c.TYPECLASS_REAL, 3), (c.TYPECLASS_COMPLEX, 2), (77, 4)):
        with pytest.raises(MPIError) as caught:
            match_size(typeclass, size)
        assert caught.value.error_class == c.ERR_ARG


def test_value_index():
    integer, long, real = simple("INT"), simple("LONG"), simple("FLOAT")
    assert pair_of(real, integer) is TYPES["FLOAT_INT"]
    assert pair_of(integer, real) is None
    made = pair_of(integer, long)
    assert made is pair_of(integer, long)
    assert (made.size, made.extent, made.combiner) == (12, 16, c.COMBINER_VALUE_INDEX)
    assert made.parts == (integer, long)
