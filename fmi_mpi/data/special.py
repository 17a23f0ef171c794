"""The constants that stand where a buffer could stand: ``BOTTOM``, ``IN_PLACE``, ``BUFFER_AUTOMATIC``.

Rules of this file:
- Each class has one value; every instance equals it, and the integer it stands for.
- Constants export an empty buffer of no object, so that code which asks every argument for a buffer gets one.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final, Self, final

__all__ = [
    "BOTTOM",
    "BUFFER_AUTOMATIC",
    "IN_PLACE",
    "BottomType",
    "BufferAutomaticType",
    "Constant",
    "InPlaceType",
    "exporting",
]


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

    def _exported(self) -> tuple[int | None, int, bool]:
        return None, 0, False


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


class _PyBuffer(ctypes.Structure):
    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_GetBuffer = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)
_fill = ctypes.pythonapi.PyBuffer_FillInfo
_fill.restype = ctypes.c_int
_fill.argtypes = [
    ctypes.POINTER(_PyBuffer),
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_ssize_t,
    ctypes.c_int,
    ctypes.c_int,
]
_AS_BUFFER: Final = (3 + 17) * ctypes.sizeof(ctypes.c_void_p)
"""Offset of ``tp_as_buffer``: behind the head of three words come 17 other slots, in every CPython since 3.8."""
_keep: list[Any] = []


def exporting(cls: type, owned: bool) -> None:
    """Let instances of a class export memory through the buffer protocol.

    ``cls._exported(self)`` returns (address, nbytes, readonly). Python classes can export only from 3.12 on, and never
    memory of no object; so the type's ``tp_as_buffer`` is filled in.

    Args:
        owned: memory views refer to the instance; else to nothing.
    """

    def get(instance: Any, view: Any, flags: int) -> int:
        address, nbytes, readonly = instance._exported()
        return int(_fill(view, id(instance) if owned else None, address, nbytes, readonly, flags))

    getter = _GetBuffer(get)
    procs = (ctypes.c_void_p * 2)(ctypes.cast(getter, ctypes.c_void_p), None)
    _keep.extend((getter, procs))
    ctypes.c_void_p.from_address(id(cls) + _AS_BUFFER).value = ctypes.addressof(procs)


for _type in (BottomType, InPlaceType, BufferAutomaticType):
    exporting(_type, owned=False)
