"""``MPI.Errhandler``: what happens when a call fails (MPI-4.1, 9.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from fmi_mpi.api.exception import boundary
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
]

_USER_LIMIT = 32
_users: dict[str, int] = {}


class ErrhandlerImpl:
    """The state of an error handler; ``kind`` is return, fatal, abort or user, ``of`` the class it is for."""

    __slots__ = ("__weakref__", "function", "kind", "of")

    def __init__(self, kind: str, of: str = "", function: Callable[[Any, int], None] | None = None) -> None:
        self.kind = kind
        self.of = of
        self.function = function


class Errhandler(Handle, family=True):
    """Error handler."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, errhandler: Errhandler | None = None) -> Self:
        return super().__new__(cls, errhandler)

    @boundary
    def Free(self) -> None:
        """Free the error handler; objects that have it keep it."""
        state: ErrhandlerImpl | None = self._handle
        if state is None:
            raise MPIError(ERR_ERRHANDLER, "the error handler is null")
        if state.kind == "user":
            _users[state.of] = _users.get(state.of, 1) - 1
        self._handle = None

    def free(self) -> None:
        """Free the error handler if it is neither null nor predefined."""
        if self._handle is not None and self._handle.kind == "user":
            self.Free()


class Handled(Handle):
    """Mixin of the classes that have error handlers: ``_handle.errhandler`` is the state of one."""

    __slots__ = ()

    def _errors_of(self) -> Any:
        """Return the state that has the error handler; raises MPIError if the object is null."""
        raise NotImplementedError

    @classmethod
    def Create_errhandler(cls, errhandler_fn: Callable[[Any, int], None]) -> Errhandler:
        """Create an error handler from a function (object, error code)."""
        kind = cls._kind().__name__
        if _users.get(kind, 0) >= _USER_LIMIT:
            raise RuntimeError(f"cannot create more than {_USER_LIMIT} error handlers for {kind}; free some first")
        _users[kind] = _users.get(kind, 0) + 1
        return Errhandler._wrap(ErrhandlerImpl("user", kind, errhandler_fn))

    def Get_errhandler(self) -> Errhandler:
        """Return the error handler."""
        return Errhandler._wrap(self._errors_of().errhandler or ERRORS_RETURN._handle)

    def Set_errhandler(self, errhandler: Errhandler) -> None:
        """Set the error handler."""
        state = self._errors_of()
        if errhandler._handle is None:
            raise MPIError(ERR_ERRHANDLER, "the error handler is null")
        state.errhandler = errhandler._handle

    def Call_errhandler(self, errorcode: int) -> None:
        """Call the error handler with an error code."""
        handler = self._errors_of().errhandler
        kind = "return" if handler is None else handler.kind
        if kind == "user":
            handler.function(self, errorcode)
        elif kind != "return":
            from fmi_mpi.api.exception import handle_error

            handle_error(MPIError(errorcode, "Call_errhandler"), handler, self)


ERRHANDLER_NULL = Errhandler()
ERRORS_RETURN = Errhandler._wrap(ErrhandlerImpl("return"))
ERRORS_ABORT = Errhandler._wrap(ErrhandlerImpl("abort"))
ERRORS_ARE_FATAL = Errhandler._wrap(ErrhandlerImpl("fatal"))
