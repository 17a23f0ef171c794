"""Progress: moving frames while calls wait.

Rules of this file:
- Everything that touches the engine or a channel holds ``lock``.
- A wait first spins, then yields the core between polls, then blocks in the kernel until a channel, the job's
  control or another thread of this process wakes it. With more ranks than cores, or with several threads,
  spinning would only keep others from running, so the wait starts with yielding.
- Of several waiting threads one blocks in the kernel; the others wait for it on a condition.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from os import sched_yield
from typing import Protocol

from fmi_mpi.channels.base import Channel

__all__ = ["Progress", "Waitable"]

_LONGEST_SLEEP = 1.0  # seconds; a safety net only, arrivals wake the sleeper
_PATIENCE = 40
"""Looks at a board before other channels are polled again; negative where ranks outnumber cores (channels.base)."""
_LOOK = 1 << 8  # idle calls that test, between looks at the control and the timers


class Waitable(Protocol):
    """Anything with a ``done`` flag that progress sets; ``apart``: no message brings it further."""

    @property
    def done(self) -> bool: ...

    @property
    def apart(self) -> bool: ...


class Steppable(Protocol):
    """Work to be continued outside the channels' callbacks."""

    def step(self) -> None: ...


class _Condition:
    """A condition as something to wait for; it is not asked again once it was true, for it may take what it finds."""

    apart = False

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition
        self._met = False

    @property
    def done(self) -> bool:
        self._met = self._met or self._condition()
        return self._met


