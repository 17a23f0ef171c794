"""Waiting between attempts: longer each time, never in step with others, up to a deadline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from fmi_mpi.channels.base import ChannelError

__all__ = ["Backoff", "Passing", "persist"]

_T = TypeVar("_T")

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


class Passing(Exception):
    """The store cannot do it now, but may soon; the message says why."""


def persist(attempt: Callable[[], _T], patience: float, closing: threading.Event) -> _T:
    """Attempt something until it does not raise Passing any more; after ``patience`` seconds that is a ChannelError.

    Args:
        closing: set when nobody waits for it any more.
    """
    backoff = Backoff(patience)
    while True:
        try:
            return attempt()
        except Passing as error:
            if not backoff.failed():
                raise ChannelError(f"{error}, for {patience:g} s") from error
            if closing.wait(backoff.due - time.monotonic()):
                raise ChannelError("closed meanwhile") from error
