"""Buffer specifications: what the caller passed as one message, normalised.

Rules of this file:
- A specification is a buffer, or a list or tuple ``[buffer, count, displacement, datatype]`` with parts left out; the
  accepted forms and the exceptions are those of mpi4py.
- Arrays of a plain dtype are parsed first and without the general path.
- As in MPI, an explicit count is the caller's word: data is taken from the buffer's address, however long the
  exporting object says it is. Derived types legally reach outside of the slice that names their origin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, Final

import numpy as np

from fmi_mpi.constants import ERR_TYPE, PROC_NULL
from fmi_mpi.data.buffers import EMPTY, acquire, address_of, is_buffer, memory_at, type_of_code
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.data.predefined import BY_CODE, BY_DTYPE, BYTE
from fmi_mpi.data.special import BottomType, InPlaceType
from fmi_mpi.errors import MPIError

__all__ = [
    "Blocks",
    "Message",
    "Pieces",
    "message_block",
    "message_recv",
    "message_send",
    "message_vector",
    "message_w",
]

_ARRAY: Final = np.ndarray


class Message:
    """One normalised buffer argument.

    Args:
        view: bytes from the buffer's address on, as far as the exporter says they go; empty for absolute addresses.
        count: elements of ``datatype``.
        nbytes: bytes of the data, packed.
        absolute: displacements in the datatype are addresses (the buffer is ``BOTTOM``).
    """

    __slots__ = ("absolute", "count", "datatype", "nbytes", "view")

    def __init__(self, view: memoryview, count: int, datatype: Type, nbytes: int, absolute: bool = False) -> None:
        self.view = view
        self.count = count
        self.datatype = datatype
        self.nbytes = nbytes
        self.absolute = absolute

    def payload(self) -> memoryview:
        """Return the data, packed; the memory itself if the data is gap-free there."""
        view, nbytes = self.view, self.nbytes
        if self.datatype._dense and not self.absolute:
            length = len(view)
            if nbytes == length:
                return view
            if nbytes < length:
                return view[:nbytes]
        return self._gathered()

    def sink(self) -> tuple[memoryview, Callable[[int], None] | None]:
        """Return where to receive, and what to call with the number of received bytes afterwards, if anything."""
        view, nbytes = self.view, self.nbytes
        if self.datatype._dense and not self.absolute:
            length = len(view)
            if nbytes == length:
                return view, None
            if nbytes < length:
                return view[:nbytes], None
        if not nbytes:
            return EMPTY, None
        if self.datatype.dense:
            return self._region()[0], None
        into = memoryview(bytearray(nbytes))
        return into, lambda received: self.scatter(into, received)

    def _gathered(self) -> memoryview:
        if not self.nbytes:
            return EMPTY
        region, origin = self._region()
        if self.datatype.dense:
            return region
        packed = memoryview(bytearray(self.nbytes))
        self.datatype.pack(region, self.count, packed, origin)
        return packed

    def scatter(self, packed: memoryview, received: int | None = None) -> None:
        """Copy packed data to where the message has it, the first ``received`` bytes or all."""
        nbytes = self.nbytes if received is None else min(received, self.nbytes)
        if not nbytes:
            return
        region, origin = self._region()
        if nbytes == self.nbytes:
            self.datatype.unpack(packed, region, self.count, origin)
        else:
            self.datatype.unpack_bytes(packed, region, nbytes, origin)

    def _region(self) -> tuple[memoryview, int]:
        """Return the memory of all data, and the offset of the buffer's address in it."""
        low, high = self.datatype.span(self.count)
        if self.absolute:
            return memory_at(low, high - low), -low
        view = self.view
        if self.datatype.dense and high <= len(view):
            return view[:high], 0
        if low >= 0 and high <= len(view):
            return view, 0
        return memory_at(address_of(view) + low, high - low, view.readonly, view), -low

    def at(self, offset: int, count: int, datatype: Type | None = None) -> Message:
        """Return another message, ``offset`` bytes behind this one's address."""
        kind = datatype or self.datatype
        view, absolute = self.view, self.absolute
        if offset:
            if absolute:
                view, absolute = memory_at(offset, 1), False
            elif 0 < offset <= len(view):
                view = view[offset:]
            elif count * kind.size:
                view = memory_at(address_of(view) + offset, 1, view.readonly, view)
            else:
                view = EMPTY
        return Message(view, count, kind, count * kind.size, absolute)


NOTHING: Final = Message(EMPTY, 0, BYTE, 0)
"""The message to and from ``PROC_NULL``."""


# -- point-to-point --------------------------------------------------------------------------------------------------


def message_send(spec: Any, rank: int = 0) -> Message:
    """Return the message of a buffer to be read.

    Args:
        spec: buffer specification (mpi4py's ``BufSpec``).
        rank: the peer; for ``PROC_NULL`` None is a message of nothing.
    """
    if type(spec) is _ARRAY:
        datatype = BY_DTYPE.get(spec.dtype)
        if datatype is not None:
            try:
                view = memoryview(spec).cast("B")
                return Message(view, spec.size, datatype, len(view))
            except (TypeError, ValueError, BufferError):
                pass  # not C-contiguous, empty, or a format that memoryview does not know
    return _simple(spec, rank, False)


