"""The file handle: state access, error handling, and agreement between the ranks of a collective call.

Rules of this file:
- Errors of a file go to its error handler, those of the null file, of Open and of Delete to that of FILE_NULL.
- A collective call that fails on one rank fails on all: ranks tell each other before they go on.
- Integers may be given as floats, as in mpi4py; they lose their fraction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from fmi_mpi.api.comm.construction import exchange
from fmi_mpi.api.errhandler import ERRORS_RETURN, Handled
from fmi_mpi.api.exception import comm_boundary as boundary
from fmi_mpi.api.exception import handle_error
from fmi_mpi.api.request import Request
from fmi_mpi.api.status import Status
from fmi_mpi.constants import (
    ANY_SOURCE,
    ANY_TAG,
    ERR_ARG,
    ERR_FILE,
    ERR_UNSUPPORTED_OPERATION,
    MODE_SEQUENTIAL,
    SUCCESS,
)
from fmi_mpi.engine.operations import Operation
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.file import OpenFile
from fmi_mpi.runtime.request import RequestState

__all__ = ["FileCore", "agree", "at_root", "boundary", "default", "number", "offset_of", "report", "requested"]


class _Default:
    """State of the null file: the error handler of whatever has no file."""

    errhandler: Any = ERRORS_RETURN._handle


default = _Default()


class FileCore(Handled):
    """What all chapters of ``File`` stand on."""

    __slots__ = ()

    def _state(self) -> OpenFile:
        """Return the state of the open file; raises MPIError for the null file."""
        file: OpenFile | None = self._handle
        if file is None:
            raise MPIError(ERR_FILE, "the file is null or has been closed")
        file.comm.world.check()
        return file

    def _random(self) -> OpenFile:
        """Return the state of a file that can be accessed anywhere; raises MPIError for a sequential one."""
        file = self._state()
        if file.amode & MODE_SEQUENTIAL:
            raise MPIError(ERR_UNSUPPORTED_OPERATION, "a file of MODE_SEQUENTIAL has its shared pointer only")
        return file

    def _errors_of(self) -> Any:
        return default if self._handle is None else self._handle

    def _failed(self, error: MPIError) -> NoReturn:
        handle_error(error, self._errors_of().errhandler, self)


def number(value: Any) -> int:
    """Return an integer argument."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"expecting an integer, got {type(value).__name__}")
    return int(value)


def offset_of(value: Any) -> int:
    """Return an offset argument; raises MPIError if it is negative."""
    offset = number(value)
    if offset < 0:
        raise MPIError(ERR_ARG, f"the offset {offset} is negative")
    return offset


def report(status: Status | None, nbytes: int) -> None:
    """Tell a status how many bytes have been read or written."""
    if status is not None:
        status._set(ANY_SOURCE, ANY_TAG, SUCCESS, nbytes)


def requested(file: OpenFile, nbytes: int) -> Request:
    """Return the request of an access that is complete."""
    op = Operation()
    op.count = nbytes
    op.done = True
    return Request._wrap(RequestState(file.comm.world, op))


# -- agreement -------------------------------------------------------------------------------------------------------


def agree(comm: Communicator, failure: MPIError | None, *numbers: int) -> list[list[int]]:
    """Wait for all ranks, and return the numbers that each gives; raises MPIError if one of them has failed.

    Args:
        failure: of this rank, which then raises it; other ranks raise the same class.
    """
    rows = exchange(comm, 0 if failure is None else failure.error_class, *numbers)
    if failure is not None:
        raise failure
    for rank, row in enumerate(rows):
        if row[0]:
            raise MPIError(row[0], f"the collective call failed on rank {rank}")
    return [row[1:] for row in rows]


def at_root(comm: Communicator, act: Callable[[], int | None]) -> int:
    """Call a function on rank 0, and return its number everywhere; raises MPIError everywhere if it does."""
    failure: MPIError | None = None
    value = 0
    if comm.rank == 0:
        try:
            value = act() or 0
        except MPIError as error:
            failure = error
    return agree(comm, failure, value)[0][0]
