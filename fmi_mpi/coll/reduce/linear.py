"""Reduce at the root alone, strictly from the lowest rank to the highest.

Rules of this file:
- ``send`` is the contribution and is only read; ``recv`` takes the result at the root, is unused elsewhere and may be
  None there. In place at the root: pass the same view twice.
- The result does not depend on the shape of any tree, so it is the same for every root.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Kernel, Ranks, Recv, Schedule, Send


def linear(ranks: Ranks, send: memoryview, recv: memoryview | None, kernel: Kernel, root: int) -> Schedule[None]:
    """Reduce all ranks' ``send`` into the root's ``recv``."""
    nbytes, size = len(send), ranks.size
    if not nbytes:
        return
    if ranks.rank != root:
        yield Send(root, send)
        return
    assert recv is not None
    if recv is not send:
        recv[:] = send
    memory = ranks.scratch((size - 1) * nbytes)
    parts = [memory[first : first + nbytes] for first in range(0, len(memory), nbytes)]
    parts.insert(root, recv)
    if size > 1:
        yield [Recv(peer, part) for peer, part in enumerate(parts) if peer != root]
    total = parts[0]
    for part in parts[1:]:
        kernel(total, part)
        total = part
    if total is not recv:
        recv[:] = total


def cost(size: int, nbytes: int) -> Frames:
    """P-1 messages, all to the root."""
    if not nbytes:
        return NOTHING
    return Frames(size - 1, (size - 1) * nbytes, min(size - 1, 1), (size - 1) * nbytes)
