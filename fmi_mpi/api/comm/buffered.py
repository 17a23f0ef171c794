"""Buffered mode: messages are copied to memory that the user has attached (MPI-4.1, 3.6).

Rules of this file:
- A buffer belongs to a communicator, a session or the process; a send uses the nearest one.
- Only the space is accounted for: each message takes its size and BSEND_OVERHEAD until it has left. The copies
  live in memory of their own, which no caller can tell.
- Detaching waits for the messages.
"""

from __future__ import annotations

from typing import Any

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.request import Request
from fmi_mpi.constants import BSEND_OVERHEAD, ERR_BUFFER
from fmi_mpi.data.buffers import writable_bytes
from fmi_mpi.data.special import BUFFER_AUTOMATIC, BufferAutomaticType
from fmi_mpi.engine.operations import Operation, SendOp
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.process import world
from fmi_mpi.runtime.request import RequestState

__all__ = ["Attach_buffer", "BufferSpace", "Detach_buffer", "Flush_buffer", "Iflush_buffer", "flush", "reserve"]


class BufferSpace:
    """An attached buffer; ``size`` None: as much as needed (BUFFER_AUTOMATIC)."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        automatic = isinstance(buffer, BufferAutomaticType)
        self.size = None if automatic else len(writable_bytes(buffer))
        self.messages: list[tuple[SendOp, int]] = []

    def used(self) -> int:
        """Return the bytes in use, forgetting messages that have left."""
        self.messages = [(op, nbytes) for op, nbytes in self.messages if not op.done]
        return sum(nbytes for _, nbytes in self.messages)


_process: list[BufferSpace] = []


def reserve(comm: Communicator, payload: memoryview, dest: int, tag: int, flags: int = 0) -> SendOp:
    """Copy a message to the nearest buffer and send it from there; the returned operation is complete."""
    space: BufferSpace | None = comm.buffer or (_process[0] if _process else None)
    if space is None:
        raise MPIError(ERR_BUFFER, "no buffer is attached; call MPI.Attach_buffer or comm.Attach_buffer first")
    nbytes = len(payload) + BSEND_OVERHEAD
    if space.size is not None and space.used() + nbytes > space.size:
        raise MPIError(ERR_BUFFER, f"{nbytes} bytes do not fit into the attached buffer of {space.size}")
    copy = memoryview(bytes(payload))
    op = comm.isend(dest, tag, copy, len(copy), flags)
    space.messages.append((op, nbytes))
    local = SendOp(op.peer)
    local.done = True
    return local


def attach(owner: Any, buffer: Any) -> BufferSpace:
    """Return the space of a buffer for an owner that has none yet."""
    if owner is not None:
        raise MPIError(ERR_BUFFER, "a buffer is attached already; detach it first")
    return BufferSpace(BUFFER_AUTOMATIC if buffer is None else buffer)


def flush(space: BufferSpace | None) -> None:
    """Wait until all buffered messages have left."""
    if space is not None:
        for op, _ in space.messages:
            world().progress.wait(op)
        space.messages.clear()


class _Flush(Operation):
    """Complete when all messages that are in a buffer now have left."""

    def __init__(self, space: BufferSpace | None) -> None:
        self._left = 0
        for op, _ in space.messages if space is not None else ():
            if not op.done:
                op.watcher = self
                self._left += 1
        self.done = not self._left

    def completed(self, operation: Operation) -> None:
        """A message has left (engine.operations.Watcher)."""
        self._left -= 1
        self.done = not self._left


def iflush(space: BufferSpace | None) -> Request:
    """Return a request that is complete when all buffered messages have left."""
    return Request._wrap(RequestState(world(), _Flush(space)))


@boundary
def Attach_buffer(buf: Any) -> None:
    """Attach a buffer for buffered messages of this process.

    Args:
        buf: writable memory, or BUFFER_AUTOMATIC.
    """
    world()
    _process[:] = [attach(_process[0] if _process else None, buf)]


@boundary
def Detach_buffer() -> Any:
    """Wait for buffered messages, and detach and return the process's buffer."""
    world()
    if not _process:
        return None
    space = _process.pop()
    flush(space)
    return space.buffer


@boundary
def Flush_buffer() -> None:
    """Wait for buffered messages of this process."""
    flush(_process[0] if _process else None)


@boundary
def Iflush_buffer() -> Request:
    """Start waiting for buffered messages of this process."""
    return iflush(_process[0] if _process else None)
