"""The external32 data representation: big-endian, with the sizes that the standard fixes (MPI-4.1, 14.5.2).

Rules of this file:
- A type's data is first packed, then converted primitive by primitive; runs of one primitive are converted at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fmi_mpi.constants import ERR_ARG, ERR_UNSUPPORTED_OPERATION
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import TYPES
from fmi_mpi.errors import MPIError

__all__ = ["check", "external_size", "from_external", "to_external"]

_NARROW: dict[int, str] = {id(TYPES["LONG"]): ">i4", id(TYPES["UNSIGNED_LONG"]): ">u4", id(TYPES["WCHAR"]): ">u2"}
"""Types that are smaller in external32 than in memory."""


def check(datarep: str) -> None:
    """Raise MPIError unless the representation is external32."""
    if datarep != "external32":
        raise MPIError(ERR_ARG, f"unknown data representation {datarep!r}; known is 'external32'")


def _outside(primitive: Type) -> np.dtype[Any]:
    """Return the dtype of a primitive in external32."""
    dtype = primitive.dtype
    if dtype is None or dtype.char in "gG" or dtype.fields is not None:
        raise MPIError(ERR_UNSUPPORTED_OPERATION, f"{primitive.name} has no external32 form here")
    narrow = _NARROW.get(id(primitive))
    return dtype.newbyteorder(">") if narrow is None else np.dtype(narrow)


def _pieces(datatype: Type) -> Iterator[tuple[Type, int]]:
    yield from datatype.primitives or ((datatype, 1),)


def external_size(datatype: Type, count: int) -> int:
    """Return the bytes of ``count`` elements in external32."""
    wide = {id(TYPES["LONG_DOUBLE"]): 16, id(TYPES["REAL16"]): 16, id(TYPES["C_LONG_DOUBLE_COMPLEX"]): 32}
    each = 0
    for primitive, number in _pieces(datatype):
        each += number * (wide.get(id(primitive)) or _outside(primitive).itemsize)
    return count * each


def to_external(datatype: Type, packed: memoryview) -> bytes:
    """Return packed data in external32."""
    return b"".join(
        np.frombuffer(packed[start:stop], primitive.dtype).astype(_outside(primitive)).tobytes()
        for primitive, start, stop, _ in _walk(datatype, len(packed) // max(datatype.size, 1))
    )


def from_external(datatype: Type, data: memoryview, count: int) -> bytes:
    """Return ``count`` elements of external32 data as packed data."""
    parts = []
    at = 0
    for primitive, _, _, number in _walk(datatype, count):
        outside = _outside(primitive)
        nbytes = number * outside.itemsize
        parts.append(np.frombuffer(data[at : at + nbytes], outside).astype(primitive.dtype).tobytes())
        at += nbytes
    return b"".join(parts)


def _walk(datatype: Type, count: int) -> Iterator[tuple[Type, int, int, int]]:
    """Yield (primitive, first and last byte in the packed data, number) of runs of one primitive."""
    basic = datatype.basic
    if basic is not None:
        yield basic, 0, count * datatype.size, count * datatype.size // max(basic.size, 1)
        return
    at = 0
    for _ in range(count):
        for primitive, number in _pieces(datatype):
            yield primitive, at, at + number * primitive.size, number
            at += number * primitive.size
