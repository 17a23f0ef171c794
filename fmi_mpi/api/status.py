"""``MPI.Status``: what is known of a completed operation.

Rules of this file:
- Sizes are kept in bytes; counts of a datatype are computed when asked for.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, ERR_TYPE, F_STATUS_SIZE, SUCCESS, UNDEFINED
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.api.datatype import Datatype

__all__ = ["Status"]


class Status:
    """Status object."""

    __slots__ = ("__weakref__", "_cancelled", "_error", "_nbytes", "_source", "_tag")
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, status: Status | None = None) -> Self:
        self = object.__new__(cls)
        if status is None:
            self._source = ANY_SOURCE
            self._tag = ANY_TAG
            self._error = SUCCESS
            self._nbytes = 0
            self._cancelled = False
        elif isinstance(status, Status):
            self._set(status._source, status._tag, status._error, status._nbytes, status._cancelled)
        else:
            raise TypeError(f"expecting Status, got {type(status).__name__}")
        return self

    def _set(self, source: int, tag: int, error: int, nbytes: int, cancelled: bool = False) -> None:
        """Fill in everything at once; ``nbytes`` is the packed size of the data received."""
        self._source = source
        self._tag = tag
        self._error = error
        self._nbytes = nbytes
        self._cancelled = cancelled

    def _state(self) -> tuple[int, int, int, int, bool]:
        return self._source, self._tag, self._error, self._nbytes, self._cancelled

    def __eq__(self, other: object) -> bool:
        return self._state() == other._state() if isinstance(other, Status) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return self._state() != other._state() if isinstance(other, Status) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), self.__getstate__()

    def __getstate__(self) -> dict[str, int]:
        return {
            "source": self._source,
            "tag": self._tag,
            "error": self._error,
            "nbytes": self._nbytes,
            "cancelled": int(self._cancelled),
        }

    def __setstate__(self, state: dict[str, int]) -> None:
        self._set(state["source"], state["tag"], state["error"], state["nbytes"], bool(state["cancelled"]))

    def Get_source(self) -> int:
        """Return the rank of the sender."""
        return self._source

    def Set_source(self, source: int) -> None:
        """Set the rank of the sender."""
        self._source = _integer(source)

    def Get_tag(self) -> int:
        """Return the message's tag."""
        return self._tag

    def Set_tag(self, tag: int) -> None:
        """Set the message's tag."""
        self._tag = _integer(tag)

    def Get_error(self) -> int:
        """Return the operation's error code."""
        return self._error

    def Set_error(self, error: int) -> None:
        """Set the operation's error code."""
        self._error = _integer(error)

    @boundary
    def Get_count(self, datatype: Datatype | None = None) -> int:
        """Return the number of whole elements received, UNDEFINED if the data is not a multiple of them.

        Args:
            datatype: BYTE by default.
        """
        size = 1 if datatype is None else _size(datatype)
        if size == 0:
            return 0
        return self._nbytes // size if self._nbytes % size == 0 else UNDEFINED

    @boundary
    def Get_elements(self, datatype: Datatype) -> int:
        """Return the number of predefined elements received."""
        _size(datatype)
        elements: int = datatype._handle.elements(self._nbytes)
        return elements

    @boundary
    def Set_elements(self, datatype: Datatype, count: int) -> None:
        """Set the number of predefined elements received."""
        _size(datatype)
        self._nbytes = datatype._handle.element_bytes(count)

    def Is_cancelled(self) -> bool:
        """Tell whether the operation was cancelled."""
        return self._cancelled

    def Set_cancelled(self, flag: bool) -> None:
        """Set whether the operation was cancelled."""
        self._cancelled = bool(flag)

    @property
    def source(self) -> int:
        """Rank of the sender."""
        return self._source

    @source.setter
    def source(self, value: int) -> None:
        self._source = _integer(value)

    @property
    def tag(self) -> int:
        """Message tag."""
        return self._tag

    @tag.setter
    def tag(self, value: int) -> None:
        self._tag = _integer(value)

    @property
    def error(self) -> int:
        """Error code."""
        return self._error

    @error.setter
    def error(self, value: int) -> None:
        self._error = _integer(value)

    @property
    def count(self) -> int:
        """Bytes received."""
        return self._nbytes

    @count.setter
    def count(self, value: int) -> None:
        self._nbytes = _integer(value)

    @property
    def cancelled(self) -> bool:
        """Operation was cancelled."""
        return self._cancelled

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        self._cancelled = bool(value)

    def tomemory(self) -> memoryview:
        """Return the status as memory of F_STATUS_SIZE integers."""
        return memoryview(bytearray(struct.pack(f"@{F_STATUS_SIZE}i", *self.py2f()))).cast("i")

    def py2f(self) -> list[int]:
        """Return the status as F_STATUS_SIZE Fortran integers."""
        low = self._nbytes & 0x7FFFFFFF
        high = self._nbytes >> 31 << 1 | int(self._cancelled)
        return [low, high, self._source, self._tag, self._error]

    @classmethod
    def f2py(cls, arg: list[int]) -> Self:
        """Return the status of F_STATUS_SIZE Fortran integers."""
        low, high, source, tag, error = arg
        status = cls.__new__(cls)
        status._set(source, tag, error, low | high >> 1 << 31, bool(high & 1))
        return status


def _integer(value: int) -> int:
    return value.__index__()


def _size(datatype: Datatype) -> int:
    """Return the size of a datatype; raises MPIError for the null datatype."""
    if datatype._handle is None:
        raise MPIError(ERR_TYPE, "the datatype is null")
    size: int = datatype._handle.size
    return size
