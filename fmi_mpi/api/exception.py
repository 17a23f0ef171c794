"""``MPI.Exception`` and the API's error boundary.

Rules of this file:
- Lower layers raise ``errors.MPIError``; here it becomes ``MPI.Exception`` or goes to an error handler.
- The exception's text is the error class's string, as in mpi4py; what failed and what to do stands in a note
  below it.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from fmi_mpi.api.errortable import TABLE
from fmi_mpi.constants import ERR_OTHER, ERR_UNKNOWN, SUCCESS
from fmi_mpi.errors import MPIError

__all__ = [
    "Exception",
    "abort",
    "boundary",
    "call_back",
    "call_user",
    "comm_boundary",
    "handle_error",
    "to_exception",
]

P = ParamSpec("P")
R = TypeVar("R")
_CODE_BITS = 31


class Exception(RuntimeError):
    """Exception raised by failed MPI calls; compares like its error code."""

    __module__ = "fmi_mpi.MPI"

    def __init__(self, ierr: int = SUCCESS, /) -> None:
        if isinstance(ierr, (str, bytes)):
            raise TypeError(f"expecting an error code, got {type(ierr).__name__}")
        code = int(ierr)
        if code.bit_length() > _CODE_BITS:
            raise OverflowError(f"{code} is too large for an error code")
        self._code = code if code >= SUCCESS else ERR_UNKNOWN
        super().__init__(self._code)

    def __eq__(self, other: object) -> bool:
        return self._code == (other._code if isinstance(other, Exception) else other)

    def __ne__(self, other: object) -> bool:
        return self._code != (other._code if isinstance(other, Exception) else other)

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
        return TABLE.string_of(self._code)

    def Get_error_code(self) -> int:
        """Return the error code."""
        return self._code

    def Get_error_class(self) -> int:
        """Return the error class of the code."""
        return TABLE.class_of(self._code)

    def Get_error_string(self) -> str:
        """Return the error string of the code."""
        return TABLE.string_of(self._code)

    @property
    def error_code(self) -> int:
        """Error code."""
        return self._code

    @property
    def error_class(self) -> int:
        """Error class."""
        return TABLE.class_of(self._code)

    @property
    def error_string(self) -> str:
        """Error string."""
        return TABLE.string_of(self._code)


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
    """Do what an error handler says about an error of ``obj``, then raise ``MPI.Exception`` unless the job has ended.

    Args:
        errhandler: state of an error handler. None and ERRORS_RETURN only raise; ERRORS_ARE_FATAL and ERRORS_ABORT
            end the job; a user's function is called with ``obj`` and the error code.
    """
    kind = getattr(errhandler, "kind", "return")
    if kind == "user":
        call_user(errhandler, obj, error.error_class)
    elif kind != "return":
        abort(error.error_class, f"{TABLE.string_of(error.error_class)}: {error}")
    raise to_exception(error) from None


def call_user(errhandler: Any, obj: Any, code: int) -> None:
    """Call a user's error handler; an exception in it ends the job, for nobody could handle that error either."""
    try:
        errhandler.function(obj, code)
    except BaseException:
        traceback.print_exc()
        abort(1, "an error handler has raised an exception")


def call_back(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a user's function; an exception in it is printed and becomes an MPIError, of its own class if it has one."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        traceback.print_exc()
        error_class = error.Get_error_class() if isinstance(error, Exception) else ERR_OTHER
        raise MPIError(error_class, f"{getattr(function, '__qualname__', function)} has raised {error!r}") from None


def abort(code: int, message: str) -> None:
    """End the job and say why; does nothing in a process that has joined none."""
    from fmi_mpi.runtime.process import current

    world = current()
    if world is not None:
        world.abort(code, message)
