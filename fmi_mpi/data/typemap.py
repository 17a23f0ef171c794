"""Where the bytes of one element are: in memory, and in packed data.

Rules of this file:
- A typemap is a tuple of pieces; each says for a set of bytes where they are in memory and where in packed data, so
  that the order of pieces carries no meaning.
- A ``Block`` is an n-dimensional pattern of equal runs, strided on both sides; a ``Scatter`` is a list of runs.
- Data moves by one numpy copy for a block, by one index array for a scatter of short runs and by slices for one of long
  runs: never element by element. Index arrays are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Block",
    "Scatter",
    "Typemap",
    "blocks",
    "coalesced",
    "joined",
    "move",
    "repeated",
    "runs",
    "shifted",
    "simplest",
]

_FEW = 16  # up to this many pieces are kept as blocks
_DEEP = 24  # numpy copies at most 32 dimensions
_LONG = 512  # bytes from which a run of a scatter is worth a copy of its own
_LOOP = 16  # words from which a run is worth a loop of numpy's
_CHUNK = 1 << 20  # entries of an index array at a time

Ints = np.ndarray[Any, np.dtype[np.int64]]
Dim = tuple[int, int, int]
"""(count, stride in memory, stride in packed data), strides in bytes."""


class Block(NamedTuple):
    """Runs of ``length`` bytes, repeated along ``dims``, the outermost first."""

    offset: int
    position: int
    length: int
    dims: tuple[Dim, ...] = ()


class Scatter:
    """Runs of bytes: the i-th has ``lengths[i]`` bytes at ``offsets[i]`` in memory, ``positions[i]`` when packed."""

    __slots__ = ("_gathers", "lengths", "offsets", "positions")

    def __init__(self, offsets: Ints, positions: Ints, lengths: Ints) -> None:
        self.offsets = offsets
        self.positions = positions
        self.lengths = lengths
        self._gathers: dict[int, _Gather] = {}

    def __iter__(self) -> Iterator[Ints]:
        return iter((self.offsets, self.positions, self.lengths))

    def gather(self, alignment: int) -> _Gather:
        """Return what to index, in the widest words that fit the runs and divide ``alignment``."""
        widest = _word(alignment)
        found = self._gathers.get(widest)
        if found is None:
            found = self._gathers[widest] = _Gather(self, widest)
        return found


class _Gather:
    """Index arrays of the words of runs.

    Attributes:
        word: bytes. low, high: bounds of the runs in memory. first, total: bounds in packed data.
        here: index of each word from ``low`` on. there: from ``first`` on; None if packed data has no gaps.
    """

    __slots__ = ("first", "here", "high", "low", "there", "total", "word")

    def __init__(self, runs_: Scatter, widest: int) -> None:
        offsets, positions, lengths = runs_
        self.low, self.high = int(offsets.min()), int((offsets + lengths).max())
        self.first, last = int(positions.min()), int((positions + lengths).max())
        self.total = last - self.first
        columns = (offsets - self.low, positions - self.first, lengths)
        merged = widest
        for column in columns:
            merged |= int(np.bitwise_or.reduce(column))
        self.word = _word(merged)
        self.here = _index(columns[0], lengths, self.word)
        packed_in_order = bool((columns[1] == np.cumsum(lengths) - lengths).all())
        self.there = None if packed_in_order else _index(columns[1], lengths, self.word)


def _word(number: int) -> int:
    """Return the widest of 8, 4, 2, 1 that divides a number."""
    return number & -number & 7 or 8


def _index(offsets: Ints, lengths: Ints, word: int) -> Ints:
    """Return the index of every word of runs."""
    counts = lengths // word
    starts = offsets // word - (np.cumsum(counts) - counts)
    return np.repeat(starts, counts) + np.arange(int(counts.sum()), dtype=np.int64)


Typemap = tuple["Block | Scatter", ...]


def shifted(typemap: Typemap, offset: int, position: int) -> Typemap:
    """Return a typemap moved by bytes in memory and in packed data."""
    if not offset and not position:
        return typemap
    return tuple(
        Block(piece.offset + offset, piece.position + position, piece.length, piece.dims)
        if isinstance(piece, Block)
        else Scatter(piece.offsets + offset, piece.positions + position, piece.lengths)
        for piece in typemap
    )


def repeated(typemap: Typemap, count: int, stride: int, step: int) -> Typemap:
    """Return ``count`` copies of a typemap, ``stride`` bytes apart in memory and ``step`` in packed data."""
    if count == 1 or not typemap:
        return typemap
    if count == 0:
        return ()
    return tuple(
        _repeated_block(piece, count, stride, step)
        if isinstance(piece, Block) and len(piece.dims) < _DEEP
        else _repeated_runs(_scattered((piece,)), count, stride, step)
        for piece in typemap
    )


def _repeated_block(piece: Block, count: int, stride: int, step: int) -> Block:
    offset, position, length, dims = piece
    if not dims:
        if stride == step == length:
            return Block(offset, position, length * count)
    else:
        inner, inner_stride, inner_step = dims[0]
        if inner * inner_stride == stride and inner * inner_step == step:
            return Block(offset, position, length, ((inner * count, inner_stride, inner_step), *dims[1:]))
    return Block(offset, position, length, ((count, stride, step), *dims))


def _repeated_runs(piece: Scatter, count: int, stride: int, step: int) -> Scatter:
    times = np.arange(count, dtype=np.int64)[:, None]
    return Scatter(
        (times * stride + piece.offsets).ravel(),
        (times * step + piece.positions).ravel(),
        np.tile(piece.lengths, count),
    )


def _scattered(typemap: Typemap) -> Scatter:
    """Return a typemap as runs, piece after piece."""
    found = [_runs_of(piece) if isinstance(piece, Block) else piece for piece in typemap]
    if len(found) == 1:
        return found[0]
    columns = zip(*found)
    return Scatter(*(np.concatenate(column) for column in columns))


def _runs_of(piece: Block) -> Scatter:
    runs_ = Scatter(*(np.array([value], np.int64) for value in piece[:3]))
    for count, stride, step in reversed(piece.dims):
        runs_ = _repeated_runs(runs_, count, stride, step)
    return runs_


def runs(typemap: Typemap) -> Scatter:
    """Return the gap-free runs of a typemap in the order of packed data."""
    if not typemap:
        empty = np.zeros(0, np.int64)
        return Scatter(empty, empty, empty)
    found = _scattered(typemap)
    order = np.argsort(found.positions, kind="stable")
    return coalesced(Scatter(*(column[order] for column in found)))


def coalesced(piece: Scatter) -> Scatter:
    """Return runs with empty ones dropped and neighbours that adjoin on both sides joined."""
    if not piece.lengths.all():
        used = piece.lengths > 0
        piece = Scatter(*(column[used] for column in piece))
    offsets, positions, lengths = piece
    first = np.ones(len(offsets), np.bool_)
    first[1:] = (offsets[1:] != offsets[:-1] + lengths[:-1]) | (positions[1:] != positions[:-1] + lengths[:-1])
    if first.all():
        return piece
    return Scatter(offsets[first], positions[first], np.add.reduceat(lengths, np.flatnonzero(first)))


def joined(pieces: Sequence[Block | Scatter]) -> Typemap:
    """Return the typemap of pieces in packed order, neighbours that adjoin on both sides joined."""
    result: list[Block | Scatter] = []
    for piece in pieces:
        last = result[-1] if result else None
        if (
            isinstance(piece, Block)
            and isinstance(last, Block)
            and not piece.dims
            and not last.dims
            and piece.offset == last.offset + last.length
            and piece.position == last.position + last.length
        ):
            result[-1] = Block(last.offset, last.position, last.length + piece.length)
        else:
            result.append(piece)
    if len(result) > _FEW and sum(isinstance(piece, Block) for piece in result) > _FEW:
        return simplest(runs(tuple(result)))
    return tuple(result)


def simplest(piece: Scatter) -> Typemap:
    """Return runs as one block if they are equal and equally spaced."""
    offsets, positions, lengths = piece
    number = len(offsets)
    if number == 0:
        return ()
    length = int(lengths[0])
    if number == 1:
        return (Block(int(offsets[0]), int(positions[0]), length),)
    stride, step = int(offsets[1] - offsets[0]), int(positions[1] - positions[0])
    if (lengths == length).all() and (np.diff(offsets) == stride).all() and (np.diff(positions) == step).all():
        return (Block(int(offsets[0]), int(positions[0]), length, ((number, stride, step),)),)
    return (piece,)


def blocks(
    old: Typemap, size: int, extent: int, displacements: Sequence[int], blocklengths: int | Sequence[int]
) -> Typemap:
    """Return blocks of old elements at byte displacements.

    Args:
        old, size, extent: of the old type.
        blocklengths: elements of every block, or of each.
    """
    number = len(displacements)
    if number <= _FEW:
        counts = [blocklengths] * number if isinstance(blocklengths, int) else blocklengths
        pieces: list[Block | Scatter] = []
        position = 0
        for at, count in zip(displacements, counts):
            pieces += shifted(repeated(old, count, extent, size), at, position)
            position += count * size
        return joined(pieces)
    at_ = np.asarray(displacements, np.int64)
    if isinstance(blocklengths, int):
        unit, step = runs(repeated(old, blocklengths, extent, size)), blocklengths * size
        at_, starts = at_[:, None], np.arange(number, dtype=np.int64)[:, None] * step
    else:
        counts_ = np.asarray(blocklengths, np.int64)
        firsts = np.cumsum(counts_) - counts_
        unit = runs(old)
        if len(unit.lengths) == 1 and unit.lengths[0] == extent:
            found = Scatter(at_ + unit.offsets, firsts * size, counts_ * size)
            return simplest(coalesced(found))
        total = int(counts_.sum())
        within = np.arange(total, dtype=np.int64) - np.repeat(firsts, counts_)
        at_ = (np.repeat(at_, counts_) + within * extent)[:, None]
        starts = np.arange(total, dtype=np.int64)[:, None] * size
    offsets, positions = (at_ + unit.offsets).ravel(), (starts + unit.positions).ravel()
    lengths = np.tile(unit.lengths, len(at_))
    return simplest(coalesced(Scatter(offsets, positions, lengths)))


# -- moving data ---------------------------------------------------------------------------------------------------


def move(
    typemap: Typemap,
    count: int,
    extent: int,
    size: int,
    memory: memoryview,
    origin: int,
    packed: memoryview,
    pack: bool,
) -> None:
    """Copy ``count`` elements between memory and packed data.

    Args:
        extent, size: bytes from one element to the next in memory and in packed data.
        origin: index in ``memory`` of offset 0 of the first element.
        pack: from memory to packed data, else the other way.
    """
    for piece in typemap:
        if isinstance(piece, Block):
            whole = _repeated_block(piece, count, extent, size) if count > 1 else piece
            _move_block(whole, memory, origin, packed, pack)
        else:
            _move_scatter(piece, count, extent, size, memory, origin, packed, pack)


def _move_block(piece: Block, memory: memoryview, origin: int, packed: memoryview, pack: bool) -> None:
    offset, position, length, dims = piece
    offset += origin
    if not dims:
        if pack:
            packed[position : position + length] = memory[offset : offset + length]
        else:
            memory[offset : offset + length] = packed[position : position + length]
        return
    item, number = _items(length)
    counts, strides, steps = zip(*dims)
    if number > 1:
        counts, strides, steps = (*counts, number), (*strides, item.itemsize), (*steps, item.itemsize)
    spread = np.ndarray(counts, item, memory, offset, strides)
    dense = np.ndarray(counts, item, packed, position, steps)
    if pack:
        np.copyto(dense, spread)
    else:
        np.copyto(spread, dense)


@functools.lru_cache(256)
def _items(length: int) -> tuple[np.dtype[Any], int]:
    """Return what numpy copies a run of bytes fastest as: a dtype and how many of it."""
    word = _word(length)
    number = length // word
    return (_WORDS[word], number) if number == 1 or number > _LOOP else (np.dtype((np.void, length)), 1)


def _move_scatter(
    piece: Scatter,
    count: int,
    extent: int,
    size: int,
    memory: memoryview,
    origin: int,
    packed: memoryview,
    pack: bool,
) -> None:
    if int(piece.lengths.sum()) >= len(piece.lengths) * _LONG:
        _move_runs(piece, count, extent, size, memory, origin, packed, pack)
        return
    lowest, first = int(piece.offsets[0]), int(piece.positions[0])
    alignment = (_address(memory) + origin + lowest) | (_address(packed) + first) | (extent | size if count > 1 else 0)
    gather = piece.gather(alignment)
    word, here = gather.word, gather.here
    below = min((count - 1) * extent, 0)
    spread = _words(memory, origin + gather.low + below, gather.high - gather.low + (count - 1) * abs(extent), word)
    at_once = max(1, _CHUNK // len(here))
    for start in range(0, count, at_once):
        number = min(at_once, count - start)
        begin = gather.first + start * size
        if count > 1:
            times = np.arange(start, start + number, dtype=np.int64)[:, None]
            here = gather.here + (times * extent - below) // word
        if gather.there is None:
            shape = (number, len(gather.here)) if count > 1 else here.shape
            strides = (size, word) if count > 1 else (word,)
            dense = np.ndarray(shape, _WORDS[word], packed, begin, strides)
            if not pack:
                spread[here] = dense
            elif dense.flags.c_contiguous:
                np.take(spread, here, out=dense, mode="clip")
            else:
                dense[...] = spread[here]
        else:
            dense = _words(packed, begin, gather.total + (number - 1) * size, word)
            there = gather.there + np.arange(number, dtype=np.int64)[:, None] * (size // word)
            if pack:
                dense[there] = spread[here]
            else:
                spread[here] = dense[there]


def _move_runs(
    piece: Scatter,
    count: int,
    extent: int,
    size: int,
    memory: memoryview,
    origin: int,
    packed: memoryview,
    pack: bool,
) -> None:
    table = zip(*(column.tolist() for column in piece))
    if count > 1:
        for run in table:
            _move_block(_repeated_block(Block(*run), count, extent, size), memory, origin, packed, pack)
    elif pack:
        for offset, position, length in table:
            packed[position : position + length] = memory[origin + offset : origin + offset + length]
    else:
        for offset, position, length in table:
            memory[origin + offset : origin + offset + length] = packed[position : position + length]


_WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


def _words(view: memoryview, start: int, nbytes: int, word: int) -> np.ndarray[Any, Any]:
    """Return bytes of a view as words; raises TypeError if the view is too short."""
    return np.ndarray((nbytes // word,), _WORDS[word], view, start)


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)
