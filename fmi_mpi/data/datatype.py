"""Datatypes: size, bounds, layout, and moving data between layout and packed form.

Rules of this file:
- A type is made once and never changes, but for its name and attributes. Its typemap is computed when data is first
  moved, and kept.
- Offsets count from the buffer's address, which is byte ``origin`` of the memory given: layouts may reach below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fmi_mpi.constants import COMBINER_NAMED, UNDEFINED
from fmi_mpi.data.typemap import Block, Typemap, move, runs

__all__ = ["Type", "TypeHolder"]


class TypeHolder:
    """Base of the API's ``Datatype``, by which the data layer knows it."""

    __slots__ = ()
    _handle: Any


class Type:
    """A datatype.

    Args:
        size: bytes of data in one element.
        bounds: lower bound, extent, and both of the data itself (true lower bound, true extent).
        layout: computes the typemap; None if the data is one run.
        combiner, integers, counts, parts: what it was made from (MPI-4.1, 5.1.13).
        content: the types that an element consists of one after another, with counts; empty for predefined types.
        align: bytes.
    """

    __slots__ = (
        "__weakref__",
        "_typemap",
        "align",
        "attributes",
        "char",
        "code",
        "combiner",
        "content",
        "counts",
        "dense",
        "dtype",
        "extent",
        "integers",
        "layout",
        "lb",
        "leaves",
        "name",
        "parts",
        "permanent",
        "ready",
        "size",
        "string",
        "true_extent",
        "true_lb",
    )

    def __init__(
        self,
        size: int,
        bounds: tuple[int, int, int, int],
        layout: Callable[[], Typemap] | None,
        combiner: int = COMBINER_NAMED,
        integers: tuple[int, ...] = (),
        counts: tuple[int, ...] = (),
        parts: tuple[Type, ...] = (),
        content: tuple[tuple[Type, int], ...] = (),
        align: int = 1,
    ) -> None:
        self.size = size
        self.lb, self.extent, self.true_lb, self.true_extent = bounds
        self.layout = layout
        self.combiner = combiner
        self.integers = integers
        self.counts = counts
        self.parts = parts
        self.content = content
        self.align = align
        self.leaves: int = sum([part.leaves * count for part, count in content]) if content else int(size > 0)
        """Predefined elements in one element."""
        self.name = ""
        self.dtype: np.dtype[Any] | None = None
        """Layout of a predefined type for numpy; None if numpy has no such type."""
        self.char = "V"
        self.string = f"V{self.extent}"
        self.code: str | None = None
        self.permanent = False
        """One of MPI's own types, which cannot be freed."""
        self.ready = False
        """Committed."""
        self.attributes: dict[int, Any] | None = None
        self._typemap: Typemap | None = None
        self.dense = self._is_dense()
        """Consecutive elements are one gap-free range of bytes in order, from the buffer's address on."""

    def _is_dense(self) -> bool:
        size = self.size
        if size != self.extent or size != self.true_extent or self.true_lb or not size:
            return False
        return self.layout is None or (len(self.typemap) == 1 and self.typemap[0] == Block(0, 0, size))

    @property
    def named(self) -> bool:
        """The type is one of MPI's own."""
        return self.combiner == COMBINER_NAMED

    @property
    def typemap(self) -> Typemap:
        """Where the data of one element is."""
        if self._typemap is None:
            if self.layout is not None:
                self._typemap = self.layout()
            else:
                self._typemap = (Block(self.true_lb, 0, self.size),) if self.size else ()
        return self._typemap

    @property
    def basic(self) -> Type | None:
        """The predefined type that all data of this one consists of, None if there are several or none."""
        if not self.content:
            return self if self.size else None
        found = {id(part.basic): part.basic for part, count in self.content if count and part.size}
        return next(iter(found.values())) if len(found) == 1 else None

    # -- elements (MPI_Get_elements) -----------------------------------------------------------------------------

    def elements(self, nbytes: int) -> int:
        """Return how many predefined elements the first ``nbytes`` of packed data are, or UNDEFINED."""
        if not self.size:
            return 0
        whole, rest = divmod(nbytes, self.size)
        found = whole * self.leaves
        for part, count in self.content:
            if not rest:
                break
            here = min(rest, part.size * count)
            more = part.elements(here)
            if more == UNDEFINED:
                return UNDEFINED
            found += more
            rest -= here
        return UNDEFINED if rest else found

    def element_bytes(self, count: int) -> int:
        """Return the packed bytes of the first ``count`` predefined elements."""
        if not self.leaves:
            return 0
        whole, rest = divmod(count, self.leaves)
        nbytes = whole * self.size
        for part, number in self.content:
            here = min(rest, part.leaves * number)
            nbytes += part.element_bytes(here)
            rest -= here
        return nbytes

    # -- moving data ---------------------------------------------------------------------------------------------

    def span(self, count: int) -> tuple[int, int]:
        """Return the first and last offset, from the buffer's address, of the bytes of ``count`` elements."""
        if not count or not self.size:
            return 0, 0
        last = (count - 1) * self.extent
        low = self.true_lb
        return low + min(last, 0), low + self.true_extent + max(last, 0)

    def pack(self, view: memoryview, count: int, out: memoryview, origin: int = 0) -> None:
        """Copy ``count`` elements from their layout in ``view`` to ``out``, which takes ``count * size`` bytes."""
        if count and self.size:
            move(self.typemap, count, self.extent, self.size, view, origin, out, True)

    def unpack(self, data: memoryview, view: memoryview, count: int, origin: int = 0) -> None:
        """Copy packed elements from ``data`` into their layout in ``view``."""
        if count and self.size:
            move(self.typemap, count, self.extent, self.size, view, origin, data, False)

    def unpack_bytes(self, data: memoryview, view: memoryview, nbytes: int, origin: int = 0) -> None:
        """Copy the first ``nbytes`` of packed data into their layout, the last element perhaps in part."""
        count, rest = divmod(nbytes, self.size) if self.size else (0, 0)
        self.unpack(data[: nbytes - rest], view, count, origin)
        if not rest:
            return
        origin += count * self.extent
        data = data[nbytes - rest : nbytes]
        for offset, position, length in zip(*(column.tolist() for column in runs(self.typemap))):
            here = min(length, rest - position)
            if here <= 0:
                return
            view[origin + offset : origin + offset + here] = data[position : position + here]
