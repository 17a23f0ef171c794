"""Driving a collective: a generator of steps becomes engine operations.

Rules of this file:
- A schedule is waited for and tested like an operation; blocking, nonblocking and persistent forms differ only
  in who waits.
- Steps of one yield are posted together; the generator resumes when the last one is complete.
- After an error the generator is closed and the schedule is complete with that error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fmi_mpi.coll.steps import Recv, Send
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.engine.operations import Operation, RecvOp
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.runtime.communicator import Communicator

__all__ = ["COLLECTIVE", "Schedule"]

COLLECTIVE = 1  # the space of collectives in a context number; see ``runtime.communicator``


class Schedule(Operation):
    """A running collective of ``comm`` with number ``number`` among the communicator's collectives."""

    def __init__(
        self, comm: Communicator, number: int, steps: Steps[Any], finish: Callable[[Any], Any] | None = None
    ) -> None:
        self.comm = comm
        self.number = number
        self.result: Any = None
        self._steps = steps
        self._finish = finish
        self._pending = 0
        self._ops: list[tuple[Recv, RecvOp]] = []

    def step(self) -> None:
        """Run the generator until it waits for something that has not happened yet, or ends."""
        steps = self._steps
        ops = self._ops
        while True:
            for recv, op in ops:
                recv.data = op.data
                recv.flags = op.flags
            ops.clear()
            if self.error:
                steps.close()
                self.complete()
                return
            try:
                wanted = next(steps)
            except StopIteration as stop:
                self.result = stop.value
                if self._finish is not None:
                    try:
                        self.result = self._finish(stop.value)
                    except Exception as error:
                        self.failure = error
                self.complete()
                return
            except MPIError as error:
                self.error = error.error_class
                self.detail = str(error)
                self.complete()
                return
            except Exception as error:
                self.failure = error
                self.complete()
                return
            self._pending = 1
            if type(wanted) is Send or type(wanted) is Recv:
                self._post(wanted)
            else:
                for one in wanted:  # type: ignore[union-attr]
                    self._post(one)
            self._pending -= 1
            if self._pending:
                return

    def completed(self, operation: Operation) -> None:
        """An operation of the current yield is complete (engine.operations.Watcher)."""
        if operation.error:
            self.error = operation.error
            self.detail = operation.detail
        self._pending -= 1
        if not self._pending:
            self.comm.world.progress.ready.append(self)

    def _post(self, wanted: Send | Recv) -> None:
        comm = self.comm
        op: Operation
        if type(wanted) is Send:
            data = wanted.data
            length = len(data) if type(data) is memoryview else sum(map(len, data))
            op = comm.world.engine.send(
                comm.procs[wanted.peer], comm.context | COLLECTIVE, comm.rank, self.number, data, length, wanted.flags
            )
        else:
            assert type(wanted) is Recv
            peer = wanted.peer
            op = RecvOp(comm.procs[peer], peer, self.number, wanted.into)
            comm.world.engine.recv(comm.context | COLLECTIVE, op)
            self._ops.append((wanted, op))
        if not op.done:
            op.watcher = self
            self._pending += 1
        elif op.error:
            self.error = op.error
            self.detail = op.detail
