"""The window handle: state access, attributes, names, hints, group (MPI-4.1, 12.2.7).

Rules of this file:
- ``boundary`` of this package is the window's error boundary: its error handler decides about failures.
"""

from __future__ import annotations

from operator import index
from typing import Any

from fmi_mpi.api.attributes import Attributes
from fmi_mpi.api.buffer import buffer
from fmi_mpi.api.errhandler import Handled
from fmi_mpi.api.exception import comm_boundary as boundary
from fmi_mpi.api.group import Group
from fmi_mpi.api.info import Info, InfoImpl
from fmi_mpi.api.traits import Grouped, Hinted, Named, text
from fmi_mpi.constants import (
    ERR_ARG,
    ERR_RANK,
    ERR_WIN,
    MAX_OBJECT_NAME,
    PROC_NULL,
    WIN_BASE,
    WIN_CREATE_FLAVOR,
    WIN_DISP_UNIT,
    WIN_MODEL,
    WIN_SIZE,
    WIN_UNIFIED,
)
from fmi_mpi.data.buffers import address_of
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.group import GroupImpl
from fmi_mpi.runtime.window import Window

__all__ = ["WinCore", "boundary", "check_rank"]

_HINTS = {
    "no_locks": "false",
    "accumulate_ordering": "rar,raw,war,waw",
    "accumulate_ops": "same_op_no_op",
    "same_size": "false",
    "same_disp_unit": "false",
}
"""Hints and what holds of every window, whatever is asked for."""


def check_rank(window: Window, rank: int) -> int:
    """Return a rank as an integer; raises MPIError unless it is one of the window's or PROC_NULL."""
    rank = index(rank)
    if not 0 <= rank < window.comm.size and rank != PROC_NULL:
        raise MPIError(ERR_RANK, f"target {rank} is not a rank of a window of {window.comm.size}")
    return rank


class WinCore(Named, Hinted, Grouped, Attributes, Handled):
    """What all chapters of ``Win`` stand on."""

    __slots__ = ()

    def _state(self) -> Window:
        """Return the window's state; raises MPIError for the null window."""
        window: Window | None = self._handle
        if window is None or window.freed:
            raise MPIError(ERR_WIN, "the window is null or has been freed")
        window.world.check()
        return window

    def _attributes_of(self) -> Any:
        return self._state()

    def _errors_of(self) -> Any:
        return self._state()

    # -- attributes ------------------------------------------------------------------------------------------------

    def _predefined_attribute(self, keyval: int) -> tuple[bool, Any]:
        window = self._state()
        if keyval == WIN_BASE:
            return True, _base(window)
        if keyval == WIN_SIZE:
            return True, len(window.memory)
        if keyval == WIN_DISP_UNIT:
            return True, window.units[window.comm.rank]
        if keyval == WIN_CREATE_FLAVOR:
            return True, window.flavor
        return keyval == WIN_MODEL, WIN_UNIFIED

    @property
    @boundary
    def attrs(self) -> tuple[int, int, int]:
        """Attributes: address, size in bytes, bytes of a unit of displacement."""
        window = self._state()
        return _base(window), len(window.memory), window.units[window.comm.rank]

    @property
    @boundary
    def flavor(self) -> int:
        """Create flavor."""
        return self._state().flavor

    @property
    @boundary
    def model(self) -> int:
        """Memory model."""
        self._state()
        return WIN_UNIFIED

    @boundary
    def tomemory(self) -> buffer:
        """Return the window's memory in this process."""
        memory = self._state().memory
        return buffer._of(memory, self, null=not memory)

    # -- group -----------------------------------------------------------------------------------------------------

    @boundary
    def Get_group(self) -> Group:
        """Return the group of the processes that have made the window."""
        return Group._wrap(GroupImpl(self._state().comm.local))

    # -- name ------------------------------------------------------------------------------------------------------

    @boundary
    def Get_name(self) -> str:
        """Return the window's print name."""
        return "MPI_WIN_NULL" if self._handle is None else self._state().name

    @boundary
    def Set_name(self, name: str) -> None:
        """Set the window's print name; what is too long is cut."""
        window = self._state()
        encoded = name if isinstance(name, bytes) else text(name).encode()
        window.name = encoded[: MAX_OBJECT_NAME - 1].decode(errors="ignore")

    # -- hints -----------------------------------------------------------------------------------------------------

    @boundary
    def Set_info(self, info: Info) -> None:
        """Set hints."""
        window = self._state()
        if not isinstance(info, Info):
            raise TypeError(f"expecting Info, got {type(info).__name__}")
        if not info:
            raise MPIError(ERR_ARG, "the info object is null")
        window.info = InfoImpl({**({} if window.info is None else window.info.pairs), **dict(info.items())})

    @boundary
    def Get_info(self) -> Info:
        """Return the hints in use."""
        window = self._state()
        return Info._wrap(InfoImpl(_HINTS if window.info is None else {**window.info.pairs, **_HINTS}))


def _base(window: Window) -> int:
    return address_of(window.memory) if window.memory else 0
