"""The predefined datatypes and the ways to find them: by name, by character code, by numpy dtype.

Rules of this file:
- One table row a type: attribute name, MPI name, numpy dtype, code (the key in the type dictionaries), alignment.
- Sizes are those of C and Fortran on 64-bit Linux, where numpy's types are laid out alike.
- Types that neither MPICH nor Open MPI has on this platform are the null datatype here too.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from fmi_mpi import constants as c
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.typemap import Block, joined
from fmi_mpi.errors import MPIError

__all__ = [
    "ALIASES",
    "BYTE",
    "BY_CODE",
    "BY_CODE_C",
    "BY_CODE_F",
    "BY_DTYPE",
    "PAIRS",
    "TYPES",
    "f90",
    "match_size",
    "simple",
    "value_index",
]

_SIMPLE: Final = (
    # attribute, MPI name, numpy dtype, typechar, code
    ("PACKED", "MPI_PACKED", "B", "B", "B"),
    ("BYTE", "MPI_BYTE", "B", "B", "B"),
    ("AINT", "MPI_AINT", "i8", "p", "p"),
    ("OFFSET", "MPI_OFFSET", "i8", "p", "p"),
    ("COUNT", "MPI_COUNT", "i8", "p", "p"),
    ("CHAR", "MPI_CHAR", "b", "c", "c"),
    ("WCHAR", "MPI_WCHAR", "u4", "U", "U"),
    ("SIGNED_CHAR", "MPI_SIGNED_CHAR", "b", "b", "b"),
    ("SHORT", "MPI_SHORT", "h", "h", "h"),
    ("INT", "MPI_INT", "i", "i", "i"),
    ("LONG", "MPI_LONG", "l", "l", "l"),
    ("LONG_LONG", "MPI_LONG_LONG_INT", "q", "q", "q"),
    ("UNSIGNED_CHAR", "MPI_UNSIGNED_CHAR", "B", "B", "B"),
    ("UNSIGNED_SHORT", "MPI_UNSIGNED_SHORT", "H", "H", "H"),
    ("UNSIGNED", "MPI_UNSIGNED", "I", "I", "I"),
    ("UNSIGNED_LONG", "MPI_UNSIGNED_LONG", "L", "L", "L"),
    ("UNSIGNED_LONG_LONG", "MPI_UNSIGNED_LONG_LONG", "Q", "Q", "Q"),
    ("FLOAT", "MPI_FLOAT", "f", "f", "f"),
    ("DOUBLE", "MPI_DOUBLE", "d", "d", "d"),
    ("LONG_DOUBLE", "MPI_LONG_DOUBLE", "g", "g", "g"),
    ("C_BOOL", "MPI_C_BOOL", "?", "?", "b1"),
    ("INT8_T", "MPI_INT8_T", "i1", "b", "i1"),
    ("INT16_T", "MPI_INT16_T", "i2", "h", "i2"),
    ("INT32_T", "MPI_INT32_T", "i4", "i", "i4"),
    ("INT64_T", "MPI_INT64_T", "i8", "l", "i8"),
    ("UINT8_T", "MPI_UINT8_T", "u1", "B", "u1"),
    ("UINT16_T", "MPI_UINT16_T", "u2", "H", "u2"),
    ("UINT32_T", "MPI_UINT32_T", "u4", "I", "u4"),
    ("UINT64_T", "MPI_UINT64_T", "u8", "L", "u8"),
    ("FLOAT16_T", "MPIX_C_FLOAT16", "e", "e", "e"),
    ("C_COMPLEX", "MPI_C_COMPLEX", "F", "F", "F"),
    ("C_DOUBLE_COMPLEX", "MPI_C_DOUBLE_COMPLEX", "D", "D", "D"),
    ("C_LONG_DOUBLE_COMPLEX", "MPI_C_LONG_DOUBLE_COMPLEX", "G", "G", "G"),
    ("CXX_BOOL", "MPI_CXX_BOOL", "?", "?", "?"),
    ("CXX_FLOAT_COMPLEX", "MPI_CXX_FLOAT_COMPLEX", "F", "F", "F"),
    ("CXX_DOUBLE_COMPLEX", "MPI_CXX_DOUBLE_COMPLEX", "D", "D", "D"),
    ("CXX_LONG_DOUBLE_COMPLEX", "MPI_CXX_LONG_DOUBLE_COMPLEX", "G", "G", "G"),
    ("CHARACTER", "MPI_CHARACTER", "b", "c", "c"),
    ("LOGICAL", "MPI_LOGICAL", "i", "i", "i"),
    ("INTEGER", "MPI_INTEGER", "i", "i", "i"),
    ("REAL", "MPI_REAL", "f", "f", "f"),
    ("DOUBLE_PRECISION", "MPI_DOUBLE_PRECISION", "d", "d", "d"),
    ("COMPLEX", "MPI_COMPLEX", "F", "F", "F"),
    ("DOUBLE_COMPLEX", "MPI_DOUBLE_COMPLEX", "D", "D", "D"),
    ("LOGICAL1", "MPI_LOGICAL1", "?", "?", "b1"),
    ("LOGICAL2", "MPI_LOGICAL2", "i2", "h", "i2"),
    ("LOGICAL4", "MPI_LOGICAL4", "i4", "i", "i4"),
    ("LOGICAL8", "MPI_LOGICAL8", "i8", "l", "i8"),
    ("INTEGER1", "MPI_INTEGER1", "i1", "b", "i1"),
    ("INTEGER2", "MPI_INTEGER2", "i2", "h", "i2"),
    ("INTEGER4", "MPI_INTEGER4", "i4", "i", "i4"),
    ("INTEGER8", "MPI_INTEGER8", "i8", "l", "i8"),
    ("REAL2", "MPI_REAL2", "f2", "e", "f2"),
    ("REAL4", "MPI_REAL4", "f4", "f", "f4"),
    ("REAL8", "MPI_REAL8", "f8", "d", "f8"),
    ("REAL16", "MPI_REAL16", "g", "g", "f16"),
    ("COMPLEX8", "MPI_COMPLEX8", "c8", "F", "c8"),
    ("COMPLEX16", "MPI_COMPLEX16", "c16", "D", "c16"),
    ("COMPLEX32", "MPI_COMPLEX32", "G", "G", "c32"),
)  # fmt: skip
_ABSENT: Final = ("LOGICAL16", "INTEGER16", "COMPLEX4")
_PAIRS: Final = (
    ("SHORT_INT", "MPI_SHORT_INT", "SHORT"),
    ("TWOINT", "MPI_2INT", "INT"),
    ("LONG_INT", "MPI_LONG_INT", "LONG"),
    ("FLOAT_INT", "MPI_FLOAT_INT", "FLOAT"),
    ("DOUBLE_INT", "MPI_DOUBLE_INT", "DOUBLE"),
    ("LONG_DOUBLE_INT", "MPI_LONG_DOUBLE_INT", "LONG_DOUBLE"),
)
ALIASES: Final = {
    "INT_INT": "TWOINT",
    "C_FLOAT_COMPLEX": "C_COMPLEX",
    "FLOAT32_T": "FLOAT",
    "FLOAT64_T": "DOUBLE",
    "UNSIGNED_INT": "UNSIGNED",
    "SIGNED_SHORT": "SHORT",
    "SIGNED_INT": "INT",
    "SIGNED_LONG": "LONG",
    "SIGNED_LONG_LONG": "LONG_LONG",
    "BOOL": "C_BOOL",
    "SINT8_T": "INT8_T",
    "SINT16_T": "INT16_T",
    "SINT32_T": "INT32_T",
    "SINT64_T": "INT64_T",
    "F_BOOL": "LOGICAL",
    "F_INT": "INTEGER",
    "F_FLOAT": "REAL",
    "F_DOUBLE": "DOUBLE_PRECISION",
    "F_COMPLEX": "COMPLEX",
    "F_FLOAT_COMPLEX": "COMPLEX",
    "F_DOUBLE_COMPLEX": "DOUBLE_COMPLEX",
}
"""Other attribute names of the same types."""

_STRINGS: Final = {"c": "S1", "U": "U1"}


def _permanent(new: Type, name: str) -> Type:
    new.name = name
    new.permanent = new.ready = True
    return new


def _simple(name: str, code: str, char: str, key: str) -> Type:
    dtype = np.dtype(code)
    size = dtype.itemsize
    new = Type(size, (0, size, 0, size), None, align=dtype.alignment)
    new.dtype = dtype
    new.char = char
    new.string = _STRINGS.get(char) or f"{dtype.kind}{size}"
    new.code = key
    return _permanent(new, name)


def _bfloat16() -> Type:
    """Return the type that numpy does not know: the upper half of a float."""
    return _permanent(Type(2, (0, 2, 0, 2), None, align=2), "MPI_BFLOAT16_T")


def _pair(value: Type, index: Type, combiner: int = c.COMBINER_NAMED) -> Type:
    """Return the type of a C struct of a value and an index."""
    assert value.dtype is not None and index.dtype is not None
    dtype = np.dtype([("value", value.dtype), ("index", index.dtype)], align=True)
    gap = -value.size % index.align
    typemap = joined((Block(0, 0, value.size), Block(value.size + gap, value.size, index.size)))
    size, true_extent = value.size + index.size, value.size + gap + index.size
    new = Type(
        size,
        (0, dtype.itemsize, 0, true_extent),
        lambda: typemap,
        combiner,
        parts=() if combiner == c.COMBINER_NAMED else (value, index),
        content=((value, 1), (index, 1)),
        align=dtype.alignment,
    )
    new.dtype = dtype
    return new


_types: dict[str, Type | None] = {attribute: _simple(name, *codes) for attribute, name, *codes in _SIMPLE}


def simple(attribute: str) -> Type:
    """Return a predefined type that exists."""
    found = _types[attribute]
    assert found is not None
    return found


TYPES: Final[dict[str, Type | None]] = {
    **_types,
    **dict.fromkeys(_ABSENT),
    "BFLOAT16_T": _bfloat16(),
    **{pair: _permanent(_pair(simple(value), simple("INT")), name) for pair, name, value in _PAIRS},
}
"""Attribute of ``MPI`` -> type; None is the null datatype."""
TYPES.update({alias: TYPES[name] for alias, name in ALIASES.items()})
PAIRS: Final = frozenset(id(TYPES[pair]) for pair, _, _ in _PAIRS)
"""The ``id`` of every named pair of value and index."""


def _of(names: str) -> dict[str, Type]:
    """Return a type dictionary of a text of code=attribute pairs."""
    found: dict[str, Type] = {}
    for pair in names.split():
        code, _, attribute = pair.partition("=")
        entry = TYPES[attribute]
        assert entry is not None
        found[code] = entry
    return found


BY_CODE: Final = _of(
    "?=C_BOOL b=SIGNED_CHAR h=SHORT i=INT l=LONG q=LONG_LONG B=UNSIGNED_CHAR H=UNSIGNED_SHORT I=UNSIGNED "
    "L=UNSIGNED_LONG Q=UNSIGNED_LONG_LONG e=FLOAT16_T f=FLOAT d=DOUBLE g=LONG_DOUBLE Zf=C_COMPLEX Zd=C_DOUBLE_COMPLEX "
    "F=C_COMPLEX D=C_DOUBLE_COMPLEX Zg=C_LONG_DOUBLE_COMPLEX G=C_LONG_DOUBLE_COMPLEX i1=INT8_T i2=INT16_T i4=INT32_T "
    "i8=INT64_T f4=FLOAT f8=DOUBLE f16=LONG_DOUBLE c8=C_COMPLEX c16=C_DOUBLE_COMPLEX c32=C_LONG_DOUBLE_COMPLEX "
    "b1=C_BOOL u1=UINT8_T u2=UINT16_T u4=UINT32_T u8=UINT64_T f2=FLOAT16_T n=COUNT N=UNSIGNED_LONG p=AINT "
    "P=UNSIGNED_LONG c=CHAR a=CHAR S=CHAR S1=CHAR s=CHAR 1s=CHAR U=WCHAR U1=WCHAR u=UINT16_T 1u=UINT16_T w=WCHAR "
    "1w=WCHAR M=INT64_T M8=INT64_T m=INT64_T m8=INT64_T"
)
"""Character code of the buffer protocol, numpy or struct -> type."""
BY_CODE_C: Final = _of(
    "?=C_BOOL b=SIGNED_CHAR h=SHORT i=INT l=LONG q=LONG_LONG B=UNSIGNED_CHAR H=UNSIGNED_SHORT I=UNSIGNED "
    "L=UNSIGNED_LONG Q=UNSIGNED_LONG_LONG f=FLOAT d=DOUBLE g=LONG_DOUBLE F=C_COMPLEX D=C_DOUBLE_COMPLEX "
    "G=C_LONG_DOUBLE_COMPLEX b1=C_BOOL i1=INT8_T i2=INT16_T i4=INT32_T i8=INT64_T u1=UINT8_T u2=UINT16_T u4=UINT32_T "
    "u8=UINT64_T f2=FLOAT16_T f4=FLOAT c8=C_COMPLEX f8=DOUBLE c16=C_DOUBLE_COMPLEX f16=LONG_DOUBLE "
    "c32=C_LONG_DOUBLE_COMPLEX"
)
BY_CODE_F: Final = _of(
    "l=LOGICAL i=INTEGER r=REAL s=REAL d=DOUBLE_PRECISION c=COMPLEX z=DOUBLE_COMPLEX i1=INTEGER1 i2=INTEGER2 "
    "i4=INTEGER4 i8=INTEGER8 r4=REAL4 r8=REAL8 r16=REAL16 c8=COMPLEX8 c16=COMPLEX16 c32=COMPLEX32"
)
BYTE: Final = simple("BYTE")

BY_DTYPE: Final[dict[Any, Type]] = {np.dtype(code): BY_CODE[code] for code in "?bhqilBHQILefdgFDG"}
"""numpy dtype -> type, for native byte order."""


_pairs: dict[tuple[int, int], Type] = {
    (id(simple(value)), id(simple("INT"))): found for pair, _, value in _PAIRS if (found := TYPES[pair]) is not None
}


def value_index(value: Type, index: Type) -> Type | None:
    """Return the pair type of a value and an index type, None if there is none (MPI-4.1, 6.9.4)."""
    key = id(value), id(index)
    if key not in _pairs:
        if not (_is_number(value, "iuf") and _is_number(index, "iu")):
            return None
        _pairs[key] = _pair(value, index, c.COMBINER_VALUE_INDEX)
        _pairs[key].ready = True
    return _pairs[key]


def _is_number(datatype: Type, kinds: str) -> bool:
    return datatype.named and datatype.dtype is not None and datatype.dtype.kind in kinds and datatype.char not in "cU"


_CLASSES: Final = {
    c.TYPECLASS_INTEGER: "INTEGER",
    c.TYPECLASS_REAL: "REAL",
    c.TYPECLASS_COMPLEX: "COMPLEX",
    c.TYPECLASS_LOGICAL: "LOGICAL",
}


_COMPLEX4: Final = _permanent(Type(4, (0, 4, 0, 4), None, content=((simple("REAL2"), 2),), align=2), "MPI_COMPLEX4")
"""Of which numpy has no like: only ``match_size`` returns it, and no operation takes it."""


def match_size(typeclass: int, size: int) -> Type:
    """Return the Fortran type of a class and a size in bytes."""
    found = TYPES.get(f"{_CLASSES.get(typeclass)}{size}")
    if typeclass == c.TYPECLASS_COMPLEX and size == _COMPLEX4.size:
        return _COMPLEX4
    if found is None:
        raise MPIError(c.ERR_ARG, f"no datatype of class {typeclass} has {size} bytes")
    return found


_f90: dict[tuple[int, ...], Type] = {}


def f90(kind: str, *arguments: int) -> Type:
    """Return the type of a Fortran kind (MPI-4.1, 19.1.9).

    Args:
        kind: "integer" with a range, "real" or "complex" with precision and range (UNDEFINED: any).
    """
    combiner: int = getattr(c, f"COMBINER_F90_{kind.upper()}")
    key = (combiner, *arguments)
    if key not in _f90:
        old = _f90_integer(*arguments) if kind == "integer" else _f90_real(kind, *arguments)
        new = Type(old.size, (0, old.size, 0, old.size), None, combiner, integers=arguments, align=old.align)
        new.dtype, new.char, new.string, new.code = old.dtype, old.char, old.string, old.code
        _f90[key] = _permanent(new, "")
    return _f90[key]


def _f90_integer(digits: int) -> Type:
    for nbytes in (1, 2, 4, 8):
        if digits <= int(math.log10(1 << (8 * nbytes - 1))):
            return BY_CODE_F[f"i{nbytes}"]
    raise MPIError(c.ERR_OTHER, f"no integer has {digits} digits")


def _f90_real(kind: str, precision: int, exponent: int) -> Type:
    letter, scale = ("r", 1) if kind == "real" else ("c", 2)
    for nbytes, digits, reach in ((4, 6, 37), (8, 15, 307), (16, 33, 4931)):
        if precision <= digits and exponent <= reach:
            return BY_CODE_F[f"{letter}{nbytes * scale}"]
    raise MPIError(c.ERR_OTHER, f"no real has {precision} digits and an exponent range of {exponent}")
