"""Where ranks run that outnumber the cores.

Rules of this file:
- Ranks that yield to each other every few microseconds look busy in their caches to the system's scheduler, which then
  leaves them together on one core while another is idle. So each moves to a core of its own choice now and then.
- Nobody is bound: the set of cores that the process may use is what it was, before and after.
"""

from __future__ import annotations

import os
import time

__all__ = ["Spreader"]

_INTERVAL = 0.02  # seconds


class Spreader:
    """Moves the calling thread of rank ``number`` of this host to the core that is its share."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._next = 0.0

    def __call__(self) -> None:
        """Move, unless it was done a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _INTERVAL
        try:
            allowed = os.sched_getaffinity(0)
            if len(allowed) > 1:
                cores = sorted(allowed)
                os.sched_setaffinity(0, (cores[self._number % len(cores)],))
                os.sched_setaffinity(0, allowed)
        except OSError:
            self._next = float("inf")  # a sandbox that forbids it
