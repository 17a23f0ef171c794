"""Buffers for buffered mode that are attached to a communicator (MPI-4.1, 3.6)."""

from __future__ import annotations

from typing import Any

from fmi_mpi.api.comm.buffered import attach, flush, iflush
from fmi_mpi.api.comm.core import CommCore, boundary
from fmi_mpi.api.request import Request

__all__ = ["Space"]


class Space(CommCore):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    @boundary
    def Attach_buffer(self, buf: Any) -> None:
        """Attach a buffer for buffered messages of this communicator.

        Args:
            buf: writable memory, or BUFFER_AUTOMATIC.
        """
        comm = self._state()
        comm.buffer = attach(comm.buffer, buf)

    @boundary
    def Detach_buffer(self) -> Any:
        """Wait for buffered messages, and detach and return the buffer."""
        comm = self._state()
        space, comm.buffer = comm.buffer, None
        flush(space)
        return None if space is None else space.buffer

    @boundary
    def Flush_buffer(self) -> None:
        """Wait for buffered messages."""
        flush(self._state().buffer)

    @boundary
    def Iflush_buffer(self) -> Request:
        """Start waiting for buffered messages."""
        return iflush(self._state().buffer)
