"""Waiting between attempts: longer each time, never in step with others, up to a deadline."""

from __future__ import annotations

import random
import time

__all__ = ["Backoff"]

_FIRST = 0.02
_LONGEST = 1.0


class Backoff:
    """Attempts within ``patience`` seconds from now; ``due`` is when the next one may be made (``time.monotonic``)."""

    __slots__ = ("_pause", "due", "until")

    def __init__(self, patience: float) -> None:
        self.due = time.monotonic()
        self.until = self.due + patience
        self._pause = _FIRST

    def failed(self) -> bool:
        """An attempt has failed; False if there is no time for another one."""
        now = time.monotonic()
        self.due = now + self._pause * random.uniform(0.5, 1.0)
        self._pause = min(2 * self._pause, _LONGEST)
        return now < self.until
