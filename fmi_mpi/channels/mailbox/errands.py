"""Threads that do what blocks, for a thread that must not.

Rules of this file:
- Work is done in the order of the times it is due; what is due at once, in the order given.
- Results are told by ``collect``, which the rank's own thread calls; ``fd`` is readable when there are some, if it has asked
  for that by ``arm``.
- The threads are started when there is work for them, and end when the process does.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

from fmi_mpi.channels.base import ChannelError

__all__ = ["Errands"]

Work = Callable[[], Any]
Done = Callable[[Any], None]


class Errands:
    """Work for at most ``limit`` threads; ``name`` is theirs."""

    def __init__(self, name: str, limit: int) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._name = name
        self._limit = limit
        self._threads = 0
        self._idle = 0
        self._work: list[tuple[float, int, Work, Done]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._results: deque[tuple[Done, Any]] = deque()
        self._armed = False
        self._closed = False

    def ask(self, work: Work, done: Done, delay: float = 0.0) -> None:
        """Do ``work()`` after ``delay`` seconds; ``done`` gets its result, or the ChannelError that it raised."""
        due = time.monotonic() + delay if delay else 0.0
        with self._changed:
            heapq.heappush(self._work, (due, next(self._numbers), work, done))
            if not self._idle and self._threads < self._limit and not self._closed:
                self._threads += 1
                threading.Thread(target=self._run, name=f"fmi-{self._name}", daemon=True).start()
            else:
                self._changed.notify()

    def collect(self) -> bool:
        """Tell all results that there are; True if there were any."""
        results = self._results
        if not results:
            return False
        while results:
            done, result = results.popleft()
            done(result)
        return True

    def arm(self) -> bool:
        """Make ``fd`` readable when there are results; False if there are some already."""
        self._armed = True
        return not self._results

    def disarm(self) -> None:
        """The sleep is over."""
        self._armed = False
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Do nothing more; work under way goes on, untold. Idempotent."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._work.clear()
                self._changed.notify_all()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                result = work[0]()
            except ChannelError as error:
                result = error
            except Exception as error:  # whatever an SDK may raise besides ends the channel, not the thread
                result = ChannelError(f"{self._name}: {type(error).__name__}: {error}")
            if self._closed:
                continue
            self._results.append((work[1], result))
            if self._armed:
                os.eventfd_write(self.fd, 1)

    def _next(self) -> tuple[Work, Done] | None:
        """Return the next work when it is due; None if there will be none."""
        with self._changed:
            self._idle += 1
            while not self._closed:
                pause = self._work[0][0] - time.monotonic() if self._work else None
                if pause is not None and pause <= 0:
                    self._idle -= 1
                    _, _, work, done = heapq.heappop(self._work)
                    return work, done
                self._changed.wait(pause)
            return None
