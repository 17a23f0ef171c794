"""``MPI.Win``: windows for one-sided communication, put together from chapters (MPI-4.1, chapter 12).

Rules of this file:
- A window exports its memory as a buffer; the null window's is empty where Python cannot let it fail (before 3.12).
"""

from __future__ import annotations

import sys
from typing import Self

from fmi_mpi.api.win.core import boundary
from fmi_mpi.api.win.creation import Creation
from fmi_mpi.api.win.rma import Rma
from fmi_mpi.api.win.sync import Synchronization
from fmi_mpi.data.buffers import EMPTY
from fmi_mpi.data.special import exporting_by
from fmi_mpi.runtime.window import Window

__all__ = ["WIN_NULL", "Win"]


class Win(Creation, Rma, Synchronization, family=True):
    """Remote memory access context."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, win: Win | None = None) -> Self:
        return super().__new__(cls, win)

    if sys.version_info >= (3, 12):

        @boundary
        def __buffer__(self, flags: int, /) -> memoryview:
            return self._state().memory[:]


def _memory_of(win: Win) -> memoryview:
    window: Window | None = win._handle
    return EMPTY if window is None else window.memory


exporting_by(Win, _memory_of)
WIN_NULL = Win()
