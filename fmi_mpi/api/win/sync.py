"""Synchronisation of windows: fences, groups, locks (MPI-4.1, 12.5).

Rules of this file:
- An assertion that a call does not know is an error of class ERR_ASSERT; those that only make things faster are ignored.
"""

from __future__ import annotations

from typing import Literal

from fmi_mpi.api.group import Group
from fmi_mpi.api.win.core import WinCore, boundary, check_rank
from fmi_mpi.constants import (
    ERR_ASSERT,
    ERR_GROUP,
    ERR_LOCKTYPE,
    LOCK_EXCLUSIVE,
    LOCK_SHARED,
    MODE_NOCHECK,
    MODE_NOPRECEDE,
    MODE_NOPUT,
    MODE_NOSTORE,
    MODE_NOSUCCEED,
    PROC_NULL,
    UNDEFINED,
)
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.window import Window

__all__ = ["Synchronization"]

_FENCE = MODE_NOSTORE | MODE_NOPUT | MODE_NOPRECEDE | MODE_NOSUCCEED
_POST = MODE_NOCHECK | MODE_NOSTORE | MODE_NOPUT


def _check_assertion(assertion: int, known: int) -> None:
    if assertion & ~known:
        raise MPIError(ERR_ASSERT, f"{assertion:#x} has an assertion that this call does not know")


def _ranks(window: Window, group: Group) -> list[int]:
    """Return the ranks of a group's processes in the window."""
    if not isinstance(group, Group):
        raise TypeError(f"expecting Group, got {type(group).__name__}")
    positions = {proc: rank for rank, proc in enumerate(window.comm.local)}
    ranks = [positions.get(proc, UNDEFINED) for proc in group._state().procs]
    if UNDEFINED in ranks:
        raise MPIError(ERR_GROUP, "the group has a process that the window has not")
    return ranks


class Synchronization(WinCore):
    """Chapter mixin of ``Win``."""

    __slots__ = ()

    # -- fence -----------------------------------------------------------------------------------------------------

    @boundary
    def Fence(self, assertion: int = 0) -> None:
        """Complete all accesses to the window, and let others follow; all processes call it (MPI-4.1, 12.5.1).

        Args:
            assertion: any of MODE_NOSTORE, MODE_NOPUT, MODE_NOPRECEDE, MODE_NOSUCCEED.
        """
        window = self._state()
        _check_assertion(assertion, _FENCE)
        window.fence(assertion)

    # -- start, complete, post, wait -------------------------------------------------------------------------------

    @boundary
    def Start(self, group: Group, assertion: int = 0) -> None:
        """Begin to access the windows of a group, whose processes call `Post` (MPI-4.1, 12.5.2).

        Args:
            assertion: 0, or MODE_NOCHECK if they have done so.
        """
        window = self._state()
        _check_assertion(assertion, MODE_NOCHECK)
        window.start(_ranks(window, group), not assertion & MODE_NOCHECK)

    @boundary
    def Complete(self) -> None:
        """End the accesses that `Start` has begun."""
        self._state().complete()

    @boundary
    def Post(self, group: Group, assertion: int = 0) -> None:
        """Begin to let a group access the window, whose processes call `Start` (MPI-4.1, 12.5.2).

        Args:
            assertion: any of MODE_NOCHECK, MODE_NOSTORE, MODE_NOPUT.
        """
        window = self._state()
        _check_assertion(assertion, _POST)
        window.post(_ranks(window, group), not assertion & MODE_NOCHECK)

    @boundary
    def Wait(self) -> Literal[True]:
        """Wait until the group of `Post` has ended its accesses."""
        self._state().wait()
        return True

    @boundary
    def Test(self) -> bool:
        """Tell whether the group of `Post` has ended its accesses."""
        return self._state().test()

    # -- locks -----------------------------------------------------------------------------------------------------

    @boundary
    def Lock(self, rank: int, lock_type: int = LOCK_EXCLUSIVE, assertion: int = 0) -> None:
        """Begin to access a rank's window, which need not call anything (MPI-4.1, 12.5.3).

        Args:
            lock_type: LOCK_EXCLUSIVE, or LOCK_SHARED which others may have at the same time.
            assertion: 0, or MODE_NOCHECK if nobody else asks for the lock.
        """
        window = self._state()
        rank = check_rank(window, rank)
        if lock_type not in (LOCK_EXCLUSIVE, LOCK_SHARED):
            raise MPIError(ERR_LOCKTYPE, f"{lock_type} is neither LOCK_EXCLUSIVE nor LOCK_SHARED")
        _check_assertion(assertion, MODE_NOCHECK)
        if rank != PROC_NULL:
            window.lock(rank, lock_type == LOCK_EXCLUSIVE, not assertion & MODE_NOCHECK)

    @boundary
    def Unlock(self, rank: int) -> None:
        """Complete the accesses to a rank's window, and let others have the lock."""
        window = self._state()
        rank = check_rank(window, rank)
        if rank != PROC_NULL:
            window.unlock(rank)

    @boundary
    def Lock_all(self, assertion: int = 0) -> None:
        """Begin to access the windows of all ranks, with shared locks.

        Args:
            assertion: 0, or MODE_NOCHECK if nobody asks for an exclusive lock.
        """
        window = self._state()
        _check_assertion(assertion, MODE_NOCHECK)
        window.lock_all(not assertion & MODE_NOCHECK)

    @boundary
    def Unlock_all(self) -> None:
        """Complete the accesses to the windows of all ranks, and release their locks."""
        self._state().unlock_all()

    # -- flush -----------------------------------------------------------------------------------------------------

    @boundary
    def Flush(self, rank: int) -> None:
        """Complete the accesses to a rank's window (MPI-4.1, 12.5.4)."""
        window = self._state()
        rank = check_rank(window, rank)
        if rank != PROC_NULL:
            window.check_locked(rank)
            window.flush((rank,))

    @boundary
    def Flush_all(self) -> None:
        """Complete the accesses to the windows of all ranks."""
        window = self._state()
        window.check_locked()
        window.flush()

    @boundary
    def Flush_local(self, rank: int) -> None:
        """Complete the accesses to a rank's window as far as this process's buffers are concerned."""
        window = self._state()
        rank = check_rank(window, rank)
        if rank != PROC_NULL:
            window.check_locked(rank)
            window.wait_local((rank,))

    @boundary
    def Flush_local_all(self) -> None:
        """Complete the accesses to the windows of all ranks as far as this process's buffers are concerned."""
        window = self._state()
        window.check_locked()
        window.wait_local()

    @boundary
    def Sync(self) -> None:
        """Make what others have written to the window visible to this process, and the other way round."""
        self._state().check_locked()
