"""Driving a collective: a generator of steps becomes engine operations.

Rules of this file:
- A schedule is waited for and tested like an operation; blocking, nonblocking and persistent forms differ only
  in who waits.
- Steps of one yield are posted together; the generator resumes when the last one is complete.
- After an error the generator is closed and the schedule is complete with that error; on a board the others are told
  that this rank has given up, and those who look into a store can see it there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.coll.steps import NONE, Errands, Fetch, Recv, Send, Share
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.constants import ERR_PROC_FAILED
from fmi_mpi.engine.operations import Operation, RecvOp
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.runtime.communicator import Communicator

__all__ = ["COLLECTIVE", "Schedule"]

COLLECTIVE = 1  # the space of collectives in a context number; see ``runtime.communicator``


_ROUNDS: Final = 5
"""Bits of a stamp that tell the rounds of one collective apart."""
_TAGS: Final = (1 << 30) - 1


class Schedule(Operation):
    """A running collective of ``comm`` with number ``number`` among the communicator's collectives.

    ``patience``: of rounds on a board (channels.base.Board.share) when somebody waits for this collective.
    """

    result: Any = None
    patience = 0
    _pending = 0
    _shares = False
    _turn = -1  # objects put into the store so far; -1: none, nor any other errand

    def __init__(
        self, comm: Communicator, number: int, steps: Steps[Any], finish: Callable[[Any], Any] | None = None
    ) -> None:
        self.comm = comm
        self.number = number & _TAGS
        self._steps = steps
        self._finish = finish
        self._stamp = (number + 1) << _ROUNDS
        self._ops: list[tuple[Recv, RecvOp]] = []

    @property
    def apart(self) -> bool:  # type: ignore[override]
        """It runs in the store."""
        return self._turn >= 0

    def step(self) -> None:
        """Run the generator until it waits for something that has not happened yet, or ends."""
        steps = self._steps
        ops = self._ops
        while True:
            if ops:
                for recv, op in ops:
                    recv.data = op.data
                    recv.flags = op.flags
                ops.clear()
            if self.error:
                steps.close()
                break
            try:
                wanted = next(steps)
                kind = type(wanted)
                if kind is Share:
                    if self._share(wanted):  # type: ignore[arg-type]
                        continue
                    return
                if kind is Fetch:
                    self._fetch(wanted)  # type: ignore[arg-type]
                    continue
            except StopIteration as stop:
                self.result = stop.value
                if self._finish is not None:
                    try:
                        self.result = self._finish(stop.value)
                    except Exception as error:
                        self.failure = error
                break
            except ChannelError as error:
                self.comm.world.await_verdict(partial(self._met, str(error)))
                return
            except MPIError as error:
                self.error = error.error_class
                self.detail = str(error)
                continue
            except Exception as error:
                self.failure = error
                break
            self._pending = 1
            if kind is Send or kind is Recv:
                self._post(wanted)  # type: ignore[arg-type]
            elif kind is Errands:
                self._send_out(wanted)  # type: ignore[arg-type]
            else:
                for one in wanted:  # type: ignore[union-attr]
                    self._post(one)
            self._pending -= 1
            if self._pending:
                return
        self._end()

    def _end(self) -> None:
        """The generator is at its end: let the next collective run, and be complete."""
        comm = self.comm
        if self._shares and (self.error or self.failure is not None):
            assert comm.board is not None
            comm.board.share(self._stamp | ((1 << _ROUNDS) - 1), NONE, (), self._met)
        if self._turn >= 0 and (self.error or self.failure is not None):
            assert comm.storage is not None
            comm.storage.failed(self.number)
        line = comm.line
        if line:
            line.popleft()
            if line:
                comm.world.progress.ready.append(line[0])
        self.complete()

    def _share(self, share: Share) -> bool:
        """Begin a round on the board; True if it is complete at once."""
        board = self.comm.board
        assert board is not None
        self._shares = True
        share.stamp = self._stamp = self._stamp + 1
        share.view = partial(board.view, share.stamp, share.nbytes)
        return board.share(share.stamp, share.data, share.awaited, self._met, self.patience)

    def _met(self, failure: str) -> None:
        """A round on the board is complete, or cannot be."""
        if failure:
            self.error = ERR_PROC_FAILED
            self.detail = failure
        self.comm.world.progress.ready.append(self)

    def _send_out(self, wanted: Errands) -> None:
        """Begin errands in the store."""
        storage = self.comm.storage
        assert storage is not None
        self._pending += len(wanted.errands)
        self._turn = storage.begin(self.number, wanted.errands, max(self._turn, 0), self._returned)

    def _returned(self, error: int, detail: str) -> None:
        """An errand is done, or cannot be."""
        if error:
            self.error = error
            self.detail = detail
        self._pending -= 1
        if not self._pending:
            self.comm.world.progress.ready.append(self)

    def _fetch(self, fetch: Fetch) -> None:
        board = self.comm.board
        assert board is not None
        board.fetch(fetch.share.stamp, fetch.share.nbytes, fetch.peer, fetch.start, fetch.into)

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
