"""``MPI.Request`` and ``MPI.Prequest``: completion of nonblocking and persistent operations.

Rules of this file:
- Completion calls differ in three ways only: how many requests, whether they wait, and whether they also retire
  what is complete (``Get_status*`` does not). One function per family serves them all.
- Null and inactive requests are complete with an empty status (MPI-4.1, 3.7.3).
- Lower-case calls return the messages; upper-case calls do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index as integer
from typing import Any, Literal, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, ERR_IN_STATUS, ERR_OTHER, ERR_REQUEST, SUCCESS, UNDEFINED
from fmi_mpi.engine.operations import Operation
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.partitioned import Receiving, Sending
from fmi_mpi.runtime.process import world
from fmi_mpi.runtime.request import RequestState

__all__ = ["REQUEST_NULL", "Prequest", "Request", "of_kind"]


def _operation(request: Request) -> Operation | None:
    """Return the running operation of an active request, None for a null or inactive one."""
    state: RequestState | None = request._handle
    return None if state is None else state.op


def _report_once(request: Request) -> None:
    """Let a generalized request find out its status before its completion is reported."""
    state: RequestState | None = request._handle
    if state is not None and state.op is not None and state.reporting is not None:
        reporting, state.reporting = state.reporting, None
        reporting()


def _fill(status: Status | None, op: Operation | None) -> None:
    if status is None:
        return
    if op is None:
        status._set(ANY_SOURCE, ANY_TAG, SUCCESS, 0)
    else:
        status._set(op.source, op.tag, op.error, op.count, op.cancelled)


def _retire(request: Request) -> Any:
    """Report the completion of a request once; returns its message."""
    state = request._handle
    if state is None or state.op is None:
        return None
    op = state.op
    if not state.retire():
        request._handle = None
    if op.error or op.cancelled or state.decode is None:
        return None
    return state.decode(op)


def _wait_one(request: Request, status: Status | None) -> Any:
    op = _operation(request)
    if op is not None and not op.done:
        request._handle.world.progress.wait(op)
    _report_once(request)
    _fill(status, op)
    message = _retire(request)
    if op is not None:
        op.check()
    return message


def _test_one(request: Request, status: Status | None, retire: bool) -> tuple[bool, Any]:
    op = _operation(request)
    if op is not None and not op.done:
        request._handle.world.progress.once()
        if not op.done:
            return False, None
    _report_once(request)
    _fill(status, op)
    if not retire:
        return True, None
    message = _retire(request)
    if op is not None:
        op.check()
    return True, message


def _until(condition: Callable[[], bool], wait: bool) -> bool:
    """Make progress until the condition holds, or once if not to wait."""
    if condition():
        return True
    progress = world().progress
    if wait:
        progress.wait_until(condition)
        return True
    progress.once()
    return condition()


def _any(requests: Sequence[Request], status: Status | None, wait: bool, retire: bool = True) -> tuple[int, bool, Any]:
    """Return (index or UNDEFINED, flag, message)."""
    ops = [_operation(request) for request in requests]
    active = [index for index, op in enumerate(ops) if op is not None]
    if not active:
        _fill(status, None)
        return UNDEFINED, True, None
    if not _until(lambda: any(ops[index].done for index in active), wait):  # type: ignore[union-attr]
        return UNDEFINED, False, None
    index = next(index for index in active if ops[index].done)  # type: ignore[union-attr]
    op = ops[index]
    assert op is not None
    _report_once(requests[index])
    _fill(status, op)
    if not retire:
        return index, True, None
    message = _retire(requests[index])
    op.check()
    return index, True, message


def _report(
    requests: Sequence[Request], indices: Sequence[int], statuses: list[Status] | None, retire: bool
) -> list[Any]:
    """Fill statuses, retire, and raise ERR_IN_STATUS if any of the operations failed; returns the messages."""
    ops = [_operation(requests[index]) for index in indices]
    for index in indices:
        _report_once(requests[index])
    if statuses is not None:
        if isinstance(statuses, list):
            statuses.extend(Status() for _ in range(len(indices) - len(statuses)))
        for status, op in zip(statuses, ops):
            _fill(status, op)
    if not retire:
        return []
    messages = [_retire(requests[index]) for index in indices]
    failed = [op for op in ops if op is not None and op.error]
    if failed:
        raise MPIError(ERR_IN_STATUS if len(ops) > 1 else failed[0].error, "; ".join(op.detail for op in failed))
    return messages


def _all(
    requests: Sequence[Request], statuses: list[Status] | None, wait: bool, retire: bool = True
) -> tuple[bool, list[Any]]:
    """Return (flag, messages)."""
    waiting = [op for op in map(_operation, requests) if op is not None and not op.done]
    if wait:
        for op in waiting:
            world().progress.wait(op)
    elif waiting and not _until(lambda: all(op.done for op in waiting), False):
        return False, []
    return True, _report(requests, range(len(requests)), statuses, retire)


def _some(
    requests: Sequence[Request], statuses: list[Status] | None, wait: bool, retire: bool = True
) -> tuple[list[int] | None, list[Any] | None]:
    """Return (indices of completed active requests or None if none is active, messages)."""
    ops = [_operation(request) for request in requests]
    active = [index for index, op in enumerate(ops) if op is not None]
    if not active:
        return None, None
    _until(lambda: any(ops[index].done for index in active), wait)  # type: ignore[union-attr]
    indices = [index for index in active if ops[index].done]  # type: ignore[union-attr]
    return indices, _report(requests, indices, statuses, retire)


def of_kind(request: Request | None, kind: type[Request]) -> Request | None:
    """Return a request to be copied by a class; raises TypeError for one of another kind, unless it is null."""
    if isinstance(request, Request) and request._handle is not None and not isinstance(request, kind):
        raise TypeError(f"expecting {kind.__name__}, got {type(request).__name__}")
    return request


class Request(Handle, family=True):
    """Request handle."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, request: Request | None = None) -> Self:
        return super().__new__(cls, request)

    # -- completion without messages -------------------------------------------------------------------------

    @boundary
    def Wait(self, status: Status | None = None) -> Literal[True]:
        """Wait for the operation to complete.

        Args:
            status: filled with the operation's outcome.
        """
        _wait_one(self, status)
        return True

    @boundary
    def Test(self, status: Status | None = None) -> bool:
        """Tell whether the operation is complete, and retire it if so."""
        return _test_one(self, status, True)[0]

    @boundary
    def Get_status(self, status: Status | None = None) -> bool:
        """Tell whether the operation is complete without retiring it."""
        return _test_one(self, status, False)[0]

    @classmethod
    @boundary
    def Waitany(cls, requests: Sequence[Request], status: Status | None = None) -> int:
        """Wait for one of several operations; returns its index, or UNDEFINED if none is active."""
        return _any(requests, status, True)[0]

    @classmethod
    @boundary
    def Testany(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool]:
        """Tell whether one of several operations is complete, and which."""
        return _any(requests, status, False)[:2]

    @classmethod
    @boundary
    def Get_status_any(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool]:
        """Tell whether one of several operations is complete without retiring it."""
        return _any(requests, status, False, False)[:2]

    @classmethod
    @boundary
    def Waitall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> Literal[True]:
        """Wait for all of several operations."""
        _all(requests, statuses, True)
        return True

    @classmethod
    @boundary
    def Testall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> bool:
        """Tell whether all of several operations are complete."""
        return _all(requests, statuses, False)[0]

    @classmethod
    @boundary
    def Get_status_all(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> bool:
        """Tell whether all of several operations are complete without retiring them."""
        return _all(requests, statuses, False, False)[0]

    @classmethod
    @boundary
    def Waitsome(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None:
        """Wait for at least one of several operations; returns the indices of all that are complete."""
        return _some(requests, statuses, True)[0]

    @classmethod
    @boundary
    def Testsome(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None:
        """Return the indices of the operations that are complete, and retire them."""
        return _some(requests, statuses, False)[0]

    @classmethod
    @boundary
    def Get_status_some(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None:
        """Return the indices of the operations that are complete without retiring them."""
        return _some(requests, statuses, False, False)[0]

    # -- completion with messages ----------------------------------------------------------------------------

    @boundary
    def wait(self, status: Status | None = None) -> Any:
        """Wait for the operation to complete and return its message."""
        return _wait_one(self, status)

    @boundary
    def test(self, status: Status | None = None) -> tuple[bool, Any | None]:
        """Tell whether the operation is complete, with its message."""
        return _test_one(self, status, True)

    @boundary
    def get_status(self, status: Status | None = None) -> bool:
        """Tell whether the operation is complete without retiring it."""
        return _test_one(self, status, False)[0]

    @classmethod
    @boundary
    def waitany(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, Any]:
        """Wait for one of several operations; returns its index and message."""
        index, _, message = _any(requests, status, True)
        return index, message

    @classmethod
    @boundary
    def testany(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool, Any | None]:
        """Tell whether one of several operations is complete; returns index, flag and message."""
        return _any(requests, status, False)

    @classmethod
    @boundary
    def get_status_any(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool]:
        """Tell whether one of several operations is complete without retiring it."""
        return _any(requests, status, False, False)[:2]

    @classmethod
    @boundary
    def waitall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[Any]:
        """Wait for all of several operations and return their messages."""
        return _all(requests, statuses, True)[1]

    @classmethod
    @boundary
    def testall(
        cls, requests: Sequence[Request], statuses: list[Status] | None = None
    ) -> tuple[bool, list[Any] | None]:
        """Tell whether all of several operations are complete, with their messages."""
        flag, messages = _all(requests, statuses, False)
        return flag, messages if flag else None

    @classmethod
    @boundary
    def get_status_all(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> bool:
        """Tell whether all of several operations are complete without retiring them."""
        return _all(requests, statuses, False, False)[0]

    @classmethod
    @boundary
    def waitsome(
        cls, requests: Sequence[Request], statuses: list[Status] | None = None
    ) -> tuple[list[int] | None, list[Any] | None]:
        """Wait for at least one of several operations; returns indices and messages."""
        return _some(requests, statuses, True)

    @classmethod
    @boundary
    def testsome(
        cls, requests: Sequence[Request], statuses: list[Status] | None = None
    ) -> tuple[list[int] | None, list[Any] | None]:
        """Return indices and messages of the operations that are complete."""
        return _some(requests, statuses, False)

    @classmethod
    @boundary
    def get_status_some(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None:
        """Return the indices of the operations that are complete without retiring them."""
        return _some(requests, statuses, False, False)[0]

    # -- cancel and free ---------------------------------------------------------------------------------------

    @boundary
    def Cancel(self) -> None:
        """Ask that the operation be cancelled; whether it was, its status tells."""
        state: RequestState | None = self._handle
        if state is None:
            raise MPIError(ERR_REQUEST, "a null request cannot be cancelled")
        if state.op is not None and state.cancel is not None:
            with state.world.progress.lock:
                state.cancel(state.op)

    def cancel(self) -> None:
        """Ask that the operation be cancelled."""
        self.Cancel()

    @boundary
    def Free(self) -> None:
        """Let go of the request; a running operation goes on."""
        state: RequestState | None = self._handle
        if state is None:
            raise MPIError(ERR_REQUEST, "a null request cannot be freed")
        self._handle = None


class Prequest(Request):
    """Persistent request handle."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, request: Request | None = None) -> Self:
        return super().__new__(cls, of_kind(request, Prequest))

    @boundary
    def Start(self) -> None:
        """Start the operation."""
        state: RequestState | None = self._handle
        if state is None or state.restart is None:
            raise MPIError(ERR_REQUEST, "not a persistent request")
        if state.op is not None:
            raise MPIError(ERR_REQUEST, "the request is active already; complete it first")
        state.op = state.restart()

    @classmethod
    @boundary
    def Startall(cls, requests: list[Prequest]) -> None:
        """Start several operations."""
        for request in requests:
            request.Start()

    # -- partitioned messages ----------------------------------------------------------------------------------

    def _sending(self) -> Sending:
        """Return the sending end of an active partitioned message."""
        state: RequestState | None = self._handle
        if state is None or state.op is None or not isinstance(state.end, Sending):
            raise MPIError(ERR_REQUEST, "not an active partitioned send")
        return state.end

    @boundary
    def Pready(self, partition: int) -> None:
        """Send a partition: its data is ready (MPI-4.1, 4.2.2)."""
        self._sending().ready((integer(partition),))

    @boundary
    def Pready_range(self, partition_low: int, partition_high: int) -> None:
        """Send the partitions from one to another, this one included."""
        sending = self._sending()
        if partition_low > partition_high:
            raise MPIError(ERR_OTHER, f"no partitions from {partition_low} to {partition_high}")
        sending.ready(range(integer(partition_low), integer(partition_high) + 1))

    @boundary
    def Pready_list(self, partitions: Sequence[int]) -> None:
        """Send several partitions."""
        self._sending().ready([integer(partition) for partition in partitions])

    @boundary
    def Parrived(self, partition: int) -> bool:
        """Tell whether a partition has been received; of an inactive receive, all have."""
        state: RequestState | None = self._handle
        if state is None or not isinstance(state.end, Receiving):
            raise MPIError(ERR_REQUEST, "not a partitioned receive")
        here, op = state.end.arrived, state.op
        if here(op, integer(partition)):
            return True
        state.world.progress.once()
        return here(op, partition)


REQUEST_NULL = Request()
