"""Where the bytes of one element are: in memory, and in packed data.

Rules of this file:
- A typemap is a tuple of pieces; each says for a set of bytes where they are in memory and where in packed data, so
  that the order of pieces carries no meaning.
- A ``Block`` is an n-dimensional pattern of equal runs, strided on both sides; a ``Scatter`` is a list of runs.
- Data moves by one numpy copy for a block, by slices or one index array for a scatter: never element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Block", "Scatter", "Typemap", "blocks", "joined", "move", "repeated", "runs", "shifted"]

_FEW = 16  # up to this many pieces are kept as blocks
_DEEP = 24  # numpy copies at most 32 dimensions
_LONG = 512  # bytes from which a run of a scatter is worth a copy of its own
_CHUNK = 1 << 20  # entries of an index array at a time

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Dim = tuple[int, int, int]
"""(count, stride in memory, stride in packed data), strides in bytes."""


class Block(NamedTuple):
    """Runs of ``length`` bytes, repeated along ``dims``, the outermost first."""

    offset: int
    position: int
    length: int
    dims: tuple[Dim, ...] = ()


class Scatter(NamedTuple):
    """Runs of bytes: the i-th has ``lengths[i]`` bytes at ``offsets[i]`` in memory, ``positions[i]`` when packed."""

    offsets: Ints
    positions: Ints
    lengths: Ints


Typemap = tuple["Block | Scatter", ...]


def shifted(typemap: Typemap, offset: int, position: int) -> Typemap:
    """Return a typemap moved by bytes in memory and in packed data."""
    if not offset and not position:
        return typemap
    return tuple(
        Block(piece.offset + offset, piece.position + position, piece.length, piece.dims)
        if type(piece) is Block
        else Scatter(piece.offsets + offset, piece.positions + position, piece.lengths)  # type: ignore[union-attr]
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
        if type(piece) is Block and len(piece.dims) < _DEEP
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
    found = [_runs_of(piece) if type(piece) is Block else piece for piece in typemap]
    if len(found) == 1:
        return found[0]  # type: ignore[return-value]
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
    return _coalesced(Scatter(*(column[order] for column in found)))


def _coalesced(piece: Scatter) -> Scatter:
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
            type(piece) is Block
            and type(last) is Block
            and not piece.dims
            and not last.dims
            and piece.offset == last.offset + last.length
            and piece.position == last.position + last.length
        ):
            result[-1] = Block(last.offset, last.position, last.length + piece.length)
        else:
            result.append(piece)
    if len(result) > _FEW and sum(type(piece) is Block for piece in result) > _FEW:
        return _simplest(runs(tuple(result)))
    return tuple(result)


def _simplest(piece: Scatter) -> Typemap:
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
            return _simplest(_coalesced(found))
        total = int(counts_.sum())
        within = np.arange(total, dtype=np.int64) - np.repeat(firsts, counts_)
        at_ = (np.repeat(at_, counts_) + within * extent)[:, None]
        starts = np.arange(total, dtype=np.int64)[:, None] * size
    offsets, positions = (at_ + unit.offsets).ravel(), (starts + unit.positions).ravel()
    lengths = np.tile(unit.lengths, len(at_))
    return _simplest(_coalesced(Scatter(offsets, positions, lengths)))


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
        if type(piece) is Block:
            whole = _repeated_block(piece, count, extent, size) if count > 1 else piece
            _move_block(whole, memory, origin, packed, pack)
        else:
            _move_scatter(piece, count, extent, size, memory, origin, packed, pack)  # type: ignore[arg-type]


def _move_block(piece: Block, memory: memoryview, origin: int, packed: memoryview, pack: bool) -> None:
    offset, position, length, dims = piece
    offset += origin
    if not dims:
        if pack:
            packed[position : position + length] = memory[offset : offset + length]
        else:
            memory[offset : offset + length] = packed[position : position + length]
        return
    word = _word(length)
    counts, strides, steps = zip(*dims)
    shape = (*counts, length // word)
    dtype = _WORDS[word]
    spread = np.ndarray(shape, dtype, memory, offset, (*strides, word))
    dense = np.ndarray(shape, dtype, packed, position, (*steps, word))
    if pack:
        np.copyto(dense, spread)
    else:
        np.copyto(spread, dense)


_WORDS = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}


def _word(number: int) -> int:
    """Return the widest of 8, 4, 2, 1 that divides a number."""
    return number & -number & 7 or 8


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
    offsets, positions, lengths = piece
    number = len(offsets)
    if int(lengths.sum()) >= number * _LONG:
        _move_runs(piece, count, extent, size, memory, origin, packed, pack)
        return
    flat, target = np.frombuffer(memory, np.uint8), np.frombuffer(packed, np.uint8)
    merged = int(np.bitwise_or.reduce(offsets - offsets[0]) | np.bitwise_or.reduce(lengths))
    merged |= int(np.bitwise_or.reduce(positions)) | target.ctypes.data
    merged |= (flat.ctypes.data + origin + int(offsets[0])) | (extent | size if count > 1 else 0)
    word = _word(merged)
    base = (origin + int(offsets[0])) % word
    words = flat[base : base + (len(flat) - base) // word * word].view(_WORDS[word])
    packed_words = target[: len(target) // word * word].view(_WORDS[word])
    here = _index(offsets + (origin - base), lengths, word)
    there = _index(positions, lengths, word)
    at_once = max(1, _CHUNK // len(here))
    for first in range(0, count, at_once):
        times = np.arange(first, min(first + at_once, count), dtype=np.int64)[:, None]
        from_, to = (here + times * (extent // word)).ravel(), (there + times * (size // word)).ravel()
        if pack:
            packed_words[to] = words[from_]
        else:
            words[from_] = packed_words[to]


def _index(offsets: Ints, lengths: Ints, word: int) -> Ints:
    """Return the index of every word of runs."""
    counts = lengths // word
    starts = offsets // word - (np.cumsum(counts) - counts)
    return np.repeat(starts, counts) + np.arange(int(counts.sum()), dtype=np.int64)


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
    for offset, position, length in zip(*(column.tolist() for column in piece)):
        run = Block(offset, position, length)
        _move_block(_repeated_block(run, count, extent, size) if count > 1 else run, memory, origin, packed, pack)
