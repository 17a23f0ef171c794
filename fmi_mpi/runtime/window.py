"""A window: which accesses may be made now, and waiting until they are complete (MPI-4.1, 12.5).

Rules of this file:
- An access epoch is none, one that a fence has offered, one that a fence has opened (by an access), one between
  Start and Complete, or one under locks; an exposure epoch likewise. What does not fit is ERR_RMA_SYNC.
- ``pending`` has operations that are not complete in this process, ``dirty`` the ranks that may have changes to make
  yet; to flush is to wait for the former and to ask the latter.
- Locks of Lock_all, and notifications of Post, are waited for when their target is first accessed.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fmi_mpi.coll.barrier.dissemination import dissemination
from fmi_mpi.constants import ERR_RMA_FLAVOR, ERR_RMA_SYNC, MODE_NOSUCCEED, WIN_FLAVOR_DYNAMIC
from fmi_mpi.data.buffers import EMPTY
from fmi_mpi.data.exposure import Exposure
from fmi_mpi.engine.operations import Operation
from fmi_mpi.errors import MPIError, PeerFailure
from fmi_mpi.runtime.communicator import Communicator

if TYPE_CHECKING:
    pass

__all__ = ["ACCESS_SPACE", "Epoch", "Window"]

ACCESS_SPACE = 3  # the space of accesses in a context number; see ``runtime.communicator``


class Epoch(enum.Enum):
    """What a window is in."""

    NONE = enum.auto()
    OFFERED = enum.auto()
    FENCE = enum.auto()
    GROUP = enum.auto()
    LOCK = enum.auto()
    LOCK_ALL = enum.auto()


_IDLE = (Epoch.NONE, Epoch.OFFERED)
_LOCKED = (Epoch.LOCK, Epoch.LOCK_ALL)


class Window:
    """The state of a window.

    Args:
        comm: a communicator of its own. flavor: one of the WIN_FLAVOR constants.
        exposure: the memory of this process.
        sizes, units: bytes, and bytes of a unit of displacement, by rank.
        segments: memory by rank that this process can reach itself, its own included.
    """

    def __init__(
        self,
        comm: Communicator,
        flavor: int,
        exposure: Exposure,
        sizes: Sequence[int],
        units: Sequence[int],
        segments: dict[int, Exposure],
    ) -> None:
        world = self.world = comm.world
        self.comm = comm
        self.flavor = flavor
        self.exposure = exposure
        self.sizes = sizes
        self.units = units
        self.segments = segments
        self.name = ""
        self.attributes: dict[int, Any] | None = None
        self.errhandler: Any = None
        self.info: Any = None
        self.access = Epoch.NONE
        self.exposed = Epoch.NONE
        self.held: dict[int, bool] = {}
        """rank -> this process holds the lock of its window, and has to release it"""
        self.group: dict[int, bool] = {}
        """rank of a started access epoch -> its notification has come"""
        self.posted: set[int] = set()
        self.pending: dict[int, list[Operation]] = {}
        self.dirty: set[int] = set()
        self.freed = False
        self._mutex = threading.Lock()
        with world.progress.lock:
            self.state = world.onesided.open(comm.context | ACCESS_SPACE, exposure)

    @property
    def memory(self) -> memoryview:
        """The window's memory in this process; empty if it is dynamic."""
        return EMPTY if self.flavor == WIN_FLAVOR_DYNAMIC else self.exposure.memory

    @property
    def remote(self) -> bool:
        """There are other processes, so this one may be accessed at any time."""
        return self.comm.size > 1

    def regions(self) -> Exposure:
        """Return the exposure of a dynamic window; raises MPIError for others."""
        if self.flavor != WIN_FLAVOR_DYNAMIC:
            raise MPIError(ERR_RMA_FLAVOR, "memory is attached to dynamic windows only; make one with Create_dynamic")
        return self.exposure

    # -- accesses --------------------------------------------------------------------------------------------------

    def admit(self, rank: int) -> None:
        """Make sure that a rank's window may be accessed now, waiting for it if it takes that; raises MPIError."""
        self._serve()
        access = self.access
        if access is Epoch.FENCE:
            return
        if access is Epoch.OFFERED:
            self.access = Epoch.FENCE
            if self.exposed is Epoch.OFFERED:
                self.exposed = Epoch.FENCE
        elif access is Epoch.LOCK_ALL:
            if rank not in self.held:
                with self._mutex:
                    if rank not in self.held:
                        self._acquire(rank, False)
        elif access is Epoch.LOCK and rank in self.held:
            return
        elif access is Epoch.GROUP and rank in self.group:
            self._await_post(rank)
        else:
            raise MPIError(ERR_RMA_SYNC, f"no epoch lets rank {rank} be accessed; call Fence, Start or Lock first")

    def _serve(self) -> None:
        """Make progress, as every call does: a process that accesses its own window only has to serve others, too."""
        if self.remote:
            progress = self.world.progress
            with progress.lock:
                progress.poll()

    def note(self, rank: int, op: Operation, change: bool) -> None:
        """Remember an operation on a rank's window, and whether it changes that."""
        if change:
            self.dirty.add(rank)
        if not op.done:
            self.pending.setdefault(rank, []).append(op)

    def wait_local(self, ranks: Iterable[int] | None = None) -> None:
        """Wait until the operations on these ranks, all by default, are complete in this process."""
        ops = [op for rank in list(self.pending if ranks is None else ranks) for op in self.pending.pop(rank, ())]
        self._finish(ops)

    def flush(self, ranks: Iterable[int] | None = None) -> None:
        """Wait until the operations on these ranks, all by default, are complete everywhere."""
        dirty = sorted(self.dirty) if ranks is None else [rank for rank in ranks if rank in self.dirty]
        self.dirty.difference_update(dirty)
        onesided, procs = self.world.onesided, self.comm.procs
        with self.world.progress.lock:
            answers = [onesided.flush(self.state, procs[rank]) for rank in dirty]
        for rank, answer in zip(dirty, answers):
            self.pending.setdefault(rank, []).append(answer)
        self.wait_local(ranks)

    def _finish(self, ops: Sequence[Operation]) -> None:
        """Wait for operations; raises the first of their errors after the last."""
        progress = self.world.progress
        for op in ops:
            if not op.done:
                progress.wait(op)
        for op in ops:
            op.check()

    # -- fence -----------------------------------------------------------------------------------------------------

    def fence(self, assertion: int) -> None:
        """End the accesses of all processes and offer another epoch, unless ``assertion`` says that none follows."""
        if self.access in (Epoch.GROUP, *_LOCKED) or self.exposed is Epoch.GROUP:
            raise MPIError(ERR_RMA_SYNC, "Fence within an epoch of Start, Post or Lock; end that first")
        self.flush()
        self.barrier()
        self.access = self.exposed = Epoch.NONE if assertion & MODE_NOSUCCEED else Epoch.OFFERED

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        comm = self.comm
        if comm.size > 1:
            op = comm.start(dissemination(comm))
            self._finish((op,))

    # -- start, complete, post, wait -------------------------------------------------------------------------------

    def start(self, ranks: Iterable[int], check: bool) -> None:
        """Begin an access epoch to these ranks; without ``check`` they are known to have posted."""
        if self.access not in _IDLE:
            raise MPIError(ERR_RMA_SYNC, "Start within another access epoch; end that first")
        self.access = Epoch.GROUP
        self.group = dict.fromkeys(ranks, not check)

    def complete(self) -> None:
        """End the access epoch that ``start`` has begun."""
        if self.access is not Epoch.GROUP:
            raise MPIError(ERR_RMA_SYNC, "Complete without Start")
        for rank in self.group:
            self._await_post(rank)
        if self.flavor == WIN_FLAVOR_DYNAMIC:
            self.flush()  # only the target knows whether it has the memory
        else:
            self.wait_local()
            self.dirty.clear()
        world, procs = self.world, self.comm.procs
        with world.progress.lock:
            for rank in self.group:
                world.onesided.complete(self.state, procs[rank])
        self.group = {}
        self.access = Epoch.NONE

    def post(self, ranks: Sequence[int], check: bool) -> None:
        """Begin an exposure epoch to these ranks; without ``check`` they need not be told."""
        if self.exposed not in _IDLE:
            raise MPIError(ERR_RMA_SYNC, "Post within another exposure epoch; end that first")
        self.exposed = Epoch.GROUP
        self.posted = set(ranks)
        if check:
            world, procs = self.world, self.comm.procs
            with world.progress.lock:
                for rank in ranks:
                    world.onesided.post(self.state, procs[rank])

    def wait(self) -> None:
        """Wait until the exposure epoch is over."""
        self._check_posted()
        self.world.progress.wait_until(lambda: self._over() or bool(self._lost(self.posted)))
        self._end_exposure()

    def test(self) -> bool:
        """Tell whether the exposure epoch is over, and end it if so."""
        self._check_posted()
        if not self._over():
            self.world.progress.once()
            if not self._over() and not self._lost(self.posted):
                return False
        self._end_exposure()
        return True

    def _check_posted(self) -> None:
        if self.exposed is not Epoch.GROUP:
            raise MPIError(ERR_RMA_SYNC, "no exposure epoch to wait for; call Post first")

    def _over(self) -> bool:
        peers, procs = self.state.peers, self.comm.procs
        return all((peer := peers.get(procs[rank])) is not None and peer.completed for rank in self.posted)

    def _end_exposure(self) -> None:
        over = self._over()
        lost = self._lost(self.posted)
        for rank in self.posted:
            peer = self.state.peer(self.comm.procs[rank])
            peer.completed = max(peer.completed - 1, 0)
        self.posted = set()
        self.exposed = Epoch.NONE
        if not over:
            raise PeerFailure(lost[0], f"rank {lost[0]} is gone and has not ended its accesses")

    def _await_post(self, rank: int) -> None:
        if self.group[rank]:
            return
        peer = self.state.peer(self.comm.procs[rank])
        if not peer.posted:
            self.world.progress.wait_until(lambda: bool(peer.posted or self._lost((rank,))))
            if not peer.posted:
                raise PeerFailure(rank, f"rank {rank} is gone and has not exposed its window")
        peer.posted -= 1
        self.group[rank] = True

    def _lost(self, ranks: Iterable[int]) -> list[int]:
        links, procs = self.world.engine.links, self.comm.procs
        return [rank for rank in ranks if (link := links.get(procs[rank])) is not None and link.failure]

    # -- locks -----------------------------------------------------------------------------------------------------

    def lock(self, rank: int, exclusive: bool, check: bool) -> None:
        """Begin an access epoch to a rank; without ``check`` nobody else is known to hold or ask for the lock."""
        if self.access not in (*_IDLE, Epoch.LOCK) or rank in self.held:
            raise MPIError(ERR_RMA_SYNC, f"Lock of rank {rank} within another access epoch; end that first")
        if check:
            self._acquire(rank, exclusive)
        else:
            self.held[rank] = False
        self.access = Epoch.LOCK

    def unlock(self, rank: int) -> None:
        """End the access epoch to a rank."""
        if self.access is not Epoch.LOCK or rank not in self.held:
            raise MPIError(ERR_RMA_SYNC, f"Unlock of rank {rank} without Lock")
        try:
            self._release((rank,))
        finally:
            if not self.held:
                self.access = Epoch.NONE

    def lock_all(self, check: bool) -> None:
        """Begin an access epoch to all ranks; without ``check`` nobody is known to take an exclusive lock."""
        if self.access not in _IDLE:
            raise MPIError(ERR_RMA_SYNC, "Lock_all within another access epoch; end that first")
        self.held = {} if check else dict.fromkeys(range(self.comm.size), False)
        self.access = Epoch.LOCK_ALL

    def unlock_all(self) -> None:
        """End the access epoch to all ranks."""
        if self.access is not Epoch.LOCK_ALL:
            raise MPIError(ERR_RMA_SYNC, "Unlock_all without Lock_all")
        try:
            self._release(list(self.held))
        finally:
            self.access = Epoch.NONE

    def check_locked(self, rank: int | None = None) -> None:
        """Raise MPIError unless an epoch under locks is open, to this rank if one is given."""
        if self.access is Epoch.LOCK_ALL or (self.access is Epoch.LOCK and (rank is None or rank in self.held)):
            return
        raise MPIError(ERR_RMA_SYNC, "Flush and Sync need an epoch of Lock or Lock_all")

    def _acquire(self, rank: int, exclusive: bool) -> None:
        self._serve()
        world = self.world
        with world.progress.lock:
            op = world.onesided.lock(self.state, self.comm.procs[rank], exclusive)
        self._finish((op,))
        self.held[rank] = True

    def _release(self, ranks: Sequence[int]) -> None:
        """Complete the operations on these ranks and release their locks."""
        world, procs = self.world, self.comm.procs
        self.wait_local(ranks)
        answers = []
        with world.progress.lock:
            for rank in ranks:
                changed = rank in self.dirty
                if self.held.pop(rank):
                    answers.append(world.onesided.unlock(self.state, procs[rank], changed))
                elif changed:
                    answers.append(world.onesided.flush(self.state, procs[rank]))
        self.dirty.difference_update(ranks)
        self._finish(answers)

    # -- life --------------------------------------------------------------------------------------------------------

    def check_idle(self) -> None:
        """Raise MPIError within an epoch."""
        if self.access not in _IDLE or self.exposed not in _IDLE:
            raise MPIError(ERR_RMA_SYNC, "Free within an epoch; end that first")

    def free(self) -> None:
        """Wait for all processes, then let nobody access the memory any more."""
        self.flush()
        self.barrier()
        with self.world.progress.lock:
            self.world.onesided.close(self.state)
        self.comm.free()
        self.freed = True
