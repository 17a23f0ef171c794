"""``MPI.Win``: windows for one-sided communication, put together from chapters (MPI-4.1, chapter 12)."""

from __future__ import annotations

import sys
from typing import Self

from fmi_mpi.api.win.creation import Creation
from fmi_mpi.api.win.rma import Rma
from fmi_mpi.api.win.sync import Synchronization

__all__ = ["WIN_NULL", "Win"]


class Win(Creation, Rma, Synchronization, family=True):
    """Remote memory access context."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, win: Win | None = None) -> Self:
        return super().__new__(cls, win)

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int, /) -> memoryview:
            return self._state().memory[:]


WIN_NULL = Win()
