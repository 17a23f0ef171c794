"""Barrier on a board: everybody says that it is here, and looks whether all are.

Rules of this file:
- For ranks that share a board.
"""

from __future__ import annotations

from fmi_mpi.coll.cost import NOTHING, Frames
from fmi_mpi.coll.steps import Ranks, Schedule, Share


def shared(ranks: Ranks) -> Schedule[None]:
    """Wait until all ranks have come here."""
    if ranks.size > 1:
        yield Share()


def cost(size: int, nbytes: int) -> Frames:
    """One round."""
    return NOTHING if size == 1 else Frames(size, 0, 1, 0)
