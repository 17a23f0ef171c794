"""What a channel with many sockets and deadlines turns on: an epoll descriptor and timers.

Rules of this file:
- A descriptor has one action, called with the mask; an action may forget any descriptor, its own included.
- Timers are looked at in each turn; ``after`` makes sure that there is one in time although everybody sleeps. It is asked
  for the first of them only: with hundreds of peers there are as many timers.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import socket
import time
from collections.abc import Callable

__all__ = ["READ", "WRITE", "Loop"]

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

Action = Callable[[int], None]
_NEVER = float("inf")


class Loop:
    """See the file's head.

    Args:
        after: (seconds, action): have the action called, by whoever waits, after so much time.
    """

    def __init__(self, after: Callable[[float, Callable[[], object]], None]) -> None:
        self._after = after
        self._epoll = select.epoll()
        self._actions: dict[int, Action] = {}
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._alarm = _NEVER
        self._numbers = itertools.count()

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to do."""
        return self._epoll.fileno()

    def watch(self, fd: int, mask: int, action: Action) -> None:
        """Call ``action`` whenever one of the events of ``mask`` is there; again for a descriptor: the mask changes."""
        if fd in self._actions:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._actions[fd] = action

    def forget(self, fd: int) -> None:
        """Watch this descriptor no more."""
        if self._actions.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def drop(self, sock: socket.socket) -> None:
        """Forget a socket and close it."""
        self.forget(sock.fileno())
        sock.close()

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` in so many seconds."""
        now = time.monotonic()
        heapq.heappush(self._timers, (now + seconds, next(self._numbers), action))
        self._set_alarm(now)

    def turn(self) -> bool:
        """Do what can be done; True if anything was."""
        moved = bool(self._timers) and self._ring()
        for fd, mask in self._epoll.poll(0):
            action = self._actions.get(fd)
            if action is not None:
                action(mask)
                moved = True
        return moved

    def close(self) -> None:
        """Forget everything. Idempotent."""
        self._actions.clear()
        self._timers.clear()
        if not self._epoll.closed:
            self._epoll.close()

    def _set_alarm(self, now: float) -> None:
        """See that there is a turn when the first timer is due."""
        if self._timers and self._timers[0][0] < self._alarm:
            self._alarm = self._timers[0][0]
            self._after(max(0.0, self._alarm - now), self._ring)

    def _ring(self) -> bool:
        now = time.monotonic()
        rung = False
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
            rung = True
        if self._alarm <= now:
            self._alarm = _NEVER
            self._set_alarm(now)
        return rung
