"""The constants that stand where a buffer could stand: ``BOTTOM``, ``IN_PLACE``, ``BUFFER_AUTOMATIC``.

Rules of this file:
- Each class has one value; every instance equals it, and the integer it stands for.
- Constants export an empty buffer of no object, so that code which asks every argument for a buffer gets one.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final, Self, final

__all__ = ["BOTTOM", "BUFFER_AUTOMATIC", "IN_PLACE", "BottomType", "BufferAutomaticType", "Constant", "InPlaceType"]


class Constant:
    """Base of the three classes."""

    __slots__ = ("__weakref__",)
    _name = ""
    _value = 0

    def __new__(cls) -> Self:
        return object.__new__(cls)

    def __hash__(self) -> int:
        return hash(self._value)

    def __eq__(self, other: object, /) -> bool:
        if isinstance(other, Constant):
            return type(self) is type(other)
        if isinstance(other, int):
            return self._value == other
        return NotImplemented

    def __ne__(self, other: object, /) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __bool__(self) -> bool:
        return bool(self._value)

    def __int__(self) -> int:
        return self._value

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int, /) -> memoryview:
            return memoryview(bytearray())


@final
class BottomType(Constant):
    """Type of `BOTTOM`."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"
    _name = "BOTTOM"

    def __index__(self) -> int:
        return self._value


@final
class InPlaceType(Constant):
    """Type of `IN_PLACE`."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"
    _name = "IN_PLACE"
    _value = -1


@final
class BufferAutomaticType(Constant):
    """Type of `BUFFER_AUTOMATIC`."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"
    _name = "BUFFER_AUTOMATIC"
    _value = -2


BOTTOM: Final = BottomType()
IN_PLACE: Final = InPlaceType()
BUFFER_AUTOMATIC: Final = BufferAutomaticType()
