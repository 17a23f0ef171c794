"""``MPI.Session``: MPI for a part of a program (MPI-4.1, 11.3).

Rules of this file:
- A process is in one job, so all sessions see the same process sets: the job and the process itself.
- The first session joins the job if nobody has; the job is left at exit, not when a session ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any, Self

from fmi_mpi.api import environment
from fmi_mpi.api.comm.buffered import BufferSpace, attach, flush, iflush
from fmi_mpi.api.errhandler import Errhandler, ErrhandlerImpl, Handled, policy, state_of
from fmi_mpi.api.exception import boundary
from fmi_mpi.api.exception import comm_boundary as session_boundary
from fmi_mpi.api.group import Group
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.api.request import Request
from fmi_mpi.api.traits import text
from fmi_mpi.constants import ERR_ARG, ERR_OTHER, ERR_SESSION
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.process import world

if TYPE_CHECKING:
    from fmi_mpi.typing import Buffer

__all__ = ["SESSION_NULL", "Session", "SessionImpl"]

_LEVELS = ("MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED", "MPI_THREAD_SERIALIZED", "MPI_THREAD_MULTIPLE")
_PSETS = ("mpi://WORLD", "mpi://SELF")


class SessionImpl:
    """The state of a session."""

    __slots__ = ("__weakref__", "buffer", "errhandler")

    def __init__(self, errhandler: ErrhandlerImpl) -> None:
        self.errhandler = errhandler
        self.buffer: BufferSpace | None = None


class Session(Handled, family=True):
    """Session context."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, session: Session | None = None) -> Self:
        return super().__new__(cls, session)

    def _state(self) -> SessionImpl:
        state: SessionImpl | None = self._handle
        if state is None:
            raise MPIError(ERR_SESSION, "the session is null or has been finalized")
        return state

    def _errors_of(self) -> Any:
        return self._state()

    @classmethod
    @boundary
    def Init(cls, info: Info = INFO_NULL, errhandler: Errhandler | None = None) -> Self:
        """Begin a session.

        Args:
            info: hints; ``thread_level`` names the least thread level.
            errhandler: of the session; by default what ``rc.errors`` says.
        """
        level = info.get("thread_level", _LEVELS[-1])
        if level not in _LEVELS:
            raise MPIError(ERR_OTHER, f"{level!r} is not a thread level; it can be one of {', '.join(_LEVELS)}")
        handler = policy() if errhandler is None else state_of(errhandler, cls._kind().__name__)
        environment.join()
        return cls._wrap(SessionImpl(handler))

    @session_boundary
    def Finalize(self) -> None:
        """End the session."""
        flush(self._state().buffer)
        self._handle = None

    def free(self) -> None:
        """End the session if it is not null."""
        if self._handle is not None:
            self.Finalize()

    # -- process sets --------------------------------------------------------------------------------------------

    @session_boundary
    def Get_num_psets(self, info: Info = INFO_NULL) -> int:
        """Return the number of process sets."""
        self._state()
        return len(_PSETS)

    @session_boundary
    def Get_nth_pset(self, n: int, info: Info = INFO_NULL) -> str:
        """Return the name of a process set by its position."""
        self._state()
        if not 0 <= index(n) < len(_PSETS):
            raise MPIError(ERR_ARG, f"{n} is not the position of one of {len(_PSETS)} process sets")
        return _PSETS[n]

    @session_boundary
    def Get_info(self) -> Info:
        """Return the hints in use."""
        self._state()
        return Info.Create({"thread_level": _LEVELS[-1], "mpi_memory_alloc_kinds": "mpi,system"})

    @session_boundary
    def Get_pset_info(self, pset_name: str) -> Info:
        """Return what is known of a process set; ``mpi_size`` is its number of processes."""
        return Info.Create({"mpi_size": str(len(self._members(pset_name)))})

    @session_boundary
    def Create_group(self, pset_name: str) -> Group:
        """Return the group of a process set."""
        return Group._of(self._members(pset_name))

    def _members(self, pset_name: str) -> Sequence[int]:
        """Return the process numbers of a process set; raises MPIError if there is none of this name."""
        self._state()
        name = text(pset_name)
        known = {pset.lower(): pset for pset in _PSETS}.get(name.lower())
        if known is None:
            raise MPIError(ERR_ARG, f"there is no process set {name!r}; there are {', '.join(_PSETS)}")
        return range(world().size) if known == _PSETS[0] else (world().proc,)

    # -- buffered mode -------------------------------------------------------------------------------------------

    @session_boundary
    def Attach_buffer(self, buf: Buffer | None) -> None:
        """Attach a buffer for buffered messages.

        Args:
            buf: writable memory, or BUFFER_AUTOMATIC.
        """
        state = self._state()
        state.buffer = attach(state.buffer, buf)

    @session_boundary
    def Detach_buffer(self) -> Buffer | None:
        """Wait for buffered messages, and detach and return the buffer."""
        state = self._state()
        space, state.buffer = state.buffer, None
        flush(space)
        return None if space is None else space.buffer

    @session_boundary
    def Flush_buffer(self) -> None:
        """Wait for buffered messages."""
        flush(self._state().buffer)

    @session_boundary
    def Iflush_buffer(self) -> Request:
        """Start waiting for buffered messages."""
        return iflush(self._state().buffer)


SESSION_NULL = Session()
