"""All-to-all by Bruck's algorithm (1997): log2(P) messages per rank instead of P-1, for tiny blocks.

Rules of this file:
- ``send`` and ``recv`` are buffers of P blocks in rank order and do not overlap.
- Block i is the one that has to move i ranks up; in round k those move on whose i has bit k set. A block is not moved
  in memory: only the view to where it last arrived changes. Blocks being tiny, a message is joined before it leaves.
"""

from __future__ import annotations

from functools import lru_cache

from fmi_mpi.coll.cost import Frames, log_ceil
from fmi_mpi.coll.steps import Ranks, Recv, Schedule, Send


@lru_cache(maxsize=1024)
def _moving(size: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(i for i in range(size) if i >> k & 1) for k in range(log_ceil(size)))


def bruck(ranks: Ranks, send: memoryview, recv: memoryview) -> Schedule[None]:
    """Send block i of ``send`` to rank i, and receive rank i's block for this one as block i of ``recv``."""
    size, rank = ranks.size, ranks.rank
    nbytes = len(send) // size
    blocks = [send[i * nbytes : (i + 1) * nbytes] for i in range(size)]
    blocks = blocks[rank:] + blocks[:rank]
    for k, moving in enumerate(_moving(size)):
        arriving = ranks.scratch(len(moving) * nbytes)
        leaving = memoryview(b"".join([blocks[i] for i in moving]))
        yield Send((rank + (1 << k)) % size, leaving), Recv((rank - (1 << k)) % size, arriving)
        for position, i in enumerate(moving):
            blocks[i] = arriving[position * nbytes : (position + 1) * nbytes]
    for i, block in enumerate(blocks):
        source = (rank - i) % size
        recv[source * nbytes : (source + 1) * nbytes] = block


def cost(size: int, nbytes: int) -> Frames:
    """log2(P) rounds, each with the blocks that have its bit set."""
    rounds = log_ceil(size)
    moved = sum(map(len, _moving(size))) * nbytes
    return Frames(size * rounds, size * moved, rounds, moved)
