"""Datatypes: size, extents, layout, and moving data between layout and packed form.

Rules of this file:
- A type is made once and never changes, but for its name and attributes. Layout (``runs``) is computed when data
  is first moved, and kept.
- ``view`` arguments begin at the buffer's address minus ``origin`` bytes, so that layouts may reach below it.
- Data moves by numpy copies over runs, never element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fmi_mpi.constants import COMBINER_NAMED, UNDEFINED
from fmi_mpi.data.runs import Layout, Runs

__all__ = ["Type", "TypeHolder"]

_FEW = 64  # up to this many runs, slices in a loop are as fast as an index array
_LONG = 1 << 12  # bytes from which a run is worth a copy of its own


class TypeHolder:
    """Base of the API's ``Datatype``, by which the data layer knows it."""

    __slots__ = ()
    _handle: Any


class Type:
    """A datatype.

    Args:
        size: bytes of data. lb, extent: lower bound and extent. true_lb, true_extent: of the data itself.
        layout: computes ``runs``; None for a gap-free type.
        combiner, integers, counts, parts: how it was made (MPI-4.1, 5.1.13).
    """

    __slots__ = (
        "__weakref__",
        "_dense",
        "_runs",
        "align",
        "attributes",
        "char",
        "code",
        "combiner",
        "counts",
        "dtype",
        "extent",
        "freed",
        "integers",
        "layout",
        "lb",
        "name",
        "parts",
        "permanent",
        "primitives",
        "size",
        "string",
        "true_extent",
        "true_lb",
    )

    def __init__(
        self,
        size: int,
        lb: int,
        extent: int,
        true_lb: int,
        true_extent: int,
        layout: Layout | None,
        combiner: int = COMBINER_NAMED,
        integers: tuple[int, ...] = (),
        counts: tuple[int, ...] = (),
        parts: tuple[Type, ...] = (),
        primitives: Sequence[tuple[Type, int]] = (),
        align: int = 1,
    ) -> None:
        self.size = size
        self.lb = lb
        self.extent = extent
        self.true_lb = true_lb
        self.true_extent = true_extent
        self.layout = layout
        self.combiner = combiner
        self.integers = integers
        self.counts = counts
        self.parts = parts
        self.primitives = primitives
        self.align = align
        self.name = ""
        self.dtype: np.dtype[Any] | None = None
        self.char = "V"
        self.string = f"V{extent}"
        self.code: str | None = None
        self.permanent = False
        self.freed = False
        self.attributes: dict[int, Any] | None = None
        self._runs: Runs | None = None
        self._dense: bool | None = None

    @property
    def named(self) -> bool:
        """The type is one of MPI's own."""
        return self.combiner == COMBINER_NAMED

    @property
    def dense(self) -> bool:
        """Consecutive elements are one gap-free range of bytes in order, from the buffer's address on."""
        if self._dense is None:
            if self.size != self.extent or self.true_lb != 0 or self.true_extent != self.size:
                self._dense = False
            else:
                offsets, _ = self.runs
                self._dense = len(offsets) <= 1
        return self._dense

    @property
    def runs(self) -> Runs:
        """(offsets, lengths) of the gap-free pieces of one element, in the order of its data; int64 arrays."""
        if self._runs is None:
            if self.layout is None:
                used = [0] if self.size else []
                self._runs = np.array(used, np.int64), np.array(used, np.int64) + self.size
            else:
                self._runs = self.layout()
        return self._runs

    @property
    def basic(self) -> Type | None:
        """The predefined type that all data of this one consists of, None if there are several."""
        if not self.primitives:
            return self if self.dtype is not None else None
        first = self.primitives[0][0]
        return first if all(part is first for part, _ in self.primitives) else None

    # -- elements (MPI_Get_elements) ---------------------------------------------------------------------------

    def elements(self, nbytes: int) -> int:
        """Return how many predefined elements the first ``nbytes`` of packed data are, or UNDEFINED."""
        if not self.size:
            return 0
        pieces = self.primitives or ((self, 1),)
        whole, rest = divmod(nbytes, self.size)
        found = whole * sum(count for _, count in pieces)
        for part, count in pieces:
            if not rest:
                return found
            here = min(rest // part.size, count) if part.size else 0
            found += here
            rest -= here * part.size
            if here < count:
                break
        return found if not rest else UNDEFINED

    def element_bytes(self, count: int) -> int:
        """Return the packed bytes of the first ``count`` predefined elements."""
        pieces = self.primitives or ((self, 1),)
        each = sum(number for _, number in pieces)
        if not each:
            return 0
        whole, rest = divmod(count, each)
        nbytes = whole * self.size
        for part, number in pieces:
            here = min(rest, number)
            nbytes += here * part.size
            rest -= here
        return nbytes

    # -- moving data -------------------------------------------------------------------------------------------

    def span(self, count: int) -> tuple[int, int]:
        """Return the first and last offset, from the buffer's address, of the bytes of ``count`` elements."""
        if not count or not self.size:
            return 0, 0
        last = (count - 1) * self.extent
        return self.true_lb + min(last, 0), self.true_lb + self.true_extent + max(last, 0)

    def pack(self, view: memoryview, count: int, out: memoryview, origin: int = 0) -> None:
        """Copy ``count`` elements from their layout in ``view`` to ``out``, which takes ``count * size`` bytes."""
        self._move(view, count, out, origin, True)

    def unpack(self, data: memoryview, view: memoryview, count: int, origin: int = 0) -> None:
        """Copy packed elements from ``data`` into their layout in ``view``."""
        self._move(view, count, data, origin, False)

    def unpack_bytes(self, data: memoryview, view: memoryview, nbytes: int, origin: int = 0) -> None:
        """Copy the first ``nbytes`` of packed data into their layout, the last element perhaps in part."""
        count, rest = divmod(nbytes, self.size) if self.size else (0, 0)
        self.unpack(data[: count * self.size], view, count, origin)
        position = count * self.size
        base = origin + count * self.extent
        offsets, lengths = self.runs
        for offset, length in zip(offsets.tolist(), lengths.tolist()):
            if not rest:
                return
            here = min(length, rest)
            view[base + offset : base + offset + here] = data[position : position + here]
            position += here
            rest -= here

    def _move(self, view: memoryview, count: int, packed: memoryview, origin: int, pack: bool) -> None:
        if not count or not self.size:
            return
        offsets, lengths = self.runs
        number = len(offsets)
        first_length = int(lengths[0])
        uniform = number == 1 or bool((lengths == first_length).all())
        step = int(offsets[1] - offsets[0]) if number > 1 else 0
        regular = uniform and (number < 3 or bool((np.diff(offsets) == step).all()))
        memory = np.frombuffer(view, np.uint8)
        flat = np.frombuffer(packed, np.uint8, count * self.size)
        if regular:
            start = origin + int(offsets[0])
            word = _word(first_length, start + memory.ctypes.data, step, self.extent, flat.ctypes.data)
            shape = (count, number, first_length // word)
            strides = (self.extent, step, word)
            spread = np.ndarray(shape, f"u{word}", view, start, strides)
            _copy(spread, flat.view(f"u{word}").reshape(shape), pack)
        elif number * count <= _FEW or int(lengths.min()) >= _LONG:
            self._move_runs(view, count, packed, origin, pack)
        else:
            index = _index(offsets, lengths)
            if count > 1:
                index = (np.arange(count, dtype=np.int64)[:, None] * self.extent + index).ravel()
            if pack:
                np.take(memory, index + origin, out=flat)
            else:
                memory[index + origin] = flat

    def _move_runs(self, view: memoryview, count: int, packed: memoryview, origin: int, pack: bool) -> None:
        offsets, lengths = self.runs
        pieces = list(zip(offsets.tolist(), lengths.tolist()))
        position = 0
        for element in range(count):
            base = origin + element * self.extent
            for offset, length in pieces:
                here = view[base + offset : base + offset + length]
                there = packed[position : position + length]
                if pack:
                    there[:] = here
                else:
                    here[:] = there
                position += length


def _copy(spread: np.ndarray[Any, Any], dense: np.ndarray[Any, Any], pack: bool) -> None:
    if pack:
        np.copyto(dense, spread)
    else:
        np.copyto(spread, dense)


def _word(*numbers: int) -> int:
    """Return the widest of 8, 4, 2, 1 that divides all numbers."""
    merged = 0
    for number in numbers:
        merged |= number
    return merged & -merged & 7 or 8


def _index(offsets: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the offset of every byte of one element."""
    starts = np.repeat(offsets - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    return starts + np.arange(int(lengths.sum()), dtype=np.int64)
