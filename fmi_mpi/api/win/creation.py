"""Making and freeing windows (MPI-4.1, 12.2).

Rules of this file:
- A window has a communicator of its own, so it outlives the one it was made from.
- All processes learn all sizes and units, so that origins can check where they access.
- Allocated windows of processes of one host are memory that they share; shared windows must be.
- Nobody returns before everybody can be accessed.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import TYPE_CHECKING, Self

import numpy as np

from fmi_mpi.api.attributes import delete_attributes
from fmi_mpi.api.buffer import buffer
from fmi_mpi.api.comm import COMM_SELF, Intracomm
from fmi_mpi.api.comm.construction import exchange
from fmi_mpi.api.errhandler import policy
from fmi_mpi.api.exception import boundary as plain_boundary
from fmi_mpi.api.info import INFO_NULL, Info, InfoImpl
from fmi_mpi.api.win.core import WinCore, boundary, check_rank
from fmi_mpi.constants import (
    ERR_DISP,
    ERR_NO_MEM,
    ERR_RMA_FLAVOR,
    ERR_RMA_SHARED,
    ERR_SIZE,
    PROC_NULL,
    WIN_FLAVOR_ALLOCATE,
    WIN_FLAVOR_CREATE,
    WIN_FLAVOR_DYNAMIC,
    WIN_FLAVOR_SHARED,
)
from fmi_mpi.data.buffers import EMPTY, writable_bytes
from fmi_mpi.data.exposure import Exposure
from fmi_mpi.data.special import BottomType
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.segments import Segment, cut
from fmi_mpi.runtime.window import Window

if TYPE_CHECKING:
    from fmi_mpi.typing import Bottom, Buffer

__all__ = ["Creation"]

_CACHE_LINE = 64


def _checked(disp_unit: int, size: int, info: Info, comm: Intracomm) -> Communicator:
    """Return the state of the communicator of a new window; raises for bad arguments."""
    if not isinstance(info, Info):
        raise TypeError(f"expecting Info, got {type(info).__name__}")
    if not isinstance(comm, Intracomm):
        raise TypeError(f"expecting Intracomm, got {type(comm).__name__}")
    state = comm._state()
    if index(disp_unit) <= 0:
        raise MPIError(ERR_DISP, f"a unit of displacement has at least one byte, not {disp_unit}")
    if index(size) < 0:
        raise MPIError(ERR_SIZE, f"the size of a window is negative: {size}")
    return state


def _private(nbytes: int) -> memoryview:
    """Return zeroed memory of this process."""
    try:
        return np.zeros(nbytes, np.uint8).data if nbytes else EMPTY
    except (MemoryError, ValueError):
        raise MPIError(ERR_NO_MEM, f"no memory for a window of {nbytes} bytes") from None


def _shared(comm: Communicator, sizes: list[int], alignment: int) -> dict[int, Exposure] | None:
    """Return the parts of memory that all processes share, None if they cannot share any."""
    if any(host != comm.hosts[0] for host in comm.hosts):
        return None
    starts, total = cut(sizes, alignment)
    segment: Segment | None = None
    memory: memoryview | None = None
    offer = (0, -1, 0)
    if comm.rank == 0:
        try:
            segment = Segment(total)
            memory, offer = segment.memory, (segment.pid, segment.fd, segment.inode)
        except (OSError, AttributeError):
            pass
    pid, fd, inode = exchange(comm, *offer)[0]
    if comm.rank and fd >= 0:
        try:
            memory = Segment.map(pid, fd, inode, total)
        except (OSError, ValueError):
            pass
    agreed = all(row[0] for row in exchange(comm, int(memory is not None)))
    if segment is not None:
        segment.close()
    if memory is None or not agreed:
        return None
    return {rank: Exposure(memory[start : start + sizes[rank]]) for rank, start in enumerate(starts)}


class Creation(WinCore):
    """Chapter mixin of ``Win``."""

    __slots__ = ()

    @classmethod
    def _new(
        cls,
        comm: Communicator,
        flavor: int,
        size: int,
        disp_unit: int,
        info: Info,
        memory: Callable[[list[int]], tuple[Exposure, dict[int, Exposure]]],
    ) -> Self:
        """Return a new window; ``memory`` makes this process's and what it reaches itself of the sizes of all."""
        rows = exchange(comm, comm.world.new_context(), index(size), index(disp_unit))
        sizes = [row[1] for row in rows]
        exposure, segments = memory(sizes)
        own = Communicator(comm.world, rows[0][0], comm.local)
        window = Window(own, flavor, exposure, sizes, [row[2] for row in rows], segments)
        window.errhandler = policy()
        window.info = InfoImpl(dict(info.items())) if info else None
        if window.remote:
            window.world.background.hold()
            window.barrier()
        return cls._wrap(window)

    @classmethod
    @plain_boundary
    def Create(
        cls, memory: Buffer | Bottom, disp_unit: int = 1, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF
    ) -> Self:
        """Make a window of memory that this process has (MPI-4.1, 12.2.1).

        Args:
            memory: what the others may access; BOTTOM or None for nothing.
            disp_unit: bytes of a unit of displacement.
            info: hints.
            comm: the processes that take part.
        """
        view = EMPTY if memory is None or isinstance(memory, BottomType) else writable_bytes(memory)
        state = _checked(disp_unit, len(view), info, comm)
        exposure = Exposure(view)
        own = {state.rank: exposure}
        return cls._new(state, WIN_FLAVOR_CREATE, len(view), disp_unit, info, lambda _: (exposure, own))

    @classmethod
    @plain_boundary
    def Allocate(cls, size: int, disp_unit: int = 1, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF) -> Self:
        """Make a window of new memory (MPI-4.1, 12.2.2).

        Args:
            size: bytes in this process.
            disp_unit: bytes of a unit of displacement.
            info: hints.
            comm: the processes that take part.
        """
        state = _checked(disp_unit, size, info, comm)

        def allocate(sizes: list[int]) -> tuple[Exposure, dict[int, Exposure]]:
            shared = _shared(state, sizes, _CACHE_LINE) if state.size > 1 else None
            segments = shared or {state.rank: Exposure(_private(sizes[state.rank]))}
            return segments[state.rank], segments

        return cls._new(state, WIN_FLAVOR_ALLOCATE, size, disp_unit, info, allocate)

    @classmethod
    @plain_boundary
    def Allocate_shared(
        cls, size: int, disp_unit: int = 1, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF
    ) -> Self:
        """Make a window of new memory that its processes share, one's part after another's (MPI-4.1, 12.2.3).

        Args:
            size: bytes in this process.
            disp_unit: bytes of a unit of displacement.
            info: hints.
            comm: processes of one host.
        """
        state = _checked(disp_unit, size, info, comm)

        def allocate(sizes: list[int]) -> tuple[Exposure, dict[int, Exposure]]:
            segments = _shared(state, sizes, 1)
            if segments is None:
                raise MPIError(
                    ERR_RMA_SHARED,
                    "the processes cannot share memory; Split_type(COMM_TYPE_SHARED) makes groups that can",
                )
            return segments[state.rank], segments

        return cls._new(state, WIN_FLAVOR_SHARED, size, disp_unit, info, allocate)

    @classmethod
    @plain_boundary
    def Create_dynamic(cls, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF) -> Self:
        """Make a window without memory, which `Attach` adds (MPI-4.1, 12.2.4).

        Args:
            info: hints.
            comm: the processes that take part.
        """
        state = _checked(1, 0, info, comm)
        exposure = Exposure(None)
        own = {state.rank: exposure}
        return cls._new(state, WIN_FLAVOR_DYNAMIC, 0, 1, info, lambda _: (exposure, own))

    @boundary
    def Attach(self, memory: Buffer) -> None:
        """Add memory to a dynamic window; its displacements are addresses."""
        regions = self._state().regions()
        regions.attach(writable_bytes(memory))

    @boundary
    def Detach(self, memory: Buffer) -> None:
        """Take memory out of a dynamic window."""
        regions = self._state().regions()
        regions.detach(writable_bytes(memory))

    @boundary
    def Shared_query(self, rank: int) -> tuple[buffer, int]:
        """Return a rank's memory as this process can access it, empty if it cannot, and its unit of displacement.

        Args:
            rank: PROC_NULL stands for the lowest rank that has memory.
        """
        window = self._state()
        if window.flavor == WIN_FLAVOR_DYNAMIC:
            raise MPIError(ERR_RMA_FLAVOR, "a dynamic window has no shared memory")
        rank = check_rank(window, rank)
        if rank == PROC_NULL:
            rank = next((rank for rank, size in enumerate(window.sizes) if size), 0)
        segment = window.segments.get(rank)
        if segment is None:
            return buffer._of(EMPTY, self, null=True), 0
        return buffer._of(segment.memory, self, null=not segment.memory), window.units[rank]

    @boundary
    def Free(self) -> None:
        """Free the window, when all processes do (MPI-4.1, 12.2.5)."""
        window = self._state()
        window.check_idle()
        delete_attributes(self)
        window.free()
        if window.remote:
            window.world.background.release()
        self._handle = None
