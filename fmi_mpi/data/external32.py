"""The external32 data representation: big-endian, with the sizes that the standard fixes (MPI-4.1, 14.5.2).

Rules of this file:
- Packed data and its external form are seen as numpy arrays of like structure; each primitive is converted at once for
  all elements.
- Long doubles become IEEE quadruple precision: the same exponent, the fraction extended by zeros.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fmi_mpi.constants import ERR_UNSUPPORTED_DATAREP
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import simple
from fmi_mpi.errors import MPIError

__all__ = ["check", "external_size", "from_external", "to_external"]

Array = np.ndarray[Any, Any]

_NARROW: Final = {simple("LONG"): ">i4", simple("UNSIGNED_LONG"): ">u4", simple("WCHAR"): ">u2"}
"""Types that are smaller in external32 than in memory."""
_QUAD: Final = (">u8", (2,))
_FRACTION: Final = np.uint64((1 << 63) - 1)
_LEADING_BIT: Final = np.uint64(1 << 63)


def check(datarep: str) -> None:
    """Raise MPIError unless the representation is external32."""
    if datarep != "external32":
        raise MPIError(ERR_UNSUPPORTED_DATAREP, f"unknown data representation {datarep!r}; known is 'external32'")


def external_size(datatype: Type, count: int) -> int:
    """Return the bytes of ``count`` elements in external32."""
    return count * _dtypes(datatype)[1].itemsize


def to_external(datatype: Type, packed: memoryview) -> bytes:
    """Return packed data in external32."""
    inside, outside = _dtypes(datatype)
    given = np.frombuffer(packed, inside)
    made = np.zeros(len(given), outside)
    _convert(datatype, given, made, True)
    return made.tobytes()


def from_external(datatype: Type, data: memoryview, count: int) -> bytes:
    """Return ``count`` elements of external32 data as packed data."""
    inside, outside = _dtypes(datatype)
    made = np.zeros(count, inside)
    _convert(datatype, np.frombuffer(data, outside, count), made, False)
    return made.tobytes()


def _content(datatype: Type) -> list[tuple[Type, int]]:
    return [(part, count) for part, count in datatype.content if part.size and count]


def _dtypes(datatype: Type) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return the dtypes of an element in packed data and in external32."""
    if datatype.content:
        pairs = [_dtypes(part) for part, _ in _content(datatype)]
        shapes = [(count,) for _, count in _content(datatype)]
        inside = [(f"f{i}", pair[0], shape) for i, (pair, shape) in enumerate(zip(pairs, shapes))]
        outside = [(f"f{i}", pair[1], shape) for i, (pair, shape) in enumerate(zip(pairs, shapes))]
        return np.dtype(inside), np.dtype(outside)
    dtype = datatype.dtype
    if dtype is None:  # bfloat16
        return np.dtype("<u2"), np.dtype(">u2")
    if dtype.char == "g":
        return np.dtype((np.longdouble, (1,))), np.dtype((_QUAD, (1,)))
    if dtype.char == "G":
        return np.dtype((np.longdouble, (2,))), np.dtype((_QUAD, (2,)))
    return dtype, np.dtype(_NARROW.get(datatype) or dtype.newbyteorder(">"))


def _convert(datatype: Type, given: Array, made: Array, outwards: bool) -> None:
    if datatype.content:
        for i, (part, _) in enumerate(_content(datatype)):
            _convert(part, given[f"f{i}"], made[f"f{i}"], outwards)
    elif datatype.dtype is None or datatype.dtype.char not in "gG":
        made[...] = given
    elif outwards:
        words = np.ascontiguousarray(given).view(np.uint64).reshape(*given.shape, 2)
        fraction = words[..., 0] & _FRACTION
        made[..., 0] = words[..., 1] << np.uint64(48) | fraction >> np.uint64(15)
        made[..., 1] = fraction << np.uint64(49)
    else:
        high, low = given[..., 0].astype(np.uint64), given[..., 1].astype(np.uint64)
        words = np.zeros((*made.shape, 2), np.uint64)
        words[..., 1] = high >> np.uint64(48)
        leading = np.where(words[..., 1] & np.uint64(0x7FFF), _LEADING_BIT, np.uint64(0))
        words[..., 0] = leading | (high << np.uint64(15) & _FRACTION) | low >> np.uint64(49)
        made[...] = words.view(np.longdouble)[..., 0]
