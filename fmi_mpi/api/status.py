"""``MPI.Status``: what is known of a completed operation.

Rules of this file:
- Sizes are kept in bytes; counts of a datatype are computed when asked for.
- Making and filling a status are on the hot path: plain slots. Only once somebody has asked for the memory of a
  status is it written there, and read from there before it is used.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, ERR_COUNT, ERR_TYPE, F_STATUS_SIZE, SUCCESS, UNDEFINED
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.api.datatype import Datatype

__all__ = ["Status"]

_new = object.__new__


class Status:
    """Status object."""

    __slots__ = ("__weakref__", "_cancelled", "_error", "_memory", "_nbytes", "_source", "_tag")
    __module__ = "fmi_mpi.MPI"
    _source: int
    _tag: int
    _error: int
    _nbytes: int
    _cancelled: bool
    _memory: memoryview | None

    def __new__(cls, status: Status | None = None) -> Self:
        self = _new(cls)
        self._memory = None
        if status is None:
            self._source = ANY_SOURCE
            self._tag = ANY_TAG
            self._error = SUCCESS
            self._nbytes = 0
            self._cancelled = False
        elif isinstance(status, Status):
            self._set(*status._get())
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
        if self._memory is not None:
            self._memory[:] = memoryview(_pack(source, tag, error, nbytes, cancelled))

    def _get(self) -> tuple[int, int, int, int, bool]:
        """Return source, tag, error, bytes and cancelled."""
        if self._memory is not None:
            return _unpack(self._memory)
        return self._source, self._tag, self._error, self._nbytes, self._cancelled

    def __eq__(self, other: object) -> bool:
        return self._get() == other._get() if isinstance(other, Status) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return self._get() != other._get() if isinstance(other, Status) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...], dict[str, int]]:
        return type(self), (), self.__getstate__()

    def __getstate__(self) -> dict[str, int]:
        return dict(zip(("source", "tag", "error", "count", "cancelled"), self._get()))

    def __setstate__(self, state: dict[str, int]) -> None:
        self._set(state["source"], state["tag"], state["error"], state["count"], bool(state["cancelled"]))

    # -- fields --------------------------------------------------------------------------------------------------

    def Get_source(self) -> int:
        """Return the rank of the sender."""
        return self._source if self._memory is None else self._get()[0]

    def Set_source(self, source: int) -> None:
        """Set the rank of the sender."""
        self._set(index(source), *self._get()[1:])

    def Get_tag(self) -> int:
        """Return the message's tag."""
        return self._tag if self._memory is None else self._get()[1]

    def Set_tag(self, tag: int) -> None:
        """Set the message's tag."""
        fields = self._get()
        self._set(fields[0], index(tag), *fields[2:])

    def Get_error(self) -> int:
        """Return the operation's error code."""
        return self._error if self._memory is None else self._get()[2]

    def Set_error(self, error: int) -> None:
        """Set the operation's error code."""
        fields = self._get()
        self._set(fields[0], fields[1], index(error), *fields[3:])

    @boundary
    def Get_count(self, datatype: Datatype | None = None) -> int:
        """Return the number of whole elements received, UNDEFINED if the data is not a multiple of them.

        Args:
            datatype: BYTE by default. Raises Exception (ERR_TYPE) for the null datatype.
        """
        nbytes = self._nbytes if self._memory is None else self._get()[3]
        size = 1 if datatype is None else _type_of(datatype).size
        if size == 0:
            return UNDEFINED if nbytes else 0
        return nbytes // size if nbytes % size == 0 else UNDEFINED

    @boundary
    def Get_elements(self, datatype: Datatype) -> int:
        """Return the number of predefined elements received, UNDEFINED if one of them is incomplete."""
        return _type_of(datatype).elements(self._get()[3])

    @boundary
    def Set_elements(self, datatype: Datatype, count: int) -> None:
        """Set the number of predefined elements received."""
        kind = _type_of(datatype)
        if index(count) < 0:
            raise MPIError(ERR_COUNT, f"the count {count} is negative")
        fields = self._get()
        self._set(*fields[:3], kind.element_bytes(index(count)), fields[4])

    def Is_cancelled(self) -> bool:
        """Tell whether the operation was cancelled."""
        return self._get()[4]

    def Set_cancelled(self, flag: bool) -> None:
        """Set whether the operation was cancelled."""
        self._set(*self._get()[:4], bool(flag))

    @property
    def source(self) -> int:
        """Rank of the sender."""
        return self.Get_source()

    @source.setter
    def source(self, value: int) -> None:
        self.Set_source(value)

    @property
    def tag(self) -> int:
        """Message tag."""
        return self.Get_tag()

    @tag.setter
    def tag(self, value: int) -> None:
        self.Set_tag(value)

    @property
    def error(self) -> int:
        """Error code."""
        return self.Get_error()

    @error.setter
    def error(self, value: int) -> None:
        self.Set_error(value)

    @property
    def count(self) -> int:
        """Bytes received."""
        return self.Get_count()

    @count.setter
    @boundary
    def count(self, value: int) -> None:
        if index(value) < 0:
            raise MPIError(ERR_COUNT, f"the count {value} is negative")
        fields = self._get()
        self._set(*fields[:3], index(value), fields[4])

    @property
    def cancelled(self) -> bool:
        """Operation was cancelled."""
        return self.Is_cancelled()

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        self.Set_cancelled(value)

    # -- as integers -----------------------------------------------------------------------------------------------

    def tomemory(self) -> memoryview:
        """Return the memory of the status: F_STATUS_SIZE integers, through which it can be changed."""
        if self._memory is None:
            memory = memoryview(bytearray(4 * F_STATUS_SIZE)).cast("i")
            memory[:] = memoryview(_pack(*self._get()))
            self._memory = memory
        return self._memory

    def _address(self) -> int:
        """Return the address of the memory of the status."""
        import ctypes

        return ctypes.addressof(ctypes.c_int.from_buffer(self.tomemory()))

    def py2f(self) -> list[int]:
        """Return the status as F_STATUS_SIZE Fortran integers."""
        return _pack(*self._get()).tolist()

    @classmethod
    def f2py(cls, arg: Sequence[int]) -> Self:
        """Return the status of F_STATUS_SIZE Fortran integers."""
        status = cls.__new__(cls)
        status._set(*_unpack([index(arg[position]) for position in range(F_STATUS_SIZE)]))
        return status


def _pack(source: int, tag: int, error: int, nbytes: int, cancelled: bool) -> array[int]:
    """Return the status as an array: size (31 low bits), size (rest) and cancelled, source, tag, error."""
    return array("i", (nbytes & 0x7FFFFFFF, nbytes >> 31 << 1 | cancelled, source, tag, error))


def _unpack(fields: Sequence[int] | memoryview) -> tuple[int, int, int, int, bool]:
    low, high, source, tag, error = fields
    return source, tag, error, low | high >> 1 << 31, bool(high & 1)


def _type_of(datatype: Datatype) -> Type:
    """Return the type of a datatype; raises MPIError for the null datatype."""
    if not isinstance(datatype, TypeHolder):
        raise TypeError(f"expecting Datatype, got {type(datatype).__name__}")
    state: Type | None = datatype._handle
    if state is None:
        raise MPIError(ERR_TYPE, "the datatype is null")
    return state
