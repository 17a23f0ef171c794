"""Buffer specifications: what users write becomes a ``Message``.

Rules of this file:
- Forms and exceptions are mpi4py's: ``buf``; ``[buf, count]``, ``[buf, (count, displ)]``, ``[buf, type]``;
  ``[buf, count, type]``; ``[buf, count, displ, type]``. Vector forms have counts and displacements per rank, w forms
  types per rank too.
- What is left out is inferred: the type from the buffer's format, counts from its length, displacements from counts.
- Elements of gap-free types must lie within the buffer. Other types may reach outside of it, as a column may begin in
  a slice of one row: then the caller answers for the memory, as in C.
- The common argument, a contiguous numpy array of a predefined type, takes a short path.
"""

from __future__ import annotations

from operator import index
from typing import Any, Final

import numpy as np

from fmi_mpi.constants import ERR_BUFFER, ERR_COUNT, ERR_TYPE, PROC_NULL
from fmi_mpi.data.buffers import EMPTY, acquire, address_of, is_buffer, memory_at, type_of_code, writable_bytes
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.data.pieces import Blocks, Message, Pieces
from fmi_mpi.data.predefined import BY_CODE, BYTE
from fmi_mpi.data.special import BottomType, InPlaceType
from fmi_mpi.errors import MPIError

__all__ = [
    "Message",
    "Pieces",
    "is_in_place",
    "message_block",
    "message_of",
    "message_recv",
    "message_send",
    "message_vector",
    "message_w",
    "plain",
    "type_named",
    "writable_bytes",
]

_ndarray: Final = np.ndarray
_BYTES: Final = BY_CODE["B"]
_CASTABLE: Final = {np.dtype(code): BY_CODE[code] for code in "?bhilqBHILQefd"}
"""dtypes of which ``memoryview.cast`` knows the format"""


def is_in_place(spec: Any) -> bool:
    """Tell whether a buffer argument is IN_PLACE, or None which stands for it."""
    if isinstance(spec, (list, tuple)):
        return len(spec) > 1 and isinstance(spec[0], InPlaceType)
    return spec is None or isinstance(spec, InPlaceType)


def plain(spec: Any) -> memoryview | None:
    """Return the bytes of a C-contiguous numpy array of a common type; None for all other buffers."""
    try:
        return spec.data.cast("B") if type(spec) is _ndarray and spec.dtype in _CASTABLE else None
    except TypeError:
        return None  # not C-contiguous, or empty


def message_send(spec: Any, rank: int = 0) -> Message:
    """Return the message of a buffer that is read.

    Args:
        spec: buffer specification. ValueError, TypeError, KeyError, BufferError as in mpi4py.
        rank: the peer; to ``PROC_NULL`` anything is a message of nothing.
    """
    view = plain(spec)
    if view is not None:
        return Message(view, spec.size, _CASTABLE[spec.dtype], len(view))
    if type(spec) is bytearray or type(spec) is bytes:
        return Message(memoryview(spec), len(spec), _BYTES, len(spec))
    return _simple(spec, False, rank, 1)[0]


def message_recv(spec: Any, rank: int = 0) -> Message:
    """Return the message of a buffer that is written; arguments as for `message_send`."""
    view = plain(spec)
    if view is not None and not view.readonly:
        return Message(view, spec.size, _CASTABLE[spec.dtype], len(view))
    return _simple(spec, True, rank, 1)[0]


