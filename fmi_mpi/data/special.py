"""The constants that stand where a buffer could stand: ``BOTTOM``, ``IN_PLACE``, ``BUFFER_AUTOMATIC``.

Rules of this file:
- Each class has one value; every instance equals it, and the integer it stands for.
- Constants export an empty buffer of no object, so that code which asks every argument for a buffer gets one.
"""

from __future__ import annotations

import ctypes
import pickle
import sys
from collections.abc import Callable
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
    "exporting_by",
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
_fill = ctypes.pythonapi["PyBuffer_FillInfo"]
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


class _BufferProcs(ctypes.Structure):
    _fields_ = (("get", ctypes.c_void_p), ("release", ctypes.c_void_p))


def _procs(cls: type) -> ctypes.c_void_p:
    return ctypes.c_void_p.from_address(id(cls) + _AS_BUFFER)


def _export_nothing(instance: Any, view: Any, flags: int) -> int:
    """Fill in an empty, writable buffer of no object: a request that cannot fail, as a callback must not."""
    return int(_fill(view, None, None, 0, 0, flags))


_getter: Final = _GetBuffer(_export_nothing)
_NOTHING: Final = _BufferProcs(ctypes.cast(_getter, ctypes.c_void_p), None)

for _type in (BottomType, InPlaceType, BufferAutomaticType):
    _procs(_type).value = ctypes.addressof(_NOTHING)


def exporting(cls: type) -> None:
    """Let instances of a class export the memory of their slot ``_export``, a memoryview.

    Python classes can define ``__buffer__`` from 3.12 on. Before, the type's ``tp_as_buffer`` gets the function of
    ``pickle.PickleBuffer``, which hands every request on to the object in the second word behind its head.

    Args:
        cls: its slots' names, in alphabetical order, have ``_export`` in second place.
    """
    if sys.version_info < (3, 12):
        source = _BufferProcs.from_address(_procs(pickle.PickleBuffer).value or 0)
        target = _BufferProcs.from_address(_procs(cls).value or 0)
        target.get = source.get


_forward = ctypes.pythonapi["PyObject_GetBuffer"]
_forward.restype = ctypes.c_int
_forward.argtypes = [ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int]
_getters: list[Any] = []
"""Functions that types refer to."""


def exporting_by(cls: type, memory_of: Callable[[Any], memoryview]) -> None:
    """Let instances of a class export the memory that a function returns of them; see `exporting`.

    Args:
        memory_of: must not raise, and must return writable memory, as a callback must not fail.
    """
    if sys.version_info < (3, 12):
        getter = _GetBuffer(lambda instance, view, flags: int(_forward(memory_of(instance), view, flags)))
        _getters.append(getter)
        _BufferProcs.from_address(_procs(cls).value or 0).get = ctypes.cast(getter, ctypes.c_void_p).value
