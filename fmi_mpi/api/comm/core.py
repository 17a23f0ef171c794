"""The communicator handle: state access, argument checks, error handling, identity calls.

Rules of this file:
- ``boundary`` of this module is the communicator's error boundary: every method that can fail runs under it, or
  has its own ``try`` on hot paths, so that the communicator's error handler decides.
- Checks name the argument, its value and the allowed range.
"""

from __future__ import annotations

from typing import Any, NoReturn

from fmi_mpi.api.exception import comm_boundary as boundary
from fmi_mpi.api.exception import handle_error
from fmi_mpi.api.objects import Handle
from fmi_mpi.api.status import Status
from fmi_mpi.api.traits import Named, text
from fmi_mpi.constants import (
    ANY_SOURCE,
    ANY_TAG,
    ERR_ARG,
    ERR_COMM,
    ERR_RANK,
    ERR_ROOT,
    ERR_TAG,
    PROC_NULL,
)
from fmi_mpi.engine.operations import Operation
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator

__all__ = [
    "TAG_LIMIT",
    "CommCore",
    "boundary",
    "c_int",
    "check_dest",
    "check_root",
    "check_source",
    "complete",
    "mistake",
]

TAG_LIMIT = (1 << 31) - 1
"""The largest tag (attribute TAG_UB)."""


def mistake(error_class: int, value: int, text: str) -> MPIError | OverflowError:
    """Return the exception for an integer argument of a wrong value: OverflowError if no C int can have it."""
    if -TAG_LIMIT - 1 <= value <= TAG_LIMIT:
        return MPIError(error_class, text)
    return OverflowError(f"{text}; it does not even fit a C int")


def c_int(value: int) -> int:
    """Return an integer argument as mpi4py takes it: other numbers are cut off; TypeError, OverflowError for the rest."""
    if isinstance(value, (str, bytes, type(None))):
        raise TypeError(f"expecting an integer, got {type(value).__name__}")
    number = int(value)
    if not -TAG_LIMIT - 1 <= number <= TAG_LIMIT:
        raise OverflowError(f"{number} does not fit a C int")
    return number


def check_dest(comm: Communicator, dest: int, tag: int) -> None:
    """Raise MPIError unless ``dest`` and ``tag`` may be sent to."""
    if not 0 <= dest < len(comm.procs) and dest != PROC_NULL:
        raise mistake(ERR_RANK, dest, f"destination {dest} is not a rank of a communicator of {len(comm.procs)}")
    if not 0 <= tag <= TAG_LIMIT:
        raise mistake(ERR_TAG, tag, f"tag {tag} is not between 0 and {TAG_LIMIT}")


def check_source(comm: Communicator, source: int, tag: int) -> None:
    """Raise MPIError unless ``source`` and ``tag`` may be received from."""
    if not 0 <= source < len(comm.procs) and source != ANY_SOURCE and source != PROC_NULL:
        raise mistake(ERR_RANK, source, f"source {source} is not a rank of a communicator of {len(comm.procs)}")
    if not 0 <= tag <= TAG_LIMIT and tag != ANY_TAG:
        raise mistake(ERR_TAG, tag, f"tag {tag} is neither ANY_TAG nor between 0 and {TAG_LIMIT}")


def check_root(comm: Communicator, root: int) -> None:
    """Raise MPIError unless ``root`` is a rank of the intra-communicator."""
    if not 0 <= root < comm.size:
        raise mistake(ERR_ROOT, root, f"root {root} is not a rank of a communicator of {comm.size}")


def complete(comm: Communicator, op: Operation, status: Status | None = None) -> None:
    """Wait for an operation, tell a status how it went, and raise its error."""
    if not op.done:
        comm.world.progress.wait(op)
    if status is not None:
        status._set(op.source, op.tag, op.error, op.count)
    if op.error or op.failure is not None:
        op.check()


class CommCore(Named, Handle):
    """What all chapters of ``Comm`` stand on."""

    __slots__ = ()

    def _state(self) -> Communicator:
        """Return the communicator's state; raises MPIError for the null communicator."""
        comm: Communicator | None = self._handle
        if comm is None or comm.freed:
            raise MPIError(ERR_COMM, "the communicator is null or has been freed")
        if comm.world.finalized:
            comm.world.check()
        return comm

    def _failed(self, error: MPIError) -> NoReturn:
        """Let the communicator's error handler decide about an error."""
        comm: Communicator | None = self._handle
        handle_error(error, None if comm is None else comm.errhandler, self)

    # -- identity ------------------------------------------------------------------------------------------------

    @boundary
    def Get_size(self) -> int:
        """Return the number of processes in the (local) group."""
        return self._state().size

    @boundary
    def Get_rank(self) -> int:
        """Return the rank of this process in the (local) group."""
        return self._state().rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.Get_size()

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return self.Get_rank()

    @boundary
    def Is_inter(self) -> bool:
        """Tell whether the communicator joins two groups."""
        return self._state().remote is not None

    @boundary
    def Is_intra(self) -> bool:
        """Tell whether the communicator has one group."""
        return self._state().remote is None

    @property
    def is_inter(self) -> bool:
        """Is an inter-communicator."""
        return self.Is_inter()

    @property
    def is_intra(self) -> bool:
        """Is an intra-communicator."""
        return self.Is_intra()

    # -- name ----------------------------------------------------------------------------------------------------

    @boundary
    def Get_name(self) -> str:
        """Return the communicator's print name."""
        return "MPI_COMM_NULL" if self._handle is None else self._state().name

    @boundary
    def Set_name(self, name: str) -> None:
        """Set the communicator's print name."""
        comm = self._state()
        comm.name = text(name)

    @boundary
    def Abort(self, errorcode: int = 0) -> NoReturn:
        """End all processes of the job.

        Args:
            errorcode: exit code of the job.
        """
        comm = self._state()
        comm.world.abort(errorcode, "")
        raise MPIError(ERR_ARG, "unreachable: the process has exited")

    def __len__(self) -> Any:
        raise TypeError(f"object of type {type(self).__name__!r} has no len()")
