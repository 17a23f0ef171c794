"""``MPI.buffer``: memory as an object; and the functions about memory (MPI-4.1, 4.1.2 and 9.2).

Rules of this file:
- A buffer wraps a 'B' memoryview, ``_export``, which keeps the memory's owner alive; it exports the same memory.
"""

from __future__ import annotations

import operator
import sys
from typing import Any, Self, final

import numpy as np

from fmi_mpi.api.exception import boundary
from fmi_mpi.constants import ERR_BASE, ERR_NO_MEM
from fmi_mpi.data.buffers import EMPTY, acquire, address_of, is_on_device, item_size, memory_at
from fmi_mpi.data.pickling import Pickle
from fmi_mpi.data.special import (
    BOTTOM,
    BUFFER_AUTOMATIC,
    IN_PLACE,
    BottomType,
    BufferAutomaticType,
    Constant,
    InPlaceType,
    exporting,
)
from fmi_mpi.errors import MPIError

__all__ = [
    "BOTTOM",
    "BUFFER_AUTOMATIC",
    "IN_PLACE",
    "Aint_add",
    "Aint_diff",
    "Alloc_mem",
    "BottomType",
    "BufferAutomaticType",
    "Free_mem",
    "Get_address",
    "InPlaceType",
    "buffer",
    "memory",
]

_WORD = 1 << 64
_WRITABLE = 1  # PyBUF_WRITABLE


@final
class buffer:
    """Buffer."""

    __slots__ = ("__weakref__", "_device", "_export", "_itemsize", "_null", "_obj")
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, buf: Any = EMPTY, /) -> Self:
        if buf is EMPTY:
            return cls._of(EMPTY, None, null=True)
        view, code = acquire(buf, False)
        return cls._of(view, buf, device=is_on_device(buf), itemsize=item_size(code))

    @classmethod
    def _of(cls, view: memoryview, obj: Any, null: bool = False, device: bool = False, itemsize: int = 1) -> Self:
        self = object.__new__(cls)
        self._export = view
        self._obj = obj
        self._null = null
        self._device = device
        self._itemsize = itemsize
        return self

    def _host_view(self) -> memoryview:
        if self._device:
            raise BufferError("the memory is a device's")
        return self._export

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int, /) -> memoryview:
            if flags & _WRITABLE and self._export.readonly:
                raise BufferError("the buffer is read-only")
            return self._export[:]

    @staticmethod
    def allocate(nbytes: int, clear: bool = False) -> buffer:
        """Return new memory of ``nbytes`` bytes, zeroed if ``clear``."""
        size = operator.index(nbytes)
        if size < 0:
            raise ValueError("expecting a size that is not negative")
        memory = bytearray(size)
        return buffer._of(memoryview(memory), memory)

    @staticmethod
    def frombuffer(obj: Any, readonly: bool = False) -> buffer:
        """Return the memory of an object."""
        view, code = acquire(obj, not readonly)
        view = view.toreadonly() if readonly else view
        return buffer._of(view, obj, device=is_on_device(obj), itemsize=item_size(code))

    @staticmethod
    def fromaddress(address: int, nbytes: int, readonly: bool = False) -> buffer:
        """Return the memory at an address."""
        size, at = operator.index(nbytes), operator.index(address)
        if size < 0:
            raise ValueError("expecting a length that is not negative")
        if size and not at:
            raise ValueError("expecting an address that is not null")
        return buffer._of(memory_at(at, size, readonly), None, null=not at)

    @property
    def address(self) -> int:
        """Buffer address."""
        return 0 if self._null else address_of(self._export)

    @property
    def obj(self) -> Any:
        """Object that has the memory."""
        return self._obj

    @property
    def nbytes(self) -> int:
        """Buffer size in bytes."""
        return len(self._export)

    @property
    def readonly(self) -> bool:
        """Buffer is read-only."""
        return self._export.readonly

    @property
    def format(self) -> str:
        """Format of each element."""
        return "B"

    @property
    def itemsize(self) -> int:
        """Size of each element in bytes."""
        return self._itemsize

    def cast(self, format: str, shape: Any = ...) -> memoryview:
        """Return a memoryview with another format or shape."""
        self._host_view()
        view = memoryview(self)  # type: ignore[arg-type]
        return view.cast(format) if shape is ... else view.cast(format, shape)  # type: ignore[call-overload, no-any-return]

    def tobytes(self, order: str | None = None) -> bytes:
        """Return the data as bytes."""
        return bytes(self._host_view())

    def toreadonly(self) -> buffer:
        """Return a read-only buffer of the same memory."""
        return buffer._of(self._export.toreadonly(), self._obj, self._null, self._device, self._itemsize)

    def release(self) -> None:
        """Let go of the memory."""
        self._export, self._obj, self._null, self._device, self._itemsize = EMPTY, None, True, False, 1

    def __reduce__(self) -> str:
        raise TypeError("a buffer cannot be pickled")

    def __len__(self) -> int:
        return len(self._export)

    def __getitem__(self, item: int | slice, /) -> Any:
        if isinstance(item, slice):
            _check_step(item)
            return buffer._of(self._export[item], self, device=self._device)
        view = self._host_view()
        return view[_position(item, len(view))]

    def __setitem__(self, item: int | slice, value: Any, /) -> None:
        view = self._host_view()
        if view.readonly:
            raise TypeError("the buffer is read-only")
        if not isinstance(item, slice):
            view[_position(item, len(view))] = _byte(value)
            return
        _check_step(item)
        target = view[item]
        if isinstance(value, (int, np.integer)):
            target[:] = bytes([_byte(value)]) * len(target)
            return
        given = acquire(value, False)[0]
        if len(given) != len(target):
            raise ValueError("the lengths of slice and buffer differ")
        target[:] = given

    def __delitem__(self, item: int | slice, /) -> None:
        raise NotImplementedError("the size of a buffer cannot change")