class Progress:
    """The progress loop of one process.

    Args:
        spin: seconds to spin in a wait. yielding: seconds to yield after that, before blocking.
    """

    def __init__(self, spin: float, yielding: float) -> None:
        self.lock = threading.RLock()
        self.ready: deque[Steppable] = deque()
        self.spin = spin
        self.yielding = yielding
        self.patience = _PATIENCE
        self.spread: Callable[[], None] = lambda: None
        self._changed = threading.Condition(self.lock)
        self._channels: Sequence[Channel] = ()
        self._polls: tuple[Callable[[], bool], ...] = ()
        self._poll = select.poll()
        self._asleep = False
        self._waits: list[Waitable] = []
        self._control = -1
        self._on_control: Callable[[], None] = lambda: None
        self._wake_read, self._wake_write = -1, -1
        self._timers: list[tuple[float, Callable[[], object]]] = []
        self._idle = _LOOK

    def attach(self, channels: Sequence[Channel], control: int, on_control: Callable[[], None]) -> None:
        """Poll these channels from now on, and the job's control descriptor (-1: none) while blocked."""
        self._channels = channels
        self._polls = tuple(channel.poll for channel in channels)
        self._control = control
        self._on_control = on_control
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._wake_read, select.POLLIN)
        if control >= 0:
            self._poll.register(control, select.POLLIN)
        for channel in channels:
            for fd, mask in channel.descriptors():
                self._poll.register(fd, mask)

    def detach(self) -> None:
        """Stop polling."""
        if self._wake_read >= 0:
            os.close(self._wake_read)
            os.close(self._wake_write)
        self._wake_read = self._wake_write = -1
        self._channels = ()
        self._polls = ()

    def poll(self) -> bool:
        """Move what can be moved now; True if anything happened. The lock is held."""
        moved = False
        for poll in self._polls:
            if poll():
                moved = True
        while self.ready:
            self.ready.popleft().step()
            moved = True
        return moved

    def once(self) -> None:
        """One poll, for calls that test; lets others run if nothing happened."""
        with self.lock:
            moved = self.poll()
        if not moved:
            self._idle -= 1
            if not self._idle:
                with self.lock:
                    self._look_around(True)
            if threading.active_count() > 1:
                time.sleep(0)
            else:
                sched_yield()

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Call ``action`` under the lock, from an MPI call that waits or tests, when so much time has passed."""
        self._timers.append((time.monotonic() + seconds, action))
        self.interrupt()

    def wait(self, what: Waitable) -> None:
        """Return when ``what`` is done."""
        if what.done:
            return
        lock = self.lock
        lock.acquire()  # "with" takes twice as long
        try:
            self._wait(what)
        finally:
            lock.release()

    def _wait(self, what: Waitable) -> None:
        """Return when ``what`` is done; the lock is held, once, so that it can be given away."""
        if self.spin:
            self._spin(what)
            if what.done:
                return
        self._waits.append(what)
        try:
            while not what.done:
                self._yield(what)
                if not what.done:
                    self._block()
        finally:
            self._waits.remove(what)

    def apart(self) -> bool:
        """Tell whether all that is waited for is something that no message brings further."""
        return bool(self._waits) and all(what.apart for what in self._waits)

    def _spin(self, what: Waitable) -> None:
        """Poll until ``what`` is done or nothing has happened for a while. In here every call counts."""
        polls, ready, now = self._polls, self.ready, time.perf_counter
        until = 0.0
        while not what.done:
            moved = False
            for poll in polls:
                if poll():
                    if what.done:
                        return
                    moved = True
            while ready:
                ready.popleft().step()
            if moved:
                until = 0.0
            elif until == 0.0:
                until = now() + self.spin
            elif now() > until:
                return

    def _yield(self, what: Waitable) -> None:
        """Poll as ``_spin`` does, letting other processes and threads run whenever nothing has happened."""
        polls, ready, now = self._polls, self.ready, time.perf_counter
        alone = threading.active_count() == 1
        until = 0.0
        while not what.done:
            moved = False
            for poll in polls:
                if poll():
                    moved = True
            while ready:
                ready.popleft().step()
                moved = True
            if moved:
                until = 0.0
                continue
            if alone:
                sched_yield()
            else:
                self.lock.release()
                time.sleep(0)
                self.lock.acquire()
            if until == 0.0:
                until = now() + self.yielding
                self.spread()
            elif now() > until:
                return

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when ``condition()``, evaluated under the lock after each poll, is true."""
        with self.lock:
            self.poll()
            self._wait(_Condition(condition))

    def interrupt(self) -> None:
        """Wake a thread of this process that is blocked in a wait."""
        if self._asleep:
            os.write(self._wake_write, b"!")

    def serve(self, active: Callable[[], bool]) -> None:
        """Do what calls would do as long as nobody calls and ``active()``; for a thread of its own (runtime.background)."""
        if not self.lock.acquire(blocking=False):
            return  # a call is making progress
        try:
            while active() and not self._asleep and (self.poll() or self._block()):
                pass
        finally:
            self.lock.release()

    def _block(self) -> bool:
        """Sleep until something may have happened; False if another thread has wanted to make progress meanwhile."""
        if self._asleep:
            self._changed.wait(_LONGEST_SLEEP)
            return False
        armed = 0
        alone = True
        try:
            for channel in self._channels:
                armed += 1
                if not channel.arm():
                    return True
            self._asleep = True
            self.lock.release()
            try:
                woken = self._poll.poll(self._longest_sleep() * 1000)
            finally:
                alone = self.lock.acquire(blocking=False)
                if not alone:
                    self.lock.acquire()
                self._asleep = False
        finally:
            for channel in self._channels[:armed]:
                channel.disarm()
            self._changed.notify_all()
        news = self._control < 0
        for fd, _ in woken:
            if fd == self._wake_read:
                os.read(fd, 4096)
            elif fd == self._control:
                news = True
        self._look_around(news)
        return alone

    def _longest_sleep(self) -> float:
        if not self._timers:
            return _LONGEST_SLEEP
        return max(0.0, min(_LONGEST_SLEEP, min(due for due, _ in self._timers) - time.monotonic()))

    def _look_around(self, news: bool) -> None:
        """See what comes by no channel: the job's control if there may be news, and the timers."""
        self._idle = _LOOK
        if news:
            self._on_control()
        if self._timers:
            now = time.monotonic()
            due = [timer for timer in self._timers if timer[0] <= now]
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for _, action in due:
                action()
