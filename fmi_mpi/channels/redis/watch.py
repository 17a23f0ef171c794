"""A look at the connection that shows that this process lives, while nobody polls.

Rules of this file:
- A thread waits for the end of the connection, not for data: as long as all is well it never runs.
- It is none of ``threading``'s: those count as threads that want to make progress (``runtime.progress``).
"""

from __future__ import annotations

import _thread
import os
import select
from collections.abc import Callable

__all__ = ["Watch"]


class Watch:
    """Calls ``broken``, from its thread, when the connection that is looked at breaks or is dropped by the server."""

    def __init__(self, broken: Callable[[], None]) -> None:
        self._broken = broken
        self._ends = select.epoll()
        self._last, self._closing = os.pipe2(os.O_CLOEXEC)
        self._ends.register(self._last, 0)  # its other end is closed by ``close``
        self._running = False

    def look_at(self, fd: int) -> None:
        """Look at this connection from now on; it is forgotten when it is closed, or has broken."""
        self._ends.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)
        if not self._running:
            self._running = True
            _thread.start_new_thread(self._run, ())

    def close(self) -> None:
        """Look no more. Idempotent."""
        if self._closing >= 0:
            os.close(self._closing)
            self._closing = -1
            if not self._running:
                self._release()

    def _run(self) -> None:
        while self._closing >= 0:
            fds = [fd for fd, _ in self._ends.poll()]
            if self._last in fds:
                break
            self._broken()
        self._release()

    def _release(self) -> None:
        self._ends.close()
        os.close(self._last)
