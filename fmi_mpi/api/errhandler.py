"""``MPI.Errhandler``: what happens when a call fails (MPI-4.1, 9.3).

Rules of this file:
- A class has at most as many user error handlers as mpi4py allows; freeing one makes room.
- Objects without an error handler of their own do what ``rc.errors`` says.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from operator import index
from typing import Any, NoReturn, Self

import fmi_mpi
from fmi_mpi.api.exception import call_user, handle_error
from fmi_mpi.api.exception import comm_boundary as boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.constants import ERR_ERRHANDLER
from fmi_mpi.errors import MPIError

__all__ = [
    "ERRHANDLER_NULL",
    "ERRORS_ABORT",
    "ERRORS_ARE_FATAL",
    "ERRORS_RETURN",
    "Errhandler",
    "ErrhandlerImpl",
    "Handled",
    "inherited",
    "policy",
    "state_of",
]

_USER_LIMIT = 32
_users: dict[str, set[int]] = {}


class ErrhandlerImpl:
    """The state of an error handler.

    Args:
        kind: return, fatal, abort or user.
        of: name of the class that a user's one is for; raises RuntimeError if that has too many.
        function: of a user.
    """

    __slots__ = ("__weakref__", "function", "kind", "of")

    def __init__(self, kind: str, of: str = "", function: Callable[[Any, int], None] | None = None) -> None:
        self.kind = kind
        self.of = of
        self.function = function
        if kind == "user":
            users = _users.setdefault(of, set())
            if len(users) >= _USER_LIMIT:
                raise RuntimeError(f"cannot create more than {_USER_LIMIT} error handlers for {of}; free some first")
            users.add(id(self))
            weakref.finalize(self, users.discard, id(self)).atexit = False

    def release(self) -> None:
        """Make room for another user's one; this one still works where it is set."""
        _users.get(self.of, set()).discard(id(self))


class Errhandler(Handle, family=True):
    """Error handler."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, errhandler: Errhandler | None = None) -> Self:
        return super().__new__(cls, errhandler)

    @boundary
    def Free(self) -> None:
        """Free the error handler; objects that have it keep it. The predefined ones stay."""
        state: ErrhandlerImpl | None = self._handle
        if state is None:
            raise MPIError(ERR_ERRHANDLER, "the error handler is null")
        if not self._is_constant():
            state.release()
            self._handle = None


class Handled(Handle):
    """Mixin of the classes that have error handlers: ``errhandler`` of their state is that of one, or None."""

    __slots__ = ()

    def _errors_of(self) -> Any:
        """Return the state that has the error handler; raises MPIError if the object is null."""
        raise NotImplementedError

    def _failed(self, error: MPIError) -> NoReturn:
        handle_error(error, getattr(self._handle, "errhandler", None), self)

    @classmethod
    def Create_errhandler(cls, errhandler_fn: Callable[[Any, int], None]) -> Errhandler:
        """Create an error handler.

        Args:
            errhandler_fn: called as (object, error code) when a call fails; the call then raises ``MPI.Exception``.
        """
        if not callable(errhandler_fn):
            raise TypeError(f"expecting a function, got {type(errhandler_fn).__name__}")
        return Errhandler._wrap(ErrhandlerImpl("user", cls._kind().__name__, errhandler_fn))

    @boundary
    def Get_errhandler(self) -> Errhandler:
        """Return the error handler."""
        return Errhandler._wrap(self._errors_of().errhandler or ERRORS_RETURN._handle)

    @boundary
    def Set_errhandler(self, errhandler: Errhandler) -> None:
        """Set the error handler."""
        state = self._errors_of()
        state.errhandler = state_of(errhandler, self._kind().__name__)

    @boundary
    def Call_errhandler(self, errorcode: int) -> None:
        """Call the error handler with an error code."""
        handler = self._errors_of().errhandler
        code = index(errorcode)
        if handler is None or handler.kind == "return":
            return
        if handler.kind == "user":
            call_user(handler, self, code)
        else:
            handle_error(MPIError(code, "Call_errhandler"), handler, self)


def state_of(errhandler: Errhandler, kind: str) -> ErrhandlerImpl:
    """Return the state of an error handler for the objects of a class; raises MPIError if it is not for them."""
    if not isinstance(errhandler, Errhandler):
        raise TypeError(f"expecting Errhandler, got {type(errhandler).__name__}")
    state: ErrhandlerImpl | None = errhandler._handle
    if state is None:
        raise MPIError(ERR_ERRHANDLER, "the error handler is null")
    if state.kind == "user" and state.of != kind:
        raise MPIError(ERR_ERRHANDLER, f"an error handler of {state.of} cannot be used for {kind}")
    return state


ERRHANDLER_NULL = Errhandler()
ERRORS_RETURN = Errhandler._wrap(ErrhandlerImpl("return"))
ERRORS_ABORT = Errhandler._wrap(ErrhandlerImpl("abort"))
ERRORS_ARE_FATAL = Errhandler._wrap(ErrhandlerImpl("fatal"))
_POLICIES = {
    "exception": ERRORS_RETURN,
    "default": ERRORS_ARE_FATAL,
    "fatal": ERRORS_ARE_FATAL,
    "abort": ERRORS_ABORT,
}


def inherited(errhandler: Any) -> Any:
    """Return what a new communicator gets, whose parent has this error handler: mpi4py sets what ``rc.errors`` says."""
    return errhandler if fmi_mpi.rc.errors == "default" else policy()


def policy() -> ErrhandlerImpl:
    """Return the state of the error handler that new objects get, as ``rc.errors`` says; raises ValueError."""
    try:
        handler: ErrhandlerImpl = _POLICIES[fmi_mpi.rc.errors]._handle  # type: ignore[index]
    except KeyError:
        names = ", ".join(_POLICIES)
        raise ValueError(f"rc.errors is {fmi_mpi.rc.errors!r}; it can be one of {names}") from None
    return handler