def _position(item: Any, length: int) -> int:
    try:
        position = operator.index(item)
    except TypeError:
        raise TypeError("expecting an integer or a slice as index") from None
    if position < 0:
        position += length
    if not 0 <= position < length:
        raise IndexError("index out of range")
    return position


def _byte(value: Any) -> int:
    number = operator.index(value)
    if not 0 <= number < 256:
        raise OverflowError(f"{number} is not the value of a byte")
    return number


def _check_step(item: slice) -> None:
    if item.step not in (None, 1):
        raise IndexError("slices with a step are not supported")


exporting(buffer)
memory = buffer


@boundary
def Alloc_mem(size: int, info: Any = None) -> buffer:
    """Return memory for communication; ``size`` in bytes."""
    if size < 0:
        raise MPIError(ERR_BASE, "expecting a size that is not negative")
    try:
        return buffer._of(memoryview(bytearray(size)), None)
    except (MemoryError, OverflowError):
        raise MPIError(ERR_NO_MEM, f"no memory for {size} bytes") from None


def Free_mem(mem: buffer) -> None:
    """Free memory that ``Alloc_mem`` gave."""
    if not isinstance(mem, buffer):
        raise TypeError(f"expecting buffer, got {type(mem).__name__}")
    mem.release()


def Get_address(location: Any) -> int:
    """Return the address of a buffer."""
    if location is None:
        return 0
    if isinstance(location, Constant):
        return int(location)
    return location.address if isinstance(location, buffer) else address_of(acquire(location, False)[0])


def Aint_add(base: int, disp: int) -> int:
    """Return the address ``disp`` bytes behind another."""
    return _signed(_address(base) + _address(disp))


def Aint_diff(addr1: int, addr2: int) -> int:
    """Return the difference of two addresses."""
    return _signed(_address(addr1) - _address(addr2))


def _address(value: int) -> int:
    number = operator.index(value)
    if not -_WORD >> 1 <= number < _WORD >> 1:
        raise OverflowError(f"{number} is not an address")
    return number


def _signed(value: int) -> int:
    value %= _WORD
    return value - _WORD if value >= _WORD >> 1 else value


Pickle._exported = buffer
