"""``MPI.buffer``: memory as an object; and the functions about memory (MPI-4.1, 4.1.2 and 9.2).

Rules of this file:
- A buffer wraps a 'B' memoryview, which keeps the memory's owner alive; it exports the same memory.
"""

from __future__ import annotations

import operator
from typing import Any, Self, final

from fmi_mpi.api.exception import boundary
from fmi_mpi.constants import ERR_BASE
from fmi_mpi.data.buffers import EMPTY, acquire, address_of, memory_at
from fmi_mpi.data.special import (
    BOTTOM,
    BUFFER_AUTOMATIC,
    IN_PLACE,
    BottomType,
    BufferAutomaticType,
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


@final
class buffer:
    """Buffer."""

    __slots__ = ("__weakref__", "_null", "_obj", "_view")
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, buf: Any = EMPTY, /) -> Self:
        if buf is EMPTY:
            return cls._of(EMPTY, None, null=True)
        view, _ = acquire(buf, False)
        return cls._of(view, buf)

    @classmethod
    def _of(cls, view: memoryview, obj: Any, null: bool = False) -> Self:
        self = object.__new__(cls)
        self._view = view
        self._obj = obj
        self._null = null
        return self

    def _exported(self) -> tuple[int | None, int, bool]:
        return (None if self._null else address_of(self._view)), len(self._view), self._view.readonly

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
        view, _ = acquire(obj, not readonly)
        return buffer._of(view.toreadonly() if readonly else view, obj)

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
        return self._exported()[0] or 0

    @property
    def obj(self) -> Any:
        """Object that has the memory."""
        return self._obj

    @property
    def nbytes(self) -> int:
        """Buffer size in bytes."""
        return len(self._view)

    @property
    def readonly(self) -> bool:
        """Buffer is read-only."""
        return self._view.readonly

    @property
    def format(self) -> str:
        """Format of each element."""
        return "B"

    @property
    def itemsize(self) -> int:
        """Size of each element in bytes."""
        return 1

    def cast(self, format: str, shape: Any = ...) -> memoryview:
        """Return a memoryview with another format or shape."""
        view = memoryview(self)  # type: ignore[arg-type]
        return view.cast(format) if shape is ... else view.cast(format, shape)  # type: ignore[call-overload, no-any-return]

    def tobytes(self, order: str | None = None) -> bytes:
        """Return the data as bytes."""
        return bytes(self._view)

    def toreadonly(self) -> buffer:
        """Return a read-only buffer of the same memory."""
        return buffer._of(self._view.toreadonly(), self._obj, self._null)

    def release(self) -> None:
        """Let go of the memory."""
        self._view, self._obj, self._null = EMPTY, None, True

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, item: int | slice, /) -> Any:
        if isinstance(item, slice):
            _check_step(item)
            return buffer._of(self._view[item], self)
        return self._view[_position(item, len(self._view))]

    def __setitem__(self, item: int | slice, value: Any, /) -> None:
        if self._view.readonly:
            raise TypeError("the buffer is read-only")
        if not isinstance(item, slice):
            self._view[_position(item, len(self._view))] = value
            return
        _check_step(item)
        target = self._view[item]
        if hasattr(value, "__index__"):
            target[:] = bytes([operator.index(value)]) * len(target)
            return
        given = acquire(value, False)[0]
        if len(given) != len(target):
            raise ValueError("the lengths of slice and buffer differ")
        target[:] = given


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


def _check_step(item: slice) -> None:
    if item.step not in (None, 1):
        raise IndexError("slices with a step are not supported")


exporting(buffer, owned=True)
memory = buffer


@boundary
def Alloc_mem(size: int, info: Any = None) -> buffer:
    """Return memory for communication; ``size`` in bytes."""
    if size < 0:
        raise MPIError(ERR_BASE, "expecting a size that is not negative")
    return buffer.allocate(size)


def Free_mem(mem: buffer) -> None:
    """Free memory that ``Alloc_mem`` gave."""
    mem.release()


def Get_address(location: Any) -> int:
    """Return the address of a buffer."""
    if location is None or isinstance(location, BottomType):
        return 0
    return location.address if isinstance(location, buffer) else address_of(acquire(location, False)[0])


def Aint_add(base: int, disp: int) -> int:
    """Return the address ``disp`` bytes behind another."""
    return _signed(base + disp)


def Aint_diff(addr1: int, addr2: int) -> int:
    """Return the difference of two addresses."""
    return _signed(addr1 - addr2)


def _signed(value: int) -> int:
    value %= _WORD
    return value - _WORD if value >= _WORD >> 1 else value
