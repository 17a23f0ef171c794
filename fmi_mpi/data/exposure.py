"""Memory of a process that others access: reading, writing and combining at an address, in any layout.

Rules of this file:
- Addresses are bytes from the window's base; of a dynamic window they are absolute.
- Whatever reaches outside of the memory raises MPIError of class ERR_RMA_RANGE and touches nothing.
- A layout is a datatype, or None for a run of bytes. Data is packed.
- Datatypes travel as their typemaps in 64-bit words (``encode``, ``decode``), the operation and the predefined type of an
  accumulation as one number (``code_of``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fmi_mpi.constants import COMBINER_VALUE_INDEX, ERR_ARG, ERR_OP, ERR_RMA_RANGE, ERR_TYPE
from fmi_mpi.data.buffers import EMPTY, address_of
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.kernels import OPS, Kernel, OpImpl, UserKernel, kernel
from fmi_mpi.data.predefined import BY_DTYPE, TYPES, value_index
from fmi_mpi.data.typemap import Block, Dim, Scatter, Typemap
from fmi_mpi.errors import MPIError

__all__ = ["Exposure", "code_of", "decode", "encode"]


class Exposure:
    """The memory of a window in one process.

    Args:
        memory: 'B' memory, None for a dynamic window.
    """

    __slots__ = ("memory", "regions")

    def __init__(self, memory: memoryview | None) -> None:
        self.memory = EMPTY if memory is None else memory
        self.regions: list[tuple[int, memoryview]] | None = [] if memory is None else None

    def attach(self, memory: memoryview) -> None:
        """Add memory to a dynamic window."""
        assert self.regions is not None
        self.regions.append((address_of(memory) if memory else 0, memory))

    def detach(self, memory: memoryview) -> None:
        """Take memory out of a dynamic window; does nothing if it is not there."""
        assert self.regions is not None
        address = address_of(memory) if memory else 0
        found = next((region for region in self.regions if region[0] == address), None)
        if found is not None:
            self.regions.remove(found)

    def _locate(self, low: int, high: int) -> tuple[memoryview, int]:
        """Return the memory that has the bytes from ``low`` to ``high``, and the address of its beginning."""
        if self.regions is None:
            if low >= 0 and high <= len(self.memory):
                return self.memory, 0
            raise MPIError(ERR_RMA_RANGE, f"bytes {low} to {high} are not in a window of {len(self.memory)} bytes")
        for base, memory in self.regions:
            if base <= low and high <= base + len(memory):
                return memory, base
        raise MPIError(ERR_RMA_RANGE, f"the {high - low} bytes at address {low} are not attached to the window")

    def run(self, address: int, nbytes: int) -> memoryview:
        """Return a run of bytes."""
        memory, base = self._locate(address, address + nbytes)
        return memory[address - base : address - base + nbytes]

    def _spread(self, address: int, nbytes: int, layout: Type) -> tuple[memoryview, int, int]:
        """Return the memory of elements, where their offset 0 is in it, and their number."""
        count, rest = divmod(nbytes, layout.size)
        if rest:
            raise MPIError(ERR_ARG, f"{nbytes} bytes are no whole number of elements of {layout.size} bytes")
        low, high = layout.span(count)
        memory, base = self._locate(address + low, address + high)
        return memory, address - base, count

    def read(self, address: int, nbytes: int, layout: Type | None = None) -> memoryview:
        """Return ``nbytes`` of packed data: the memory itself if it is a run, else a copy."""
        if layout is None:
            return self.run(address, nbytes)
        memory, origin, count = self._spread(address, nbytes, layout)
        packed = memoryview(bytearray(nbytes))
        layout.pack(memory, count, packed, origin)
        return packed

    def write(self, address: int, data: memoryview, layout: Type | None = None) -> None:
        """Write packed data."""
        if layout is None:
            self.run(address, len(data))[:] = data
        else:
            memory, origin, count = self._spread(address, len(data), layout)
            layout.unpack(data, memory, count, origin)

    def combine(self, address: int, data: memoryview, layout: Type | None, code: int) -> None:
        """Combine packed data into the memory by the operation of a code."""
        into = self.read(address, len(data), layout)
        with np.errstate(all="ignore"):  # whatever the memory held before
            _kernel(code)(data, into)
        if layout is not None:
            self.write(address, into, layout)

    def layout(self, encoded: memoryview) -> Type:
        """Return the layout of what ``encode`` gave."""
        return decode(encoded)


# -- accumulations as numbers -------------------------------------------------------------------------------------------

_OPERATIONS: Final = tuple(OPS.values())
_TYPES: Final = tuple(dict.fromkeys(found for found in TYPES.values() if found is not None))
_OPERATION_NUMBERS: Final = {op: number for number, op in enumerate(_OPERATIONS)}
_TYPE_NUMBERS: Final = {datatype: number for number, datatype in enumerate(_TYPES)}
_SHIFT: Final = 8  # bits of the operation, of a type, and of the index type of a pair, which is 0 for others
_MASK: Final = (1 << _SHIFT) - 1
_kernels: dict[int, Kernel | UserKernel] = {}


def code_of(op: OpImpl, datatype: Type) -> int:
    """Return the code of an operation on the predefined type that a datatype consists of.

    Raises MPIError of class ERR_OP if it is a user's or does not take the type, ERR_TYPE if there is not one type.
    """
    number = _OPERATION_NUMBERS.get(op)
    if number is None:
        raise MPIError(ERR_OP, "only predefined operations accumulate")
    basic = _element(datatype)
    if basic is None:
        raise MPIError(ERR_TYPE, "a datatype of several predefined types cannot be accumulated")
    kernel(op, basic, accumulate=True)
    pair = 0
    value = _TYPE_NUMBERS.get(basic)
    if value is None and basic.combiner == COMBINER_VALUE_INDEX:
        value, pair = _TYPE_NUMBERS[basic.parts[0]], _TYPE_NUMBERS[basic.parts[1]] + 1
    elif value is None:
        value = _TYPE_NUMBERS[BY_DTYPE[basic.dtype]]
    return number | value << _SHIFT | pair << 2 * _SHIFT


def _element(datatype: Type) -> Type | None:
    """Return the one predefined type, perhaps a pair, that a datatype consists of; None if it does of several."""
    if datatype.dtype is not None or not datatype.content:
        return datatype
    found = {id(part): part for part in (_element(part) for part, count in datatype.content if count and part.size)}
    return next(iter(found.values())) if len(found) == 1 else None


def _kernel(code: int) -> Kernel | UserKernel:
    found = _kernels.get(code)
    if found is None:
        try:
            basic: Type | None = _TYPES[code >> _SHIFT & _MASK]
            pair = code >> 2 * _SHIFT
            if pair and basic is not None:
                basic = value_index(basic, _TYPES[pair - 1])
            op = _OPERATIONS[code & _MASK]
        except IndexError:
            basic = None
        if basic is None:
            raise MPIError(ERR_OP, f"{code:#x} is not the code of an operation; do all ranks run the same version?")
        found = _kernels[code] = kernel(op, basic, accumulate=True)
    return found


# -- datatypes as words ------------------------------------------------------------------------------------------------

_BLOCK: Final = 0
_SCATTER: Final = 1
_BOUNDS: Final = 5


def encode(datatype: Type) -> bytes:
    """Return what a datatype is like: size, bounds, then the pieces of its typemap."""
    words = [np.array([datatype.size, datatype.lb, datatype.extent, datatype.true_lb, datatype.true_extent], np.int64)]
    for piece in datatype.typemap:
        if isinstance(piece, Block):
            flat = [number for dim in piece.dims for number in dim]
            words.append(np.array([_BLOCK, len(piece.dims), *piece[:3], *flat], np.int64))
        else:
            words += [np.array([_SCATTER, len(piece.offsets)], np.int64), *piece]
    return np.concatenate(words).tobytes()


def decode(encoded: memoryview) -> Type:
    """Return a datatype of the layout that ``encode`` gave; raises MPIError of class ERR_TYPE if it is none."""
    try:
        words = np.frombuffer(bytes(encoded), np.int64)
        size, lb, extent, true_lb, true_extent = words[:_BOUNDS].tolist()
        typemap = _pieces(words[_BOUNDS:])
        if size <= 0 or not all(_within(piece, size, true_lb, true_lb + true_extent) for piece in typemap):
            raise ValueError("data outside of its bounds")
        return Type(size, (lb, extent, true_lb, true_extent), lambda: typemap)
    except (ValueError, IndexError) as error:
        raise MPIError(ERR_TYPE, f"this is not a datatype: {error}") from None


def _pieces(words: np.ndarray[Any, np.dtype[np.int64]]) -> Typemap:
    pieces: list[Block | Scatter] = []
    at = 0
    while at < len(words):
        kind, number = words[at : at + 2].tolist()
        at += 2
        if number < 0:
            raise ValueError("negative length")
        if kind == _BLOCK:
            offset, position, length, *flat = words[at : at + 3 + 3 * number].tolist()
            if len(flat) != 3 * number:
                raise ValueError("cut short")
            dims: list[Dim] = [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)]
            pieces.append(Block(offset, position, length, tuple(dims)))
        else:
            columns = words[at : at + 3 * number].reshape(3, number)
            pieces.append(Scatter(columns[0], columns[1], columns[2]))
        at += 3 + 3 * number if kind == _BLOCK else 3 * number
    return tuple(pieces)


def _within(piece: Block | Scatter, size: int, low: int, high: int) -> bool:
    """Tell whether a piece stays within the packed size and the bounds in memory of one element."""
    if isinstance(piece, Scatter):
        offsets, positions, lengths = piece
        if not len(offsets):
            return True
        inside = positions.min() >= 0 and (positions + lengths).max() <= size and lengths.min() >= 0
        return bool(inside and offsets.min() >= low and (offsets + lengths).max() <= high)
    reach = [[piece.offset, piece.offset + piece.length], [piece.position, piece.position + piece.length]]
    for count, *steps in piece.dims:
        for bounds, step in zip(reach, steps):
            bounds[0] += min((count - 1) * step, 0)
            bounds[1] += max((count - 1) * step, 0)
    inside = reach[0][0] >= low and reach[0][1] <= high and reach[1][0] >= 0 and reach[1][1] <= size
    return inside and piece.length >= 0 and all(count > 0 for count, _, _ in piece.dims)
