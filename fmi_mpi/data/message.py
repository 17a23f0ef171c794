"""Buffer specifications: what users write becomes a ``Message``.

Rules of this file:
- Forms (mpi4py): ``buf``; ``[buf, count]``, ``[buf, (count, displ)]``, ``[buf, type]``; ``[buf, count, type]``;
  ``[buf, count, displ, type]``. Vector forms have a count and displacement per rank, w forms a type per rank too.
- What is left out is inferred: the type from the buffer's format, the count from its length, displacements from
  counts. What does not fit raises ValueError, before any memory is touched.
- The common argument, a contiguous numpy array of a predefined type, takes a short path.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fmi_mpi.constants import PROC_NULL
from fmi_mpi.data.buffers import EMPTY, acquire, address_of, memory_at, type_of_code, writable_bytes
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.data.predefined import BY_CODE, BYTE
from fmi_mpi.data.special import BOTTOM, IN_PLACE

__all__ = [
    "Message",
    "Pieces",
    "is_in_place",
    "message_block",
    "message_recv",
    "message_send",
    "message_vector",
    "message_w",
    "writable_bytes",
]

Finish = Callable[[int], None]

# numpy's dtypes of native byte order are single objects, so that their identity is a quick key.
_dtypes = [np.dtype(code) for code in "?bhilqBHILQefdgFDG"]
_BY_DTYPE = {id(dtype): BY_CODE[dtype.char] for dtype in _dtypes}
_ndarray = np.ndarray


class Message:
    """One buffer argument.

    ``view`` is 'B' memory whose byte ``origin`` is the buffer's address; ``count`` elements of ``datatype`` are
    ``nbytes`` of packed data.
    """

    __slots__ = ("count", "datatype", "nbytes", "origin", "view")

    def __init__(self, view: memoryview, count: int, datatype: Type, nbytes: int, origin: int = 0) -> None:
        self.view = view
        self.count = count
        self.datatype = datatype
        self.nbytes = nbytes
        self.origin = origin

    def payload(self) -> memoryview:
        """Return the packed data: the memory itself where it is gap-free, else a packed copy."""
        datatype = self.datatype
        if datatype.dense:
            view = self.view
            return view if len(view) == self.nbytes else view[: self.nbytes]
        packed = memoryview(bytearray(self.nbytes))
        datatype.pack(self.view, self.count, packed, self.origin)
        return packed

    def sink(self) -> tuple[memoryview, Finish | None]:
        """Return where packed data is to be received, and what to call with its length afterwards."""
        datatype = self.datatype
        if datatype.dense:
            view = self.view
            return (view if len(view) == self.nbytes else view[: self.nbytes]), None
        packed = memoryview(bytearray(self.nbytes))

        def finish(nbytes: int) -> None:
            if nbytes == self.nbytes:
                datatype.unpack(packed, self.view, self.count, self.origin)
            else:
                datatype.unpack_bytes(packed, self.view, nbytes, self.origin)

        return packed, finish


class Pieces:
    """A buffer argument with a piece for each of several ranks.

    ``whole`` is the memory of all pieces if they are gap-free, of one length, and follow each other; else None.
    """

    __slots__ = ("messages", "whole")

    def __init__(self, messages: list[Message], whole: memoryview | None = None) -> None:
        self.messages = messages
        self.whole = whole

    def payloads(self) -> list[memoryview]:
        """Return the packed data of all pieces."""
        return [message.payload() for message in self.messages]

    def payload(self) -> memoryview:
        """Return the packed data of all pieces, one after another."""
        return memoryview(bytearray().join(self.payloads())) if self.whole is None else self.whole

    def sinks(self) -> tuple[list[memoryview], Callable[[], None] | None]:
        """Return where to receive the pieces, and what to call afterwards."""
        pairs = [message.sink() for message in self.messages]
        pending = [(finish, len(view)) for view, finish in pairs if finish is not None]

        def finish_all() -> None:
            for finish, nbytes in pending:
                finish(nbytes)

        return [view for view, _ in pairs], finish_all if pending else None

    def sink(self) -> tuple[memoryview, Callable[[], None] | None]:
        """Return where to receive all pieces, one after another, and what to call afterwards."""
        if self.whole is not None:
            return self.whole, None
        views, finish = self.sinks()
        packed = memoryview(bytearray(sum(map(len, views))))

        def distribute() -> None:
            position = 0
            for view in views:
                view[:] = packed[position : position + len(view)]
                position += len(view)
            if finish is not None:
                finish()

        return packed, distribute

    @property
    def datatype(self) -> Type:
        """Type of the first piece."""
        return self.messages[0].datatype if self.messages else BYTE


def is_in_place(spec: Any) -> bool:
    """Tell whether a buffer argument is IN_PLACE."""
    return spec is IN_PLACE or spec is None


def message_send(spec: Any, rank: int = 0) -> Message:
    """Return the message of a buffer that is read; ``rank`` PROC_NULL excuses what is missing."""
    if type(spec) is _ndarray:
        datatype = _BY_DTYPE.get(id(spec.dtype))
        if datatype is not None and spec.flags.c_contiguous and spec.size:
            view = spec.data.cast("B")
            nbytes = len(view)
            return Message(view, nbytes // datatype.size, datatype, nbytes)
    return _simple(spec, False, rank, 0)


def message_recv(spec: Any, rank: int = 0) -> Message:
    """Return the message of a buffer that is written."""
    if type(spec) is _ndarray:
        datatype = _BY_DTYPE.get(id(spec.dtype))
        if datatype is not None and spec.flags.c_contiguous and spec.flags.writeable and spec.size:
            view = spec.data.cast("B")
            nbytes = len(view)
            return Message(view, nbytes // datatype.size, datatype, nbytes)
    return _simple(spec, True, rank, 0)


def message_block(spec: Any, writable: bool, blocks: int, rank: int = 0) -> Pieces:
    """Return the pieces of a buffer with ``blocks`` equal blocks."""
    first = _simple(spec, writable, rank, blocks)
    datatype, count, nbytes = first.datatype, first.count, first.nbytes
    if not nbytes:
        return Pieces([Message(EMPTY, count, datatype, 0)] * blocks, EMPTY)
    step = count * datatype.extent
    if datatype.dense:
        view = first.view
        messages = [Message(view[i * step : (i + 1) * step], count, datatype, nbytes) for i in range(blocks)]
        return Pieces(messages, view[: blocks * step])
    return Pieces([Message(first.view, count, datatype, nbytes, first.origin + i * step) for i in range(blocks)])


def message_vector(spec: Any, writable: bool, blocks: int, rank: int = 0) -> Pieces:
    """Return the pieces of a buffer with a count and a displacement per rank."""
    buf, counts, displs, kind = _vector_items(spec)
    if rank == PROC_NULL:
        return Pieces([Message(EMPTY, 0, BYTE, 0)] * blocks)
    view, datatype = _memory(buf, kind, writable)
    if counts is None:
        if view is None:
            total = 0
        else:
            total = _inferred(len(view), datatype, "length")
        each, more = divmod(total, blocks) if blocks else (0, 0)
        numbers = [each + (i < more) for i in range(blocks)]
    else:
        numbers = _integers(counts, blocks)
    if displs is None:
        places = [0] * blocks
        for i in range(1, blocks):
            places[i] = places[i - 1] + numbers[i - 1]
    elif _is_integral(displs):
        places = [i * operator.index(displs) for i in range(blocks)]
    else:
        places = _integers(displs, blocks)
    extent = datatype.extent
    messages = [_piece(view, number, at * extent, datatype) for number, at in zip(numbers, places)]
    return Pieces(messages)


def message_w(spec: Any, writable: bool, blocks: int) -> Pieces:
    """Return the pieces of a buffer with a count, a displacement in bytes and a type per rank."""
    if not isinstance(spec, (list, tuple)):
        raise ValueError("message: expecting a list or tuple")
    if len(spec) == 2:
        buf, kinds = spec
        counts = displs = None
    elif len(spec) == 3:
        buf, (counts, displs), kinds = spec
    elif len(spec) == 4:
        buf, counts, displs, kinds = spec
    else:
        raise ValueError(f"message: expecting 2 to 4 items, got {len(spec)}")
    if buf is None or buf is BOTTOM:
        if counts is None or displs is None:
            raise ValueError("message: BOTTOM needs counts and displacements")
        view = None
    else:
        view = acquire(buf, writable)[0]
    types = [_datatype(kind) for kind in kinds]
    if len(types) != blocks:
        raise ValueError(f"message: expecting {blocks} datatypes, got {len(types)}")
    numbers = [1] * blocks if counts is None else _integers(counts, blocks)
    places = [0] * blocks if displs is None else _integers(displs, blocks)
    messages = [_piece(view, number, at, kind) for number, at, kind in zip(numbers, places, types)]
    return Pieces(messages)


# -- parts of specifications -----------------------------------------------------------------------------------


def _is_type(item: Any) -> bool:
    return isinstance(item, (TypeHolder, str))


def _is_integral(item: Any) -> bool:
    try:
        operator.index(item)
    except TypeError:
        return False
    return True


def _datatype(item: Any) -> Type:
    """Return the type of a datatype object or a character code."""
    if isinstance(item, TypeHolder):
        found = item._handle
        if found is None:
            raise ValueError("message: the datatype is null")
        handle: Type = found
        return handle
    if isinstance(item, str):
        named = BY_CODE.get(item)
        if named is None:
            raise KeyError(f"cannot map {item!r} to MPI datatype")
        return named
    raise TypeError(f"message: expecting a datatype or a code, got {type(item).__name__}")


def _memory(buf: Any, kind: Any, writable: bool) -> tuple[memoryview | None, Type]:
    """Return (memory or None for BOTTOM, type)."""
    if buf is None or buf is BOTTOM:
        return None, BYTE if kind is None else _datatype(kind)
    view, code, _ = acquire(buf, writable)
    return view, type_of_code(code) if kind is None else _datatype(kind)


def _inferred(nbytes: int, datatype: Type, what: str) -> int:
    """Return how many elements a buffer has."""
    extent = datatype.extent
    if extent <= 0:
        raise ValueError(f"message: cannot infer count, datatype extent {extent} (lb:{datatype.lb})")
    if nbytes % extent:
        raise ValueError(
            f"message: cannot infer count, buffer {what} {nbytes} is not a multiple of datatype extent {extent}"
        )
    return nbytes // extent


def _integers(items: Any, size: int) -> list[int]:
    """Return ``size`` integers; one number stands for all."""
    if isinstance(items, np.ndarray) and items.ndim == 0:
        items = items[()]
    if _is_integral(items):
        return [operator.index(items)] * size
    numbers = [operator.index(item) for item in items]
    if len(numbers) != size:
        raise ValueError(f"expecting {size} items, got {len(numbers)}")
    return numbers


def _simple_items(spec: Any) -> tuple[Any, Any, Any, Any]:
    """Return (buffer, count, displacement, type) of a specification; None for what is left out."""
    count = displ = kind = None
    if not isinstance(spec, (list, tuple)):
        return spec, None, None, None
    if len(spec) == 1:
        buf = spec[0]
    elif len(spec) == 2:
        buf, second = spec
        if _is_type(second):
            kind = second
        else:
            count = second
    elif len(spec) == 3:
        buf, count, kind = spec
    elif len(spec) == 4:
        buf, count, displ, kind = spec
    else:
        raise ValueError(f"message: expecting 2 to 4 items, got {len(spec)}")
    if isinstance(count, (list, tuple)) and len(spec) < 4:
        if len(count) != 2:
            raise ValueError("message: expecting (count, displacement)")
        count, displ = count
    return buf, count, displ, kind


def _vector_items(spec: Any) -> tuple[Any, Any, Any, Any]:
    """Return (buffer, counts, displacements, type) of a vector specification."""
    counts = displs = kind = None
    if not isinstance(spec, (list, tuple)):
        return spec, None, None, None
    if len(spec) == 1:
        buf = spec[0]
    elif len(spec) == 2:
        buf, second = spec
        if _is_type(second):
            kind = second
        else:
            counts = second
    elif len(spec) == 3:
        buf, counts, kind = spec
        if not _is_type(kind):
            raise ValueError("message: expecting a datatype as last item")
    elif len(spec) == 4:
        buf, counts, displs, kind = spec
    else:
        raise ValueError(f"message: expecting 2 to 4 items, got {len(spec)}")
    if isinstance(counts, tuple) and len(spec) < 4:
        counts, displs = counts
    return buf, counts, displs, kind


def _simple(spec: Any, writable: bool, rank: int, blocks: int) -> Message:
    """Return the message of a simple or (``blocks`` not 0) block specification, with the count of one block."""
    buf, given, displ, kind = _simple_items(spec)
    if rank == PROC_NULL:
        return Message(EMPTY, 0, BYTE, 0)
    view, datatype = _memory(buf, kind, writable)
    offset = 0
    if displ is not None:
        displ = operator.index(displ)
        if displ < 0:
            raise ValueError(f"message: negative displacement {displ}")
        if displ and (view is None or (datatype.extent <= 0 and given is None)):
            raise ValueError("message: a displacement needs a buffer and a datatype with an extent")
        offset = displ * datatype.extent
        if offset < 0 or (view is not None and offset > len(view)):
            raise ValueError(f"message: displacement {displ} is outside of the buffer")
    if given is None:
        count = 0 if view is None else _inferred(len(view) - offset, datatype, "length")
        if blocks:
            if count % blocks:
                raise ValueError(
                    f"message: cannot infer count, number of entries {count} is not a multiple of required number "
                    f"of blocks {blocks}"
                )
            count //= blocks
    else:
        count = operator.index(given)
        if count < 0:
            raise ValueError(f"message: negative count {count}")
    if buf is None and count and datatype.size:
        raise ValueError(f"message: the buffer is None, but the count is {count}")
    return _piece(view, count, offset, datatype, count * (blocks or 1))


def _piece(view: memoryview | None, count: int, offset: int, datatype: Type, total: int | None = None) -> Message:
    """Return the message of ``count`` elements at a byte offset; ``total`` elements must fit there."""
    nbytes = count * datatype.size
    if not nbytes:
        return Message(EMPTY, count, datatype, 0)
    low, high = datatype.span(count if total is None else total)
    if view is None:
        address = offset + low
        if address <= 0:
            raise ValueError("message: BOTTOM needs a datatype with absolute addresses")
        return Message(memory_at(address, high - low), count, datatype, nbytes, -low)
    if offset + high > len(view):
        raise ValueError(
            f"message: buffer of {len(view)} bytes is too small for {count} elements of extent {datatype.extent} at "
            f"byte {offset}"
        )
    if offset + low < 0:
        memory = memory_at(address_of(view) + offset + low, high - low, view.readonly, view)
        return Message(memory, count, datatype, nbytes, -low)
    if datatype.dense:
        return Message(view[offset : offset + (high - low)], count, datatype, nbytes)
    return Message(view, count, datatype, nbytes, offset)
