"""What algorithms on a board have in common: reducing and collecting what ranks have shared.

Rules of this file:
- All ranks reduce in the same grouping, from the highest rank down, unless the operation commutes and one rank alone
  computes the part: then it begins with its own contribution, which needs no copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from fmi_mpi.coll.steps import INLINE, Fetch, Kernel, Ranks, Schedule, Share

__all__ = ["collect", "fold_fetched", "fold_part", "fold_views"]

PIECE: Final = 1 << 17
"""Bytes that are fetched and reduced at a time, so that they are still in the cache."""


def fold_views(share: Share, peers: Sequence[int], into: memoryview, kernel: Kernel, start: int = 0) -> None:
    """Reduce what ``peers`` have shared, from byte ``start`` on, in this order into ``into``; all of it is inline."""
    stop = start + len(into)
    view = share.view
    into[:] = view(peers[-1], start, stop)
    for peer in reversed(peers[:-1]):
        kernel(view(peer, start, stop), into)


def fold_fetched(
    ranks: Ranks,
    share: Share,
    peers: Sequence[int],
    into: memoryview,
    kernel: Kernel,
    start: int = 0,
    fresh: bool = True,
) -> Schedule[None]:
    """Do what ``fold_views`` does, for shares of any size; ``into`` is not what this rank shares.

    Args:
        fresh: ``into`` has nothing yet; otherwise what ``peers`` have shared is reduced into what it has.
    """
    spare = ranks.scratch(min(PIECE, len(into)) // kernel.granule * kernel.granule or kernel.granule)
    order = tuple(reversed(peers))
    for first in range(0, len(into), len(spare)):
        total = into[first : first + len(spare)]
        part = spare[: len(total)]
        rest = order
        if fresh:
            yield Fetch(share, order[0], start + first, total)
            rest = order[1:]
        for peer in rest:
            yield Fetch(share, peer, start + first, part)
            kernel(part, total)


def fold_part(
    ranks: Ranks, share: Share, send: memoryview, into: memoryview, kernel: Kernel, start: int
) -> Schedule[None]:
    """Reduce all ranks' ``send``, shared in one round, from byte ``start`` on; ``into`` may be this part of ``send``."""
    if not into:
        return
    size, rank = ranks.size, ranks.rank
    if len(send) <= INLINE:
        fold_views(share, range(size), into, kernel, start)
    elif kernel.commutative:
        into[:] = send[start : start + len(into)]
        others = (*reversed(range(rank)), *reversed(range(rank + 1, size)))  # in the end the next rank comes first
        yield from fold_fetched(ranks, share, others, into, kernel, start, fresh=False)
    else:
        total = ranks.scratch(len(into))
        yield from fold_fetched(ranks, share, range(size), total, kernel, start)
        into[:] = total


def collect(share: Share, blocks: Iterable[tuple[int, memoryview]]) -> Schedule[None]:
    """Fetch, for each (peer, block), the whole block from what the peer has shared."""
    for peer, block in blocks:
        if block:
            yield Fetch(share, peer, 0, block)
