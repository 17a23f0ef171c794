"""Which of several ways is best.

Rules of this file:
- ``fast``: least time. ``cheap``: least price. ``balanced``: least product of both, so that half the time is worth twice
  the price; no weight depends on units. Of equals the cheaper, or faster, and then the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["POLICIES", "rank"]

_RANKS: Final[Mapping[str, Callable[[float, float], tuple[float, float]]]] = {
    "fast": lambda seconds, dollars: (seconds, dollars),
    "cheap": lambda seconds, dollars: (dollars, seconds),
    "balanced": lambda seconds, dollars: (seconds * dollars, seconds),
}
POLICIES: Final = tuple(_RANKS)


def rank(policy: str, seconds: float, dollars: float) -> tuple[float, float]:
    """Return what is least for the best way; ``policy`` is one of ``POLICIES``."""
    return _RANKS[policy](seconds, dollars)
