"""File views: where in a file the bytes are that a process sees (MPI-4.1, 14.3).

Rules of this file:
- A view is a stream: the data bytes of filetype after filetype, from the displacement on. Positions count bytes of this
  stream, offsets count bytes of the file, both from 0.
- Nothing is done byte by byte or element by element: the runs of a filetype are kept as arrays and repeated by numpy.
- An access becomes ``Scatter`` chunks of bounded size, in the order of the data; ``windows`` tells which runs of a chunk
  are worth one transfer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fmi_mpi.constants import ERR_ARG, ERR_IO, ERR_TYPE
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.typemap import Scatter, coalesced, runs
from fmi_mpi.errors import MPIError

__all__ = ["View", "Window", "windows"]

_CHUNK = 1 << 16  # runs at a time
_REACH = 4 << 20  # bytes that one transfer of several runs may span


class Window(NamedTuple):
    """Runs of a chunk that one transfer covers: ``first`` to ``last`` (exclusive), ``low`` to ``high`` in the file."""

    first: int
    last: int
    low: int
    high: int


class View:
    """What a process sees of a file.

    Args:
        disp: offset in bytes at which the view begins.
        etype: unit of offsets and counts.
        filetype: pattern of the file, repeated; its data is a whole number of etypes.
        writable: the file can be written, so that the filetype's data may not overlap.
    """

    __slots__ = ("_runs", "dense", "disp", "etype", "etype_size", "extent", "filetype", "size")

    def __init__(self, disp: int, etype: Type, filetype: Type, writable: bool = True) -> None:
        if disp < 0:
            raise MPIError(ERR_ARG, f"the displacement {disp} of a view is negative")
        for kind, name in ((etype, "etype"), (filetype, "filetype")):
            if not kind.ready:
                raise MPIError(ERR_TYPE, f"the {name} of a view is not committed")
        self.disp = disp
        self.etype = etype
        self.filetype = filetype
        self.etype_size = etype.size or 1
        self.size = filetype.size
        self.extent = filetype.extent
        self.dense = filetype.dense
        """The stream is the file from the displacement on, without gaps."""
        self._runs = runs(filetype.typemap)
        if self.size % self.etype_size:
            raise MPIError(ERR_ARG, f"a filetype of {self.size} bytes is no multiple of an etype of {etype.size}")
        _check(self._runs, writable)

    def extents(self, start: int, nbytes: int) -> Iterator[Scatter]:
        """Yield the runs of an access in the order of the data; their positions count from the access's first byte.

        Args:
            start: position of the first byte.
            nbytes: bytes to access; a view without data has none.
        """
        if self.dense:
            if nbytes:
                yield Scatter(*(np.array([value], np.int64) for value in (self.disp + start, 0, nbytes)))
            return
        if not self.size:
            return
        number = len(self._runs.lengths)
        position, stop = start, start + nbytes
        while position < stop:
            tile, within = divmod(position, self.size)
            whole = (stop - position) // self.size
            if within or not whole or number > _CHUNK:
                chunk = self._part(within, min(stop - tile * self.size, self.size))
                origin = tile * self.size - start
                taken = int(chunk.positions[-1] + chunk.lengths[-1]) - within
            else:
                whole = min(whole, max(1, _CHUNK // number))
                chunk, origin, taken = self._tiles(whole), position - start, whole * self.size
            chunk = Scatter(chunk.offsets + (self.disp + tile * self.extent), chunk.positions + origin, chunk.lengths)
            yield coalesced(chunk)
            position += taken

    def _part(self, begin: int, end: int) -> Scatter:
        """Return runs of one filetype from position ``begin`` on, up to ``end`` at most."""
        positions = self._runs.positions
        first = int(np.searchsorted(positions, begin, "right")) - 1
        last = min(int(np.searchsorted(positions, end, "left")), first + _CHUNK)
        offsets, positions, lengths = (column[first:last] for column in self._runs)
        cut = np.maximum(begin - positions, 0)
        lengths = np.minimum(positions + lengths, end) - positions - cut
        return Scatter(offsets + cut, positions + cut, lengths)

    def _tiles(self, number: int) -> Scatter:
        """Return the runs of ``number`` filetypes."""
        offsets, positions, lengths = self._runs
        times = np.arange(number, dtype=np.int64)[:, None]
        return Scatter(
            (times * self.extent + offsets).ravel(),
            (times * self.size + positions).ravel(),
            np.tile(lengths, number),
        )

    def span(self, start: int, nbytes: int) -> tuple[int, int]:
        """Return the offsets in the file between which an access is, the last one exclusive."""
        if self.dense or not self.size or not nbytes:
            return self.disp + start, self.disp + start + nbytes
        first, last = (self.disp + position // self.size * self.extent for position in (start, start + nbytes - 1))
        offsets, _, lengths = self._runs
        return min(first, last) + int(offsets.min()), max(first, last) + int((offsets + lengths).max())

    def byte_offset(self, position: int) -> int:
        """Return the offset in the file of the byte at a position."""
        if self.dense or not self.size:
            return self.disp + position
        tile, within = divmod(position, self.size)
        offsets, positions, _ = self._runs
        run = int(np.searchsorted(positions, within, "right")) - 1
        return self.disp + tile * self.extent + int(offsets[run]) + within - int(positions[run])

    def visible(self, size: int) -> int:
        """Return how many etypes of the view begin within a file of ``size`` bytes."""
        below = max(size - self.disp, 0)
        if not self.dense and self.size:
            below = self._data_below(below)
        return -(-below // self.etype_size) if self.size else 0

    def _data_below(self, limit: int) -> int:
        """Return how many bytes of the stream are at offsets, from the displacement on, below a limit."""
        offsets, _, lengths = self._runs
        low, high = int(offsets.min()), int((offsets + lengths).max())
        if self.extent <= 0:
            return self.size if high <= limit else 0
        whole = max(0, (limit - high) // self.extent + 1)
        begun = max(whole, -((low - limit) // self.extent))
        tiles = np.arange(whole, begun, dtype=np.int64)[:, None] * self.extent
        return whole * self.size + int(np.clip(limit - tiles - offsets, 0, lengths).sum())


def _check(pattern: Scatter, writable: bool) -> None:
    """Raise MPIError unless runs are what the standard allows a filetype to have."""
    offsets, _, lengths = pattern
    if not len(offsets):
        return
    if int(offsets[0]) < 0 or (np.diff(offsets) < 0).any():
        raise MPIError(ERR_IO, "the displacements of a filetype may neither be negative nor decrease")
    if writable and (offsets[1:] < offsets[:-1] + lengths[:-1]).any():
        raise MPIError(ERR_IO, "the data of a filetype overlaps; it can be used with MODE_RDONLY only")


def windows(chunk: Scatter, gap: int) -> Iterator[Window]:
    """Yield which runs of a chunk to transfer at once.

    Args:
        chunk: runs in the order of the data.
        gap: so many bytes between two runs are cheaper to transfer than another request. Runs that follow within it are
            transferred together, as far as they ascend and their span is bounded.
    """
    offsets, _, lengths = chunk
    ends = offsets + lengths
    if len(offsets) == 1:
        yield Window(0, 1, int(offsets[0]), int(ends[0]))
        return
    between = offsets[1:] - ends[:-1]
    cuts = np.flatnonzero((between < 0) | (between > gap)) + 1
    bounds = [0, *cuts.tolist(), len(offsets)]
    for begin, end in pairwise(bounds):
        first = begin
        while first < end:
            low = int(offsets[first])
            last = max(first + 1, int(np.searchsorted(ends[first:end], low + _REACH, "right")) + first)
            yield Window(first, last, low, int(ends[last - 1]))
            first = last
