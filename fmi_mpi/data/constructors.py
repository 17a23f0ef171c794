"""Type constructors (MPI-4.1, 5.1).

Rules of this file:
- Each returns a new ``Type`` that remembers what it was made from, so that it can be decoded and made again.
- Bounds are those of the standard: over all elements placed; a struct is padded to its alignment as C would, unless
  all of it is of one type. A type without data has no bounds but those given to it, except that blocks of length 0
  have those that the formulas give. All this is as MPICH has it.
- Arguments are integers already; what the standard forbids raises MPIError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fmi_mpi import constants as c
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.typemap import Typemap, blocks, joined, repeated, shifted
from fmi_mpi.errors import MPIError

__all__ = [
    "contiguous",
    "darray",
    "dup",
    "hindexed",
    "hindexed_block",
    "hvector",
    "indexed",
    "indexed_block",
    "resized",
    "struct",
    "subarray",
    "vector",
]

Bounds = tuple[int, int, int, int]
"""(lower bound, extent, true lower bound, true extent)"""

_NO_BOUNDS = (0, 0, 0, 0)


def _check_counts(counts: Sequence[int]) -> None:
    if counts and min(counts) < 0:
        raise MPIError(c.ERR_COUNT, f"a count is negative: {min(counts)}")


def _around(old: Type, low: int, high: int) -> Bounds:
    """Return the bounds of old elements of which the lowest is placed at ``low``, the highest at ``high``."""
    reach = high - low
    return old.lb + low, old.extent + reach, old.true_lb + low, old.true_extent + reach


def _align(old: Type, bounds: Bounds) -> int:
    return 1 if bounds is _NO_BOUNDS else old.align


def _reach(old: Type, displacements: Sequence[int], blocklengths: Sequence[int]) -> Bounds:
    """Return the bounds of blocks of old elements at byte displacements."""
    extent = old.extent
    if not old.size:
        return _NO_BOUNDS
    starts = [at for at, count in zip(displacements, blocklengths) if count]
    if not starts:
        return _NO_BOUNDS
    ends = [at + (count - 1) * extent for at, count in zip(displacements, blocklengths) if count]
    return _around(old, min(min(starts), min(ends)), max(max(starts), max(ends)))


def _same_layout(old: Type) -> Callable[[], Typemap] | None:
    return None if old.layout is None else lambda: old.typemap


def dup(old: Type) -> Type:
    """Return a copy of a type."""
    bounds = (old.lb, old.extent, old.true_lb, old.true_extent)
    new = Type(old.size, bounds, _same_layout(old), c.COMBINER_DUP, (), (), (old,), ((old, 1),), old.align)
    new.char, new.string, new.code, new.ready = old.char, old.string, old.code, old.ready
    return new


def contiguous(old: Type, count: int) -> Type:
    """Return ``count`` elements one after another."""
    _check_counts((count,))
    last = (count - 1) * old.extent
    bounds = _around(old, min(last, 0), max(last, 0)) if count and old.size else _NO_BOUNDS
    align = _align(old, bounds)
    layout = None if old.dense else lambda: repeated(old.typemap, count, old.extent, old.size)
    return Type(count * old.size, bounds, layout, c.COMBINER_CONTIGUOUS, (), (count,), (old,), ((old, count),), align)


def _strided(old: Type, count: int, blocklength: int, stride: int, combiner: int, given: int) -> Type:
    _check_counts((count, blocklength))
    bounds = _NO_BOUNDS
    total = count * blocklength
    if count and old.size:
        across, along = (count - 1) * stride, (blocklength - 1) * old.extent
        if total:
            bounds = _around(old, min(across, 0) + min(along, 0), max(across, 0) + max(along, 0))
        else:
            bounds = _around(old, min(across, 0), max(across, 0) + along)

    def layout() -> Typemap:
        block = repeated(old.typemap, blocklength, old.extent, old.size)
        return repeated(block, count, stride, blocklength * old.size)

    counts = (count, blocklength, given)
    align = _align(old, bounds)
    return Type(total * old.size, bounds, layout, combiner, (), counts, (old,), ((old, total),), align)


def vector(old: Type, count: int, blocklength: int, stride: int) -> Type:
    """Return ``count`` blocks, ``stride`` elements apart."""
    return _strided(old, count, blocklength, stride * old.extent, c.COMBINER_VECTOR, stride)


def hvector(old: Type, count: int, blocklength: int, stride: int) -> Type:
    """Return ``count`` blocks, ``stride`` bytes apart."""
    return _strided(old, count, blocklength, stride, c.COMBINER_HVECTOR, stride)


_OF_ONE_LENGTH = (c.COMBINER_INDEXED_BLOCK, c.COMBINER_HINDEXED_BLOCK)


def _placed(
    old: Type, displacements: Sequence[int], blocklengths: Sequence[int], combiner: int, counts: tuple[int, ...]
) -> Type:
    _check_counts(blocklengths)
    total = sum(blocklengths)
    bounds = _reach(old, displacements, blocklengths)
    if old.size and displacements and not total and combiner in _OF_ONE_LENGTH:
        bounds = _around(old, min(displacements), max(displacements) - old.extent)
    return Type(
        total * old.size,
        bounds,
        lambda: blocks(old.typemap, old.size, old.extent, displacements, blocklengths),
        combiner,
        (),
        counts,
        (old,),
        ((old, total),),
        _align(old, bounds),
    )


def indexed(old: Type, blocklengths: Sequence[int], displacements: Sequence[int]) -> Type:
    """Return blocks of different lengths at displacements in elements."""
    counts = (len(blocklengths), *blocklengths, *displacements)
    extent = old.extent
    return _placed(old, [at * extent for at in displacements], blocklengths, c.COMBINER_INDEXED, counts)


def hindexed(old: Type, blocklengths: Sequence[int], displacements: Sequence[int]) -> Type:
    """Return blocks of different lengths at displacements in bytes."""
    counts = (len(blocklengths), *blocklengths, *displacements)
    return _placed(old, displacements, blocklengths, c.COMBINER_HINDEXED, counts)


def indexed_block(old: Type, blocklength: int, displacements: Sequence[int]) -> Type:
    """Return blocks of one length at displacements in elements."""
    counts = (len(displacements), blocklength, *displacements)
    at = [place * old.extent for place in displacements]
    return _placed(old, at, [blocklength] * len(at), c.COMBINER_INDEXED_BLOCK, counts)


def hindexed_block(old: Type, blocklength: int, displacements: Sequence[int]) -> Type:
    """Return blocks of one length at displacements in bytes."""
    counts = (len(displacements), blocklength, *displacements)
    return _placed(old, displacements, [blocklength] * len(displacements), c.COMBINER_HINDEXED_BLOCK, counts)


def struct(
    blocklengths: Sequence[int], displacements: Sequence[int], parts: Sequence[Type], combiner: int = c.COMBINER_STRUCT
) -> Type:
    """Return blocks of different types at displacements in bytes."""
    _check_counts(blocklengths)
    used = [row for row in zip(parts, displacements, blocklengths) if row[2]]
    align = max([part.align for part, _, _ in used], default=1)

    def layout() -> Typemap:
        pieces: list[Typemap] = []
        position = 0
        for part, at, count in used:
            pieces.append(shifted(repeated(part.typemap, count, part.extent, part.size), at, position))
            position += count * part.size
        return joined([piece for typemap in pieces for piece in typemap])

    return Type(
        sum([part.size * count for part, _, count in used]),
        _struct_bounds(used, parts, align),
        layout,
        combiner,
        (),
        (len(blocklengths), *blocklengths, *displacements),
        tuple(parts),
        tuple([(part, count) for part, _, count in used]),
        align,
    )


def _is_uniform(parts: Sequence[Type]) -> bool:
    """Return whether all types are one, or differ from it in name only."""
    found = set()
    for part in parts:
        while len(part.content) == 1:
            inner, count = part.content[0]
            if count != 1 or (part.lb, part.extent, part.true_lb) != (inner.lb, inner.extent, inner.true_lb):
                break
            part = inner
        found.add(id(part))
    return len(found) == 1


def _struct_bounds(used: Sequence[tuple[Type, int, int]], parts: Sequence[Type], align: int) -> Bounds:
    """Return the bounds of (type, byte displacement, count) rows of a struct of ``parts``.

    As in MPICH, parts without data extend a struct that has some, but do not align it.
    """
    if not any(part.size for part, _, _ in used):
        return _NO_BOUNDS
    lows, highs, true_lows, true_highs = [], [], [], []
    for part, at, count in used:
        reach = (count - 1) * part.extent
        low, high = (at, at + reach) if reach >= 0 else (at + reach, at)
        lows.append(low + part.lb)
        highs.append(high + part.lb + part.extent)
        true_lows.append(low + part.true_lb)
        true_highs.append(high + part.true_lb + part.true_extent)
    lb, true_lb = min(lows), min(true_lows)
    extent = max(highs) - lb
    padding = -extent % align
    if padding and not _is_uniform(parts):
        extent += padding
    return lb, extent, true_lb, max(true_highs) - true_lb


def resized(old: Type, lb: int, extent: int) -> Type:
    """Return a type with new bounds."""
    bounds = (lb, extent, old.true_lb, old.true_extent)
    return Type(
        old.size, bounds, _same_layout(old), c.COMBINER_RESIZED, (), (lb, extent), (old,), ((old, 1),), old.align
    )


# -- arrays ------------------------------------------------------------------------------------------------------------


def _check_order(order: int) -> None:
    if order not in (c.ORDER_C, c.ORDER_F):
        raise MPIError(c.ERR_ARG, f"order {order} is neither ORDER_C nor ORDER_F")


def subarray(old: Type, sizes: Sequence[int], subsizes: Sequence[int], starts: Sequence[int], order: int) -> Type:
    """Return the part of an array that begins at ``starts`` and has ``subsizes``."""
    _check_order(order)
    dims = list(zip(sizes, subsizes, starts))
    if not dims:
        raise MPIError(c.ERR_DIMS, "a subarray has at least one dimension")
    for size, subsize, start in dims:
        if subsize < 0 or start < 0 or start + subsize > size:
            raise MPIError(c.ERR_ARG, f"a part of {subsize} from {start} on is not within {size}")
    rows: list[tuple[int, int]] = []
    stride, first, total = old.extent, 0, 1
    for size, subsize, start in reversed(dims) if order == c.ORDER_C else dims:
        rows.append((subsize, stride))
        first += start * stride
        stride *= size
        total *= subsize
    reaches = [(subsize - 1) * stride for subsize, stride in rows]
    low = first + sum([reach for reach in reaches if reach < 0])
    true_bounds = (old.true_lb + low, old.true_extent + sum(map(abs, reaches))) if total and old.size else (0, 0)

    def layout() -> Typemap:
        typemap, step = old.typemap, old.size
        for subsize, apart in rows:
            typemap = repeated(typemap, subsize, apart, step)
            step *= subsize
        return shifted(typemap, first, 0)

    bounds = (0, math.prod(sizes) * old.extent, *true_bounds)
    integers, counts = (len(sizes), order), (*sizes, *subsizes, *starts)
    content = ((old, total),)
    return Type(total * old.size, bounds, layout, c.COMBINER_SUBARRAY, integers, counts, (old,), content, old.align)


def darray(
    old: Type,
    size: int,
    rank: int,
    gsizes: Sequence[int],
    distribs: Sequence[int],
    dargs: Sequence[int],
    psizes: Sequence[int],
    order: int,
) -> Type:
    """Return one process's part of an array that is distributed over a grid of processes (MPI-4.1, 5.1.4)."""
    _check_order(order)
    if not gsizes or math.prod(psizes) != size or not 0 <= rank < size:
        raise MPIError(c.ERR_ARG, f"rank {rank} of a grid {list(psizes)} of {size} processes")
    places: list[int] = []
    left = size
    for extent in psizes:
        left //= extent
        places.append(rank // left % extent)
    dims = list(zip(gsizes, distribs, dargs, psizes, places))
    core, stride = old, old.extent
    for gsize, distrib, darg, psize, place in reversed(dims) if order == c.ORDER_C else dims:
        block = _block_size(gsize, distrib, darg, psize)
        starts = range(place * block, gsize, psize * block)
        lengths = [min(block, gsize - start) for start in starts]
        core = hindexed(resized(core, 0, stride), lengths, [start * stride for start in starts])
        stride *= gsize
    bounds = (0, math.prod(gsizes) * old.extent, *((core.true_lb, core.true_extent) if core.size else (0, 0)))
    integers = (size, rank, len(gsizes), *distribs, *dargs, *psizes, order)
    counts, content = tuple(gsizes), ((old, core.size // old.size if old.size else 0),)
    layout = _same_layout(core)
    return Type(core.size, bounds, layout, c.COMBINER_DARRAY, integers, counts, (old,), content, old.align)


def _block_size(gsize: int, distrib: int, darg: int, psize: int) -> int:
    """Return how many elements of a dimension go to one process before the next one's turn."""
    default = darg == c.DISTRIBUTE_DFLT_DARG
    if not default and darg <= 0:
        raise MPIError(c.ERR_ARG, f"distribution argument {darg} is not positive")
    if distrib == c.DISTRIBUTE_CYCLIC:
        return 1 if default else darg
    if distrib == c.DISTRIBUTE_BLOCK:
        block = -(-gsize // psize) if default else darg
        if block * psize < gsize:
            raise MPIError(c.ERR_ARG, f"blocks of {block} on {psize} processes do not cover {gsize}")
        return max(block, 1)
    if distrib != c.DISTRIBUTE_NONE:
        raise MPIError(c.ERR_ARG, f"{distrib} is not a distribution")
    if psize != 1:
        raise MPIError(c.ERR_ARG, f"a dimension that is not distributed has one process, not {psize}")
    return max(gsize, 1)
