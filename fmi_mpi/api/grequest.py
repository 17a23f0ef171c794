"""``MPI.Grequest``: requests that a user's code completes (MPI-4.1, 13.2).

Rules of this file:
- The query function fills the status when completion is reported, the free function runs after it; an exception in
  one of them is the request's error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from fmi_mpi.api.exception import boundary, call_back
from fmi_mpi.api.request import Request, of_kind
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ERR_REQUEST
from fmi_mpi.engine.operations import Operation
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.process import world
from fmi_mpi.runtime.request import RequestState

__all__ = ["Grequest"]


class _Generalized(Operation):
    """An operation that a user's code completes."""

    def __init__(self, query: Any, free: Any, cancel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.query = query
        self.free = free
        self.cancel = cancel
        self.args = args
        self.kwargs = kwargs
        self.message: Any = None

    def finish(self) -> None:
        """Ask the user's code for the status: now the operation is complete."""
        status = Status()
        try:
            if self.query is not None:
                call_back(self.query, status, *self.args, **self.kwargs)
            self.source, self.tag, self.error = status.source, status.tag, status.error
            self.count, self.cancelled = status.count, status.cancelled
            if self.free is not None:
                call_back(self.free, *self.args, **self.kwargs)
        except MPIError as error:
            self.error, self.detail = error.error_class, str(error)


class Grequest(Request):
    """Generalized request handle."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, request: Request | None = None) -> Self:
        return super().__new__(cls, of_kind(request, Grequest))

    @classmethod
    @boundary
    def Start(
        cls,
        query_fn: Callable[..., None] | None = None,
        free_fn: Callable[..., None] | None = None,
        cancel_fn: Callable[..., None] | None = None,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Create a request.

        Args:
            query_fn: called as (status, *args, **kwargs) to fill the status.
            free_fn: called as (*args, **kwargs) when the request is done with.
            cancel_fn: called as (completed, *args, **kwargs) by Cancel.
        """
        op = _Generalized(query_fn, free_fn, cancel_fn, tuple(args or ()), dict(kwargs or {}))

        def cancel(running: Any) -> bool:
            if op.cancel is not None:
                call_back(op.cancel, op.done, *op.args, **op.kwargs)
            return True

        state = RequestState(world(), op, cancel, decode=lambda done: done.message)
        state.reporting = op.finish
        return cls._wrap(state)

    @boundary
    def Complete(self) -> None:
        """Tell that the operation is complete."""
        self._operation().done = True
        world().progress.interrupt()

    def complete(self, obj: Any = None) -> None:
        """Tell that the operation is complete, with a message."""
        self._operation().message = obj
        self.Complete()

    def _operation(self) -> _Generalized:
        state: RequestState | None = self._handle
        if state is None or not isinstance(state.op, _Generalized):
            raise MPIError(ERR_REQUEST, "not an active generalized request")
        return state.op
