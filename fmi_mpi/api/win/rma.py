"""Communication through windows (MPI-4.1, 12.3).

Rules of this file:
- Each call has a blocking form, which ends with its epoch, and most a form with a request; both make one access.
- To PROC_NULL everything is allowed and nothing happens.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

from fmi_mpi.api.op import SUM, Op
from fmi_mpi.api.request import Request
from fmi_mpi.api.win.core import WinCore, boundary, check_rank
from fmi_mpi.constants import ERR_DISP, ERR_OP, ERR_TYPE, PROC_NULL
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.kernels import OPS, OpImpl
from fmi_mpi.data.message import Message, message_recv, message_send
from fmi_mpi.data.target import rma_target
from fmi_mpi.engine.operations import Operation
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime import access
from fmi_mpi.runtime.access import Target
from fmi_mpi.runtime.request import RequestState
from fmi_mpi.runtime.window import Window

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec, TargetSpec

__all__ = ["Rma"]

_COMPARABLE = "iubS"  # kinds of dtypes that Compare_and_swap takes
_NO_OP = OPS["NO_OP"]


def _operation(op: Op) -> OpImpl:
    if not isinstance(op, Op):
        raise TypeError(f"expecting Op, got {type(op).__name__}")
    state: OpImpl | None = op._handle
    if state is None:
        raise MPIError(ERR_OP, "the operation is null")
    return state


def _target(window: Window, rank: int, displ: int, count: int, datatype: Type) -> Target | None:
    """Return where an access goes, None if nowhere."""
    rank = check_rank(window, rank)
    if rank == PROC_NULL:
        return None
    if displ < 0:
        raise MPIError(ERR_DISP, f"a displacement is negative: {displ}")
    return Target(window, rank, displ, count, datatype)


def _single(datatype: Type, **messages: Message) -> None:
    """Raise ValueError unless each of the messages is one element of the type."""
    for name, message in messages.items():
        if message.count != 1:
            raise ValueError(f"{name}: expecting a single element, got {message.count}")
    for name, message in messages.items():
        if message.datatype is not datatype:
            raise ValueError(f"mismatch in origin and {name} MPI datatypes")


class Rma(WinCore):
    """Chapter mixin of ``Win``."""

    __slots__ = ()

    def _put(self, origin: BufSpec, rank: int, spec: TargetSpec | None) -> Operation | None:
        window = self._state()
        message = message_send(origin, rank)
        target = _target(window, rank, *rma_target(spec, message))
        return None if target is None else access.put(window, message, target)

    def _get(self, origin: BufSpec, rank: int, spec: TargetSpec | None) -> Operation | None:
        window = self._state()
        message = message_recv(origin, rank)
        target = _target(window, rank, *rma_target(spec, message))
        return None if target is None else access.get(window, message, target)

    def _accumulate(self, origin: BufSpec, rank: int, spec: TargetSpec | None, op: Op) -> Operation | None:
        window = self._state()
        message = message_send(origin, rank)
        operation = _operation(op)
        if operation is _NO_OP:
            raise MPIError(ERR_OP, "NO_OP accumulates nothing; it is for Get_accumulate and Fetch_and_op")
        target = _target(window, rank, *rma_target(spec, message))
        return None if target is None else access.accumulate(window, message, target, operation)

    def _get_accumulate(
        self, origin: BufSpec, result: BufSpec, rank: int, spec: TargetSpec | None, op: Op
    ) -> Operation | None:
        window = self._state()
        message = message_recv(origin, rank)
        into = message_recv(result, rank)
        operation = _operation(op)
        target = _target(window, rank, *rma_target(spec, message))
        return None if target is None else access.fetch(window, message, into, target, operation)

    def _request(self, op: Operation | None, *keep: object) -> Request:
        if op is None:
            op = Operation()
            op.done = True
        return Request._wrap(RequestState(self._state().world, op, keep=keep))

    # -- with the epoch --------------------------------------------------------------------------------------------

    @boundary
    def Put(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> None:
        """Write data to a window (MPI-4.1, 12.3.1).

        Args:
            origin: the data.
            target_rank: whose window, or PROC_NULL.
            target: displacement in the target's units, or (displacement, count, datatype); by default the
                beginning, and as much as there is at the origin.
        """
        self._put(origin, target_rank, target)

    @boundary
    def Get(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> None:
        """Read data from a window (MPI-4.1, 12.3.2).

        Args:
            origin: where to put the data; it is there when the epoch ends.
            target_rank, target: as for `Put`.
        """
        self._get(origin, target_rank, target)

    @boundary
    def Accumulate(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None, op: Op = SUM) -> None:
        """Combine data into a window, each element in one step (MPI-4.1, 12.3.4).

        Args:
            origin, target_rank, target: as for `Put`.
            op: a predefined operation.
        """
        self._accumulate(origin, target_rank, target, op)

    @boundary
    def Get_accumulate(
        self, origin: BufSpec, result: BufSpec, target_rank: int, target: TargetSpec | None = None, op: Op = SUM
    ) -> None:
        """Read data from a window and combine other data into it, each element in one step (MPI-4.1, 12.3.4).

        Args:
            result: where to put what was there before.
            origin, target_rank, target, op: as for `Accumulate`.
        """
        self._get_accumulate(origin, result, target_rank, target, op)

    @boundary
    def Fetch_and_op(
        self, origin: BufSpec, result: BufSpec, target_rank: int, target_disp: int = 0, op: Op = SUM
    ) -> None:
        """Read one element of a window and combine another into it, in one step (MPI-4.1, 12.3.4).

        Args:
            origin, result: of one element of the same predefined type.
            target_rank: whose window, or PROC_NULL.
            target_disp: in the target's units.
            op: a predefined operation.
        """
        window = self._state()
        message = message_send(origin, target_rank)
        into = message_recv(result, target_rank)
        operation = _operation(op)
        if check_rank(window, target_rank) == PROC_NULL:
            return
        _single(message.datatype, origin=message, result=into)
        if not message.datatype.permanent:
            raise MPIError(ERR_TYPE, "Fetch_and_op takes predefined datatypes only")
        target = _target(window, target_rank, index(target_disp), 1, message.datatype)
        if target is not None:
            access.fetch(window, message, into, target, operation)

    @boundary
    def Compare_and_swap(
        self, origin: BufSpec, compare: BufSpec, result: BufSpec, target_rank: int, target_disp: int = 0
    ) -> None:
        """Read one element of a window, and replace it if it is what was expected, in one step (MPI-4.1, 12.3.4).

        Args:
            origin: the new element. compare: the expected one. result: where to put what was there before.
            target_rank: whose window, or PROC_NULL.
            target_disp: in the target's units.
        """
        window = self._state()
        message = message_send(origin, target_rank)
        expected = message_send(compare, target_rank)
        into = message_recv(result, target_rank)
        if check_rank(window, target_rank) == PROC_NULL:
            return
        _single(message.datatype, origin=message, compare=expected, result=into)
        dtype = message.datatype.dtype
        if not message.datatype.permanent or dtype is None or dtype.kind not in _COMPARABLE:
            raise MPIError(ERR_TYPE, "Compare_and_swap takes predefined integers, logicals and bytes only")
        target = _target(window, target_rank, index(target_disp), 1, message.datatype)
        if target is not None:
            access.swap(window, message, expected, into, target)

    # -- with a request --------------------------------------------------------------------------------------------

    @boundary
    def Rput(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> Request:
        """Write data to a window; the request is complete when the origin may be changed (MPI-4.1, 12.3.5)."""
        return self._request(self._put(origin, target_rank, target), origin)

    @boundary
    def Rget(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> Request:
        """Read data from a window; the request is complete when the data is there."""
        return self._request(self._get(origin, target_rank, target), origin)

    @boundary
    def Raccumulate(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None, op: Op = SUM) -> Request:
        """Combine data into a window; the request is complete when the origin may be changed."""
        return self._request(self._accumulate(origin, target_rank, target, op), origin)

    @boundary
    def Rget_accumulate(
        self, origin: BufSpec, result: BufSpec, target_rank: int, target: TargetSpec | None = None, op: Op = SUM
    ) -> Request:
        """Read data from a window and combine other data into it; the request is complete when the result is there."""
        return self._request(self._get_accumulate(origin, result, target_rank, target, op), origin, result)
