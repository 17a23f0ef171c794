"""``MPI.Exception`` and the API's error boundary.

Rules of this file:
- Lower layers raise ``errors.MPIError``; here it becomes ``MPI.Exception`` or goes to an error handler.
- The exception's text is the error class's string, as in mpi4py; what failed and what to do stands in a note
  below it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from fmi_mpi.api import errorcode
from fmi_mpi.constants import SUCCESS
from fmi_mpi.errors import MPIError

__all__ = ["Exception", "boundary", "comm_boundary", "handle_error", "to_exception"]

P = ParamSpec("P")
R = TypeVar("R")


class Exception(RuntimeError):
    """Exception class of failed MPI calls."""

    __module__ = "fmi_mpi.MPI"

    def __init__(self, ierr: int = SUCCESS, /) -> None:
        self._code = int(ierr)
        super().__init__(self._code)

    def __eq__(self, other: object) -> bool:
        return self._code == other if isinstance(other, (int, Exception)) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return self._code != other if isinstance(other, (int, Exception)) else NotImplemented

    def __lt__(self, other: int) -> bool:
        return self._code < other

    def __le__(self, other: int) -> bool:
        return self._code <= other

    def __gt__(self, other: int) -> bool:
        return self._code > other

    def __ge__(self, other: int) -> bool:
        return self._code >= other

    def __hash__(self) -> int:
        return hash(self._code)

    def __bool__(self) -> bool:
        return self._code != SUCCESS

    def __int__(self) -> int:
        return self._code

    def __repr__(self) -> str:
        return f"MPI.Exception({self._code})"

    def __str__(self) -> str:
        return errorcode.Get_error_string(self._code)

    def Get_error_code(self) -> int:
        """Return the error code."""
        return self._code

    def Get_error_class(self) -> int:
        """Return the error class of the code."""
        return errorcode.Get_error_class(self._code)

    def Get_error_string(self) -> str:
        """Return the error string of the code."""
        return errorcode.Get_error_string(self._code)

    @property
    def error_code(self) -> int:
        """Error code."""
        return self.Get_error_code()

    @property
    def error_class(self) -> int:
        """Error class."""
        return self.Get_error_class()

    @property
    def error_string(self) -> str:
        """Error string."""
        return self.Get_error_string()


def to_exception(error: MPIError) -> Exception:
    """Return the exception for an error of a lower layer."""
    exception = Exception(error.error_class)
    detail = str(error)
    if detail:
        exception.add_note(f"fmi_mpi: {detail}")
    return exception


def boundary(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function raise ``MPI.Exception`` for errors of lower layers."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except MPIError as error:
            failure = to_exception(error)
        raise failure from None

    return guarded


def comm_boundary(method: Callable[P, R]) -> Callable[P, R]:
    """Give errors of a communicator's (window's, file's, session's) method to its error handler."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except MPIError as error:
            failure = error
        return cast("R", cast("Any", args[0])._failed(failure))

    return guarded


def handle_error(error: MPIError, errhandler: Any, obj: Any) -> NoReturn:
    """Do what an error handler says about an error of ``obj``.

    Args:
        errhandler: None or ERRORS_RETURN raise; ERRORS_ARE_FATAL and ERRORS_ABORT end the job; a user's function
            is called with ``obj`` and the error code before the exception is raised.
    """
    kind = getattr(errhandler, "kind", "return")
    if kind in ("fatal", "abort"):
        from fmi_mpi.runtime.process import current

        sys.stderr.write(f"fmi_mpi: {errorcode.Get_error_string(error.error_class)}: {error}\n")
        world = current()
        if world is not None:
            world.abort(error.error_class, f"rank {world.proc}: {error}")
    elif kind == "user":
        errhandler.function(obj, error.error_class)
    raise to_exception(error) from None
