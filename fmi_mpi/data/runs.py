"""Layouts of derived types: the runs of bytes that one element consists of.

Rules of this file:
- Runs are (offsets, lengths), int64 arrays in the order of the data, adjacent runs joined and empty ones dropped.
- Layouts are functions to be called when first needed: making a type must stay cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fmi_mpi.data.datatype import Type

__all__ = ["Layout", "Runs", "blocks", "joined", "struct"]

Runs = tuple["np.ndarray[Any, np.dtype[np.int64]]", "np.ndarray[Any, np.dtype[np.int64]]"]
Layout = Callable[[], Runs]


def joined(offsets: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> Runs:
    """Return the runs with adjacent ones joined and empty ones dropped."""
    keep = lengths > 0
    if not keep.all():
        offsets, lengths = offsets[keep], lengths[keep]
    if len(offsets) < 2:
        return offsets, lengths
    starts = np.concatenate(([True], offsets[1:] != offsets[:-1] + lengths[:-1]))
    if starts.all():
        return offsets, lengths
    return offsets[starts], np.add.reduceat(lengths, np.flatnonzero(starts))


def blocks(old: Type, displacements: Sequence[int] | np.ndarray[Any, Any], blocklengths: int | Sequence[int]) -> Runs:
    """Return the runs of blocks of ``old`` elements at byte displacements."""
    at = np.asarray(displacements, np.int64)
    counts = np.broadcast_to(np.asarray(blocklengths, np.int64), at.shape)
    if old.dense:
        return joined(at, counts * old.size)
    within = np.arange(int(counts.sum()), dtype=np.int64)
    within -= np.repeat(np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)[:-1])), counts)
    elements = np.repeat(at, counts) + within * old.extent
    offsets, lengths = old.runs
    spread = (elements[:, None] + offsets).ravel()
    return joined(spread, np.tile(lengths, len(elements)))


def struct(parts: Sequence[Type], displacements: Sequence[int], blocklengths: Sequence[int]) -> Runs:
    """Return the runs of blocks of different types at byte displacements."""
    found = [blocks(part, [at], [count]) for part, at, count in zip(parts, displacements, blocklengths)]
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return joined(np.concatenate([runs[0] for runs in found]), np.concatenate([runs[1] for runs in found]))