def message_recv(spec: Any, rank: int = 0) -> Message:
    """Return the message of a buffer to be written; arguments as for `message_send`."""
    if type(spec) is _ARRAY:
        datatype = BY_DTYPE.get(spec.dtype)
        if datatype is not None:
            try:
                view = memoryview(spec).cast("B")
                if not view.readonly:
                    return Message(view, spec.size, datatype, len(view))
            except (TypeError, ValueError, BufferError):
                pass
    return _simple(spec, rank, True)


def message_block(spec: Any, rank: int, writable: bool, blocks: int) -> Blocks:
    """Return the message of one block for each of ``blocks`` ranks.

    Args:
        spec: buffer specification; an explicit count is that of one block, an inferred one is divided.
        rank: as for `message_send`. writable: the buffer is to be written.
    """
    return Blocks(_simple(spec, rank, writable, blocks), blocks)


def _simple(spec: Any, rank: int, writable: bool, blocks: int = 1) -> Message:
    if spec is None and rank == PROC_NULL:
        return NOTHING
    obj, counts, displs, kind = _items(spec)
    view, length, code, absolute = _memory(obj, writable)
    datatype = _type(kind, code)
    offset = 0 if displs is None else _offset(index(displs), datatype, length)
    if counts is None:
        count = _infer(length, length - offset, datatype, blocks)
    else:
        count = index(counts)
        if count < 0:
            raise ValueError(f"message: negative count {count}")
        if count and obj is None:
            raise ValueError(f"message: buffer is None but count is {count}")
    if datatype is None:
        if count:
            raise MPIError(ERR_TYPE, "the datatype of a message is null")
        datatype = BYTE
    return Message(view[offset:] if offset else view, count, datatype, count * datatype.size, absolute)


# -- parts of a specification ----------------------------------------------------------------------------------------


def _items(spec: Any) -> tuple[Any, Any, Any, Any]:
    """Return buffer, counts, displacements, datatype; None where left out."""
    if isinstance(spec, (list, tuple)):
        number = len(spec)
        if number == 2:
            obj, second = spec
            if isinstance(second, (TypeHolder, str)):
                return obj, None, None, second
            if isinstance(second, (list, tuple)):
                counts, displs = second
                return obj, counts, displs, None
            return obj, second, None, None
        if number == 3:
            obj, counts, kind = spec
            displs = None
            if isinstance(counts, (list, tuple)):
                counts, displs = counts
            return obj, counts, displs, kind
        if number == 4:
            return tuple(spec)  # type: ignore[return-value]
        raise ValueError("message: expecting 2 to 4 items")
    if isinstance(spec, BottomType) or is_buffer(spec):
        return spec, None, None, None
    raise TypeError("message: expecting buffer or list/tuple")


def _memory(obj: Any, writable: bool) -> tuple[memoryview, int, Any, bool]:
    """Return bytes, how many, their format, and whether displacements are addresses."""
    if obj is None:
        return EMPTY, 0, None, False
    if isinstance(obj, BottomType):
        return EMPTY, 0, None, True
    if isinstance(obj, InPlaceType):
        return EMPTY, 0, "B", False
    view, code, _ = acquire(obj, writable)
    return view, len(view), code, False


def _type(kind: Any, code: str | Type | None) -> Type | None:
    """Return the datatype that a specification names, or that of the buffer; None for the null datatype."""
    if kind is None:
        if code is None:
            raise KeyError("cannot map None to MPI datatype")
        return type_of_code(code)
    if isinstance(kind, TypeHolder):
        found: Type | None = kind._handle
        return found
    found = BY_CODE.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise KeyError(f"cannot map {kind!r} to MPI datatype")
    return found


def _offset(displ: int, datatype: Type | None, length: int) -> int:
    """Return a displacement, counted in extents, in bytes."""
    if not displ:
        return 0
    if displ < 0:
        raise ValueError(f"message: negative displacement {displ}")
    if datatype is None:
        raise ValueError("message: cannot handle displacement, datatype is null")
    if datatype.extent <= 0:
        raise ValueError(f"message: cannot handle displacement, datatype extent {datatype.extent}")
    offset = displ * datatype.extent
    if offset > length:
        entries = length // datatype.extent
        raise ValueError(f"message: displacement {displ} out of bounds, number of datatype entries {entries}")
    return offset


def _infer(length: int, rest: int, datatype: Type | None, blocks: int) -> int:
    """Return how many elements ``rest`` bytes have for each of ``blocks`` blocks."""
    if not length:
        return 0
    if datatype is None:
        raise ValueError("message: cannot infer count, datatype is null")
    extent = datatype.extent
    if extent <= 0:
        raise ValueError(f"message: cannot infer count, datatype extent {extent}")
    if rest % extent:
        raise ValueError(f"message: cannot infer count, buffer length {rest} is not a multiple of the extent {extent}")
    if blocks < 2:
        return rest // extent
    if rest // extent % blocks:
        raise ValueError(f"message: cannot infer count, {rest // extent} entries do not divide into {blocks} blocks")
    return rest // extent // blocks
