"""Type constructors (MPI-4.1, 5.1).

Rules of this file:
- Each returns a new ``Type`` whose contents are what it was made from, so that it can be decoded and made again.
- Bounds are those of the standard: over all elements placed; a struct is padded to its alignment as C would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fmi_mpi import constants as c
from fmi_mpi.data import runs
from fmi_mpi.data.datatype import Type
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


def _check_count(*counts: int) -> None:
    for count in counts:
        if count < 0:
            raise MPIError(c.ERR_COUNT, f"a count is negative: {count}")


def _times(primitives: Sequence[tuple[Type, int]], old: Type, count: int) -> list[tuple[Type, int]]:
    """Return the primitives of ``count`` old elements, in few entries."""
    pieces = list(old.primitives or [(old, 1)])
    if len(pieces) == 1:
        return [(pieces[0][0], pieces[0][1] * count)] if count else []
    return pieces * min(count, 1024)


def _bounds(
    old: Type, displacements: Sequence[int], blocklengths: Sequence[int]
) -> tuple[int, int, int, int, int, int]:
    """Return (size, lb, ub, true_lb, true_ub, elements) of blocks of old elements at byte displacements."""
    lows: list[int] = []
    highs: list[int] = []
    total = 0
    for at, count in zip(displacements, blocklengths):
        total += count
        if count or not old.size:
            reach = (count - 1) * old.extent if count else 0
            lows.append(at + min(reach, 0))
            highs.append(at + max(reach, 0))
    if not lows:
        return 0, 0, 0, 0, 0, 0
    low, high = min(lows), max(highs)
    return (
        total * old.size,
        low + old.lb,
        high + old.lb + old.extent,
        low + old.true_lb,
        high + old.true_lb + old.true_extent,
        total,
    )


def _blocks(
    old: Type,
    displacements: Sequence[int],
    blocklengths: Sequence[int],
    combiner: int,
    counts: tuple[int, ...],
) -> Type:
    size, lb, ub, true_lb, true_ub, total = _bounds(old, displacements, blocklengths)
    return Type(
        size,
        lb,
        ub - lb,
        true_lb,
        true_ub - true_lb,
        lambda: runs.blocks(old, displacements, blocklengths),
        combiner,
        counts=counts,
        parts=(old,),
        primitives=_times((), old, total),
        align=old.align,
    )


def dup(old: Type) -> Type:
    """Return a copy of a type."""
    new = Type(
        old.size,
        old.lb,
        old.extent,
        old.true_lb,
        old.true_extent,
        old.layout,
        c.COMBINER_DUP,
        parts=(old,),
        primitives=old.primitives or [(old, 1)],
        align=old.align,
    )
    new.char, new.string, new.code = old.char, old.string, old.code
    return new


def contiguous(old: Type, count: int) -> Type:
    """Return ``count`` elements one after another."""
    _check_count(count)
    reach = (count - 1) * old.extent if count else 0
    low, high = min(reach, 0), max(reach, 0)
    new = Type(
        count * old.size,
        old.lb + low if count else 0,
        (old.extent + high - low) if count else 0,
        old.true_lb + low if count else 0,
        (old.true_extent + high - low) if count else 0,
        lambda: runs.blocks(old, [0], [count]),
        c.COMBINER_CONTIGUOUS,
        counts=(count,),
        parts=(old,),
        primitives=_times((), old, count),
        align=old.align,
    )
    if old.dense and count:
        new.layout = None
    return new


def _strided(old: Type, count: int, blocklength: int, stride: int, combiner: int, given: int) -> Type:
    _check_count(count, blocklength)
    ends = (0, (count - 1) * stride) if count else ()
    _, lb, ub, true_lb, true_ub, _ = _bounds(old, ends, [blocklength] * len(ends))
    if count and not blocklength:
        low, high = min(ends), max(ends)
        lb, ub, true_lb, true_ub = low, high, low, high
    return Type(
        count * blocklength * old.size,
        lb,
        ub - lb,
        true_lb,
        true_ub - true_lb,
        lambda: runs.blocks(old, np.arange(count, dtype=np.int64) * stride, blocklength),
        combiner,
        counts=(count, blocklength, given),
        parts=(old,),
        primitives=_times((), old, count * blocklength),
        align=old.align,
    )


def vector(old: Type, count: int, blocklength: int, stride: int) -> Type:
    """Return ``count`` blocks, ``stride`` elements apart."""
    return _strided(old, count, blocklength, stride * old.extent, c.COMBINER_VECTOR, stride)


def hvector(old: Type, count: int, blocklength: int, stride: int) -> Type:
    """Return ``count`` blocks, ``stride`` bytes apart."""
    return _strided(old, count, blocklength, stride, c.COMBINER_HVECTOR, stride)


def indexed(old: Type, blocklengths: Sequence[int], displacements: Sequence[int]) -> Type:
    """Return blocks of different lengths at displacements in elements."""
    _check_count(*blocklengths)
    counts = (len(blocklengths), *blocklengths, *displacements)
    return _blocks(old, [at * old.extent for at in displacements], blocklengths, c.COMBINER_INDEXED, counts)


def hindexed(old: Type, blocklengths: Sequence[int], displacements: Sequence[int]) -> Type:
    """Return blocks of different lengths at displacements in bytes."""
    _check_count(*blocklengths)
    counts = (len(blocklengths), *blocklengths, *displacements)
    return _blocks(old, displacements, blocklengths, c.COMBINER_HINDEXED, counts)


def indexed_block(old: Type, blocklength: int, displacements: Sequence[int]) -> Type:
    """Return blocks of one length at displacements in elements."""
    _check_count(blocklength)
    counts = (len(displacements), blocklength, *displacements)
    at = [place * old.extent for place in displacements]
    return _blocks(old, at, [blocklength] * len(at), c.COMBINER_INDEXED_BLOCK, counts)


def hindexed_block(old: Type, blocklength: int, displacements: Sequence[int]) -> Type:
    """Return blocks of one length at displacements in bytes."""
    _check_count(blocklength)
    counts = (len(displacements), blocklength, *displacements)
    return _blocks(old, displacements, [blocklength] * len(displacements), c.COMBINER_HINDEXED_BLOCK, counts)


def struct(blocklengths: Sequence[int], displacements: Sequence[int], parts: Sequence[Type]) -> Type:
    """Return blocks of different types at displacements in bytes."""
    _check_count(*blocklengths)
    size = 0
    align = 1
    bounds: list[tuple[int, int, int, int]] = []
    primitives: list[tuple[Type, int]] = []
    explicit = False
    for count, at, part in zip(blocklengths, displacements, parts):
        nbytes, lb, ub, true_lb, true_ub, _ = _bounds(part, [at], [count])
        if not count:
            continue
        size += nbytes
        bounds.append((lb, ub, true_lb, true_ub))
        primitives += _times((), part, count)
        align = max(align, part.align)
        explicit = explicit or _is_resized(part)
    lb = min((one[0] for one in bounds), default=0)
    ub = max((one[1] for one in bounds), default=0)
    if not explicit and align > 1:
        ub += -(ub - lb) % align
    true_lb = min((one[2] for one in bounds), default=0)
    true_ub = max((one[3] for one in bounds), default=0)
    return Type(
        size,
        lb,
        ub - lb,
        true_lb,
        true_ub - true_lb,
        lambda: runs.struct(parts, displacements, blocklengths),
        c.COMBINER_STRUCT,
        counts=(len(blocklengths), *blocklengths, *displacements),
        parts=tuple(parts),
        primitives=primitives,
        align=align,
    )


def _is_resized(old: Type) -> bool:
    return old.combiner in (c.COMBINER_RESIZED, c.COMBINER_SUBARRAY, c.COMBINER_DARRAY) or any(
        _is_resized(part) for part in old.parts
    )


def resized(old: Type, lb: int, extent: int) -> Type:
    """Return a type with new bounds."""
    return Type(
        old.size,
        lb,
        extent,
        old.true_lb,
        old.true_extent,
        lambda: old.runs,
        c.COMBINER_RESIZED,
        counts=(lb, extent),
        parts=(old,),
        primitives=old.primitives or [(old, 1)],
        align=old.align,
    )


def _placed(old: Type, core: Type, full: int, **made: tuple[int, ...] | int) -> Type:
    """Return ``core`` with bounds 0 and ``full`` bytes: the form of subarray and darray."""
    return Type(
        core.size,
        0,
        full,
        core.true_lb,
        core.true_extent,
        lambda: core.runs,
        parts=(old,),
        primitives=_times((), old, core.size // old.size if old.size else 0),
        align=old.align,
        **made,  # type: ignore[arg-type]
    )


def subarray(old: Type, sizes: Sequence[int], subsizes: Sequence[int], starts: Sequence[int], order: int) -> Type:
    """Return the part of an array that begins at ``starts`` and has ``subsizes``."""
    if order not in (c.ORDER_C, c.ORDER_F):
        raise MPIError(c.ERR_ARG, f"order {order} is neither ORDER_C nor ORDER_F")
    dims = list(zip(sizes, subsizes, starts))
    core, stride, start = old, old.extent, 0
    for size, subsize, first in reversed(dims) if order == c.ORDER_C else dims:
        core = hvector(core, subsize, 1, stride) if core is not old else contiguous_strided(old, subsize, stride)
        start += first * stride
        stride *= size
    core = hindexed(core, [1], [start])
    return _placed(
        old,
        core,
        math.prod(sizes) * old.extent,
        combiner=c.COMBINER_SUBARRAY,
        integers=(len(sizes), order),
        counts=(*sizes, *subsizes, *starts),
    )


def contiguous_strided(old: Type, count: int, stride: int) -> Type:
    """Return the innermost dimension of an array."""
    return contiguous(old, count) if stride == old.extent else hvector(old, count, 1, stride)


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
    """Return this process's part of an array that is distributed over a grid of processes (MPI-4.1, 5.1.4)."""
    if order not in (c.ORDER_C, c.ORDER_F):
        raise MPIError(c.ERR_ARG, f"order {order} is neither ORDER_C nor ORDER_F")
    if math.prod(psizes) != size or not 0 <= rank < size:
        raise MPIError(c.ERR_ARG, f"rank {rank} of a grid {list(psizes)} of {size} processes")
    coordinates: list[int] = []
    rest, left = rank, size
    for extent in psizes:
        left //= extent
        coordinates.append(rest // left)
        rest %= left
    dims = list(zip(gsizes, distribs, dargs, psizes, coordinates))
    core, stride, start = old, old.extent, 0
    for gsize, distrib, darg, psize, place in reversed(dims) if order == c.ORDER_C else dims:
        core = _distributed(core, stride, gsize, distrib, darg, psize, place)
        stride *= gsize
    core = hindexed(core, [1], [start])
    return _placed(
        old,
        core,
        math.prod(gsizes) * old.extent,
        combiner=c.COMBINER_DARRAY,
        integers=(size, rank, len(gsizes), *distribs, *dargs, *psizes, order),
        counts=tuple(gsizes),
    )


def _distributed(core: Type, stride: int, gsize: int, distrib: int, darg: int, psize: int, place: int) -> Type:
    """Return one dimension: the blocks of ``core`` that fall to process ``place`` of ``psize``."""
    if distrib == c.DISTRIBUTE_NONE:
        if psize != 1:
            raise MPIError(c.ERR_ARG, "a dimension that is not distributed has one process")
        block = gsize
    elif distrib == c.DISTRIBUTE_BLOCK:
        block = -(-gsize // psize) if darg == c.DISTRIBUTE_DFLT_DARG else darg
        if block * psize < gsize:
            raise MPIError(c.ERR_ARG, f"blocks of {block} on {psize} processes do not cover {gsize}")
    elif distrib == c.DISTRIBUTE_CYCLIC:
        block = 1 if darg == c.DISTRIBUTE_DFLT_DARG else darg
    else:
        raise MPIError(c.ERR_ARG, f"{distrib} is not a distribution")
    if block <= 0:
        raise MPIError(c.ERR_ARG, f"distribution argument {darg} is not positive")
    starts = range(place * block, gsize, psize * block)
    lengths = [min(block, gsize - first) for first in starts]
    spaced = core if core.extent == stride and core.lb == 0 else resized(core, 0, stride)
    return hindexed(spaced, lengths, [first * stride for first in starts])
