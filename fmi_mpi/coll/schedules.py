"""Who talks to whom, and how buffers are cut: computed once for each shape and remembered.

Rules of this file:
- Functions are pure, of small integers, and cached: an algorithm looks its peers up, it does not compute them.
- Peers are returned as ranks of the communicator, trees and folds included.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

__all__ = ["Fold", "Tree", "bounds", "fold", "offsets", "tree"]


@lru_cache(maxsize=4096)
def bounds(nbytes: int, parts: int, granule: int = 1) -> tuple[int, ...]:
    """Return the ``parts + 1`` offsets that cut ``nbytes`` into blocks as even as the granule allows, larger first."""
    each, larger = divmod(nbytes // granule, parts)
    return tuple((i * each + min(i, larger)) * granule for i in range(parts + 1))


@lru_cache(maxsize=1024)
def offsets(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the offsets of blocks of ``counts`` bytes laid one after another, and their end."""
    return (0, *accumulate(counts))


class Tree(NamedTuple):
    """A rank's place in a binomial tree; relative ranks count from the root, and a subtree is a range of them."""

    relative: int
    parent: int
    """Rank of the parent; -1 at the root."""
    children: tuple[int, ...]
    """Ranks of the children, largest subtree first."""
    branches: tuple[tuple[int, int], ...]
    """For each child, its relative rank and the ranks in its subtree."""
    span: int
    """Ranks in the own subtree, this one included."""


@lru_cache(maxsize=4096)
def tree(size: int, rank: int, root: int) -> Tree:
    """Return the binomial tree over ``size`` ranks as ``rank`` sees it."""
    relative = (rank - root) % size
    reach = relative & -relative if relative else 1 << (size - 1).bit_length()
    parent = (relative - reach + root) % size if relative else -1
    branches: list[tuple[int, int]] = []
    mask = reach >> 1
    while mask:
        child = relative + mask
        if child < size:
            branches.append((child, min(mask, size - child)))
        mask >>= 1
    children = tuple((child + root) % size for child, _ in branches)
    return Tree(relative, parent, children, tuple(branches), min(reach, size - relative))


class Fold(NamedTuple):
    """A rank's place when the ranks are folded onto a power of two, neighbours in rank order joining.

    Of the first ``2 * rest`` ranks the even ones hand their data to the next rank and wait for the result.
    """

    power: int
    """Ranks that remain: the largest power of two within ``size``."""
    rest: int
    """Ranks that are folded away."""
    place: int
    """Place among the remaining ranks, in rank order; -1 for one that is folded away."""
    partner: int
    """The rank that this one is folded into or that is folded into it; -1 if neither."""
    peers: tuple[int, ...]
    """Ranks at places ``place ^ 1``, ``place ^ 2``, ``place ^ 4``, ..."""


@lru_cache(maxsize=4096)
def fold(size: int, rank: int) -> Fold:
    """Return how ``rank`` takes part in an algorithm for powers of two."""
    power = 1 << (size.bit_length() - 1)
    rest = size - power
    if rank >= 2 * rest:
        place, partner = rank - rest, -1
    elif rank % 2:
        place, partner = rank // 2, rank - 1
    else:
        return Fold(power, rest, -1, rank + 1, ())
    peers: list[int] = []
    mask = 1
    while mask < power:
        peer = place ^ mask
        peers.append(2 * peer + 1 if peer < rest else peer + rest)
        mask <<= 1
    return Fold(power, rest, place, partner, tuple(peers))
