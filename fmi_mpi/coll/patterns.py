"""Exchanges that several algorithms share.

Rules of this file:
- A pattern is a generator of steps like an algorithm, over blocks of one buffer: block i is
  ``work[cut[i]:cut[i + 1]]``.
- Reductions here do not keep the rank order: they are for commutative operations.
- A kernel is never called on nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send

__all__ = ["circulate", "doubling", "halving"]


def circulate(left: int, right: int, block: int, cut: Sequence[int], work: memoryview) -> Schedule[None]:
    """Pass all blocks around a ring; at the start this rank holds ``block`` and its left neighbour the one below."""
    blocks = len(cut) - 1
    held = work[cut[block] : cut[block + 1]]
    for _ in range(blocks - 1):
        block = (block or blocks) - 1
        arriving = work[cut[block] : cut[block + 1]]
        yield Send(right, held), Recv(left, arriving)
        held = arriving


def doubling(peers: Sequence[int], place: int, cut: Sequence[int], work: memoryview) -> Schedule[None]:
    """Gather all blocks everywhere, doubling what each holds; ``peers[k]`` is the rank at ``place ^ 2**k``."""
    width = 1
    for peer in peers:
        mine = place & -width
        other = mine ^ width
        yield (
            Send(peer, work[cut[mine] : cut[mine + width]]),
            Recv(peer, work[cut[other] : cut[other + width]]),
        )
        width <<= 1


def halving(
    ranks: Ranks,
    peers: Sequence[int],
    place: int,
    cut: Sequence[int],
    send: memoryview,
    work: memoryview,
    kernel: Kernel,
) -> Schedule[None]:
    """Reduce block ``place`` over all places into ``work``, halving the span of blocks at each exchange.

    ``send`` holds the contribution; it is only read, unless it is ``work`` itself. Other blocks of ``work`` are left
    undefined.
    """
    spare: memoryview | None = None
    low, high = 0, len(cut) - 1
    for peer in reversed(peers):
        middle = (low + high) // 2
        if place < middle:
            given = send[cut[middle] : cut[high]]
            high = middle
        else:
            given = send[cut[low] : cut[middle]]
            low = middle
        first, last = cut[low], cut[high]
        kept = work[first:last]
        if send is not work:
            yield Send(peer, given), Recv(peer, kept)
            if last > first:
                kernel(send[first:last], kept)
            send = work
        else:
            if spare is None:
                spare = ranks.scratch(last - first)
            arriving = spare[: last - first]
            yield Send(peer, given), Recv(peer, arriving)
            if last > first:
                kernel(arriving, kept)
