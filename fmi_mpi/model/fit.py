"""A channel's parameters from what was measured on it.

Rules of this file:
- Small and large messages count alike: relative errors are least, not absolute ones.
- A store that is looked into every so often delays messages by half of that; it is taken out of alpha.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmi_mpi.model.profile import Crowd

if TYPE_CHECKING:
    from fmi_mpi.coll.cost import Frames

__all__ = ["crowd", "line", "overhead", "reading"]

_TINY = 1e-15


def line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return alpha and bandwidth of messages with these pairs of bytes and seconds."""
    rows = [(1 / seconds, nbytes / seconds) for nbytes, seconds in points]
    aa, ab, bb = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = sum(row[0] for row in rows), sum(row[1] for row in rows)
    determinant = aa * bb - ab * ab
    alpha = (a * bb - b * ab) / determinant if determinant else 0.0
    beta = (b * aa - a * ab) / determinant if determinant else 0.0
    if alpha <= 0:
        alpha = min(seconds for _, seconds in points)
    if beta <= 0:
        beta = statistics.median(max(seconds - alpha, _TINY) / nbytes for nbytes, seconds in points)
    return alpha, 1 / max(beta, _TINY)


def overhead(seconds: float, sends: int, alpha: float) -> float:
    """Return what each further message of a burst takes, from the time of so many there and one back."""
    return max(0.0, (seconds - 2 * alpha) / (sends - 1))


def reading(ranks: int, together: Sequence[tuple[Frames, float]]) -> float:
    """Return what each read on a board takes: a small allreduce is a barrier in which every rank reads every other's."""
    (_, barrier), (_, allreduce) = together[:2]
    return max(0.0, (allreduce - barrier) / (ranks * (ranks - 1)))


def crowd(ranks: int, together: Sequence[tuple[Frames, float]], read: float | None = None) -> Crowd:
    """Return what the ranks share, from collectives that all of them take part in.

    Args:
        together: what each sends, and its seconds: a barrier, the smallest allreduce, others.
        read: what each read on a board takes, None if there is none.
    """
    small = together[:2] if read is None else together[:1]
    message = math.exp(statistics.fmean(math.log(seconds / frames.messages) for frames, seconds in small))
    rest = []
    for frames, seconds in together[2:]:
        reads = 0.0 if read is None else 2 * (ranks - 1) * read
        rest.append((seconds - frames.messages * message - reads) / frames.nbytes)
    positive = [beta for beta in rest if beta > 0]
    beta = math.exp(statistics.fmean(map(math.log, positive))) if positive else _TINY
    return Crowd(ranks, message, 1 / max(beta, _TINY))