def message_of(memory: memoryview, datatype: Type) -> Message:
    """Return all whole elements of a type in 'B' memory."""
    _checked(datatype)
    return _piece(memory, len(memory) // datatype.extent if datatype.extent > 0 else 0, 0, datatype)


def message_block(spec: Any, writable: bool, blocks: int, rank: int = 0) -> Pieces:
    """Return the pieces of a buffer of equal blocks.

    Args:
        spec: buffer specification; an explicit count is that of one block, an inferred one is divided.
        writable: the buffer is written. blocks: how many. rank: as for `message_send`.
    """
    view = plain(spec)
    if view is not None and not spec.size % blocks and not (writable and view.readonly):
        nbytes = len(view) // blocks
        first = Message(view[:nbytes], spec.size // blocks, _CASTABLE[spec.dtype], nbytes)
        return Pieces(Blocks(view, first, blocks, nbytes), view)
    first, memory = _simple(spec, writable, rank, blocks)
    step = first.count * first.datatype.extent
    return Pieces(Blocks(memory, first, blocks, step), memory if first.datatype.dense or not first.nbytes else None)


def message_vector(spec: Any, writable: bool, blocks: int, rank: int = 0) -> Pieces:
    """Return the pieces of a buffer with a count and a displacement per rank.

    Args:
        spec: vector specification; counts that are left out divide the buffer as evenly as can be.
        writable, blocks, rank: as for `message_block`.
    """
    if rank == PROC_NULL:
        return Pieces([_NOTHING] * blocks)
    buf, counts, displs, kind = _items(spec, vector=True)
    memory, datatype = _memory(buf, kind, writable)
    if counts is None:
        each, more = divmod(_infer(memory, 0, datatype), blocks)
        counts = [each + 1] * more + [each] * (blocks - more)
    else:
        counts = _integers(counts, blocks)
    if displs is None:
        displs = [0]
        for count in counts[:-1]:
            displs.append(displs[-1] + count)
    elif _is_integer(displs):
        displs = range(0, index(displs) * blocks, index(displs)) if index(displs) else [0] * blocks
    else:
        displs = _integers(displs, blocks)
    extent = 0 if datatype is None else datatype.extent
    pieces = [_piece(memory, count, at * extent, datatype) for count, at in zip(counts, displs)]
    return Pieces(pieces)


def message_w(spec: Any, writable: bool, blocks: int) -> Pieces:
    """Return the pieces of a buffer with a count, a displacement in bytes and a type per rank.

    Args:
        spec: w specification; counts and displacements that are left out are 1 and 0.
        writable, blocks: as for `message_block`.
    """
    number = len(spec)
    counts = displs = None
    if number == 2:
        buf, kinds = spec
    elif number == 3:
        buf, (counts, displs), kinds = spec
    elif number == 4:
        buf, counts, displs, kinds = spec
    else:
        raise ValueError("message: expecting 2 to 4 items")
    memory = _raw(buf, writable)[0]
    if memory is None and (counts is None or displs is None):
        raise ValueError("message: BOTTOM requires counts")
    if counts is None and displs is None:
        counts, displs = [1] * blocks, [0] * blocks
    columns: tuple[Any, Any, Any] = counts, displs, kinds
    for column in columns:
        if len(column) != blocks:
            raise ValueError(f"expecting {blocks} items, got {len(column)}")
    for kind in kinds:
        if not isinstance(kind, TypeHolder):
            raise TypeError(f"expecting a datatype, got {type(kind).__name__}")
    pieces = [_piece(memory, index(count), index(at), _checked(kind._handle)) for count, at, kind in zip(*columns)]
    return Pieces(pieces)


# -- parts of specifications -------------------------------------------------------------------------------------------


def _items(spec: Any, vector: bool) -> tuple[Any, Any, Any, Any]:
    """Return (buffer, count, displacement, type) of a specification; None for what is left out."""
    if not isinstance(spec, (list, tuple)):
        if isinstance(spec, BottomType) or is_buffer(spec):
            return spec, None, None, None
        raise TypeError("message: expecting buffer or list/tuple")
    number = len(spec)
    if number == 4:
        buf, count, displ, kind = spec
        return buf, count, displ, kind
    count = displ = kind = None
    if number == 2:
        buf, second = spec
        if isinstance(second, (TypeHolder, str)):
            kind = second
        else:
            count = second
    elif number == 3:
        buf, count, kind = spec
    else:
        raise ValueError("message: expecting 2 to 4 items")
    if isinstance(count, tuple) or (isinstance(count, list) and not vector):
        count, displ = count
    return buf, count, displ, kind


def _raw(buf: Any, writable: bool) -> tuple[memoryview | None, Any]:
    """Return the memory of a buffer, None for BOTTOM, and its format."""
    if buf is None or isinstance(buf, BottomType):
        return None, None
    if isinstance(buf, InPlaceType):
        return EMPTY, "B"
    return acquire(buf, writable)


def _memory(buf: Any, kind: Any, writable: bool) -> tuple[memoryview | None, Type | None]:
    """Return the memory of a buffer and its type; None for BOTTOM and for the null datatype."""
    memory, code = _raw(buf, writable)
    if kind is None and code is not None:
        return memory, type_of_code(code)
    return memory, type_named(kind)


def type_named(kind: Any) -> Type | None:
    """Return the type that a specification names, by a datatype or a character code; None for the null datatype.

    Args:
        kind: KeyError if it is neither, or an unknown code.
    """
    if isinstance(kind, TypeHolder):
        return _checked(kind._handle)
    found = BY_CODE.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise KeyError(f"cannot map {kind!r} to MPI datatype")
    return found


def _checked(datatype: Type | None) -> Type | None:
    if datatype is not None and not datatype.ready:
        raise MPIError(ERR_TYPE, "the datatype is not committed; call its Commit() first")
    return datatype


def _is_integer(item: Any) -> bool:
    try:
        index(item)
    except TypeError:
        return False
    return True


def _integers(items: Any, number: int) -> list[int]:
    """Return ``number`` integers; one stands for all."""
    if _is_integer(items):
        return [index(items)] * number
    given = len(items)
    found = [index(item) for item in items]
    if given != number:
        raise ValueError(f"expecting {number} items, got {given}")
    return found


def _infer(memory: memoryview | None, offset: int, datatype: Type | None) -> int:
    """Return how many elements a buffer has from a byte offset on."""
    if not memory:
        return 0
    if datatype is None:
        raise ValueError("message: cannot infer count, datatype is null")
    extent = datatype.extent
    if extent <= 0:
        raise ValueError(f"message: cannot infer count, datatype extent {extent} (lb:{datatype.lb})")
    rest = len(memory) - offset
    if rest % extent:
        raise ValueError(
            f"message: cannot infer count, buffer length {rest} is not a multiple of datatype extent {extent}"
        )
    return rest // extent


def _offset(displ: int, memory: memoryview | None, datatype: Type | None) -> int:
    """Return the byte offset of a displacement in elements."""
    if displ < 0:
        raise ValueError(f"message: negative displacement {displ}")
    if not displ:
        return 0
    if datatype is None:
        raise ValueError("message: cannot handle displacement, datatype is null")
    extent = datatype.extent
    if extent <= 0:
        raise ValueError(f"message: cannot handle displacement, datatype extent {extent} (lb:{datatype.lb})")
    entries = len(memory or b"") // extent
    if displ > entries:
        raise ValueError(f"message: displacement {displ} out of bounds, number of datatype entries {entries}")
    return displ * extent


def _simple(spec: Any, writable: bool, rank: int, blocks: int) -> tuple[Message, memoryview]:
    """Return the message of the first of ``blocks`` blocks, and the memory of all if it is gap-free."""
    if rank == PROC_NULL:
        return _NOTHING, EMPTY
    buf, given, displ, kind = _items(spec, vector=False)
    memory, datatype = _memory(buf, kind, writable)
    offset = 0 if displ is None else _offset(index(displ), memory, datatype)
    if given is None:
        count = entries = _infer(memory, offset, datatype)
        if blocks != 1:
            count = entries // blocks if blocks else 0
        if count * blocks != entries:
            raise ValueError(
                f"message: cannot infer count, number of entries {entries} is not a multiple of required number of "
                f"blocks {blocks}"
            )
    else:
        count = index(given)
        if count < 0:
            raise ValueError(f"message: negative count {count}")
        if count and buf is None:
            raise ValueError(f"message: buffer is None but count is {count}")
    if blocks == 1:
        message = _piece(memory, count, offset, datatype)
        return message, message.view
    everything = _piece(memory, count * blocks, offset, datatype)
    nbytes = everything.nbytes // blocks if blocks else 0
    view = everything.view
    first = view[:nbytes] if everything.datatype.dense else view
    return Message(first, count, everything.datatype, nbytes, everything.origin), view


def _piece(memory: memoryview | None, count: int, offset: int, datatype: Type | None) -> Message:
    """Return the message of ``count`` elements at a byte offset of memory, or of absolute addresses if it is None."""
    if count < 0:
        raise MPIError(ERR_COUNT, f"a count is negative: {count}")
    if datatype is None:
        if count:
            raise MPIError(ERR_TYPE, "the datatype of a message is null")
        return _NOTHING
    nbytes = count * datatype.size
    if not nbytes:
        return Message(EMPTY, count, datatype, 0)
    if datatype.dense and memory is not None:
        if offset >= 0 and offset + nbytes <= len(memory):
            return Message(memory[offset : offset + nbytes], count, datatype, nbytes)
        raise ValueError(
            f"message: {count} elements of {datatype.extent} bytes at byte {offset} do not fit in {len(memory)} bytes"
        )
    low, high = datatype.span(count)
    if memory is None:
        if offset + low <= 0:
            raise MPIError(ERR_BUFFER, "BOTTOM and None need a datatype of absolute addresses")
        return Message(memory_at(offset + low, high - low), count, datatype, nbytes, -low)
    if offset + low >= 0 and offset + high <= len(memory):
        return Message(memory, count, datatype, nbytes, offset)
    outside = memory_at(address_of(memory) + offset + low, high - low, memory.readonly, memory)
    return Message(outside, count, datatype, nbytes, -low)


_NOTHING: Final = Message(EMPTY, 0, BYTE, 0)
