"""Memory order between processes that share memory.

Rules of this file:
- ``fence()`` orders every access before it with every access after it. It releases and takes a lock that nobody
  else uses: both are atomic operations, and a release followed by an acquire of the same word is a full barrier
  on x86-64 as on arm64.
- x86-64 keeps the order of stores and the order of loads, so data and the counter that announces them need no
  fence there (``WEAK`` is False). Elsewhere they do.
- What even x86-64 reorders is a store and a later load. "I publish, then look whether you sleep" against "I say that I
  sleep, then look whether you have published" needs a barrier on both sides. ``membarrier`` lets the one who goes
  to sleep pay for both, so that sending costs nothing; where the kernel has none, senders fence.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from typing import Final

__all__ = ["WEAK", "Fence", "enrol", "expedite"]

_MACHINE: Final = platform.machine()
WEAK: Final = _MACHINE not in ("x86_64", "AMD64", "i386", "i686")

_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283}.get(_MACHINE, -1)
_GLOBAL_EXPEDITED: Final = 1 << 1
_REGISTER_GLOBAL_EXPEDITED: Final = 1 << 2


class Fence:
    """A full memory barrier; one per channel, since the lock must have one user only."""

    __slots__ = ("_acquire", "_release")

    def __init__(self) -> None:
        lock = threading.Lock()
        lock.acquire()
        self._acquire = lock.acquire
        self._release = lock.release

    def __call__(self) -> None:
        self._release()
        self._acquire()


_syscall: Final = ctypes.CDLL(None).syscall


def _membarrier(command: int) -> bool:
    return _MEMBARRIER >= 0 and bool(_syscall(_MEMBARRIER, command, 0, 0) == 0)


def enrol() -> bool:
    """Let others' ``expedite`` act on this process; False if the kernel cannot."""
    return _membarrier(_REGISTER_GLOBAL_EXPEDITED)


def expedite() -> None:
    """Be a full barrier in every process that is enrolled, this one included (membarrier(2))."""
    _membarrier(_GLOBAL_EXPEDITED)
