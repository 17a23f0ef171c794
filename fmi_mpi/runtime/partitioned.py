"""Partitioned messages: one message whose parts are sent as they become ready (MPI-4.1, 4.2).

Rules of this file:
- The sender announces a message once, in the space of partitioned communication and with the user's tag, so that the
  two ends match in the order of their initialisation. The announcement says how many parts there are, their length,
  and the first of their numbers; a part's number makes its tag, which is negative and hence nobody else's.
- Each part is an ordinary message. The two ends may cut the message differently: it arrives in the sender's parts.
- An operation stands for one round, from start to completion; an end of a message outlives its rounds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from fmi_mpi.constants import ERR_ARG, ERR_OTHER, ERR_TRUNCATE, PROC_NULL
from fmi_mpi.data.message import Message, Pieces
from fmi_mpi.engine.operations import Operation, RecvOp
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import PARTITIONED, Communicator
from fmi_mpi.runtime.request import nothing_received, nothing_sent

__all__ = ["Receiving", "Sending"]

_ANNOUNCEMENT: Final = struct.Struct("<QQQ")
"""first number, number of parts, bytes of a part"""
_LAST_TAG: Final = -2
_NUMBERS: Final = 1 << 30


def _tag(first: int, part: int) -> int:
    return _LAST_TAG - (first + part) % _NUMBERS


class _Round(Operation):
    """Complete when ``left`` operations are."""

    def __init__(self, left: int) -> None:
        self.left = left

    def add(self, op: Operation) -> None:
        """Count an operation among those that this one consists of; the lock is held."""
        if op.done:
            self.completed(op)
        else:
            op.watcher = self

    def completed(self, operation: Operation) -> None:
        """One of the operations is complete (engine.operations.Watcher)."""
        if operation.error:
            self.error, self.detail = operation.error, operation.detail
        self.left -= 1
        if not self.left:
            self.complete()


class _End:
    """One end of a partitioned message.

    Args:
        peer: rank of the other end, or PROC_NULL. pieces: the parts as this end cuts them.
    """

    def __init__(self, comm: Communicator, pieces: Pieces, peer: int) -> None:
        self.comm = comm
        self.peer = peer
        self.messages: Sequence[Message] = list(pieces.messages)

    def check(self, part: int) -> None:
        """Raise MPIError unless this end has such a part."""
        if not 0 <= part < len(self.messages):
            raise MPIError(ERR_OTHER, f"partition {part} is not one of {len(self.messages)}")


class Sending(_End):
    """The sending end."""

    def __init__(self, comm: Communicator, pieces: Pieces, dest: int, tag: int) -> None:
        super().__init__(comm, pieces, dest)
        self._waiting: set[int] = set()
        self._round = _Round(0)
        if dest == PROC_NULL:
            return
        number = len(self.messages)
        self._first = comm.parts
        comm.parts = (comm.parts + number) % _NUMBERS
        head = memoryview(_ANNOUNCEMENT.pack(self._first, number, self.messages[0].nbytes))
        comm.isend(dest, tag, head, len(head), space=PARTITIONED)

    def start(self) -> Operation:
        """Begin a round, in which each part waits to be called ready."""
        self._waiting = set(range(len(self.messages)))
        self._round = _Round(len(self.messages))
        return self._round

    def ready(self, parts: Sequence[int]) -> None:
        """Send parts; raises MPIError if one does not exist or has been sent in this round."""
        for part in parts:
            self.check(part)
            if part not in self._waiting:
                raise MPIError(ERR_ARG, f"partition {part} has been called ready already")
        for part in parts:
            self._waiting.discard(part)
            if self.peer == PROC_NULL:
                self._round.add(nothing_sent())
                continue
            payload = self.messages[part].payload()
            with self.comm.world.progress.lock:
                op = self.comm.isend(self.peer, _tag(self._first, part), payload, len(payload), space=PARTITIONED)
                self._round.add(op)


class Receiving(_End):
    """The receiving end."""

    def __init__(self, comm: Communicator, pieces: Pieces, source: int, tag: int) -> None:
        super().__init__(comm, pieces, source)
        self.tag = tag
        self._pieces = pieces
        self._head = memoryview(bytearray(_ANNOUNCEMENT.size))
        self._places: list[tuple[memoryview, Callable[[int], None] | None]] = []
        self._finish: Callable[[], None] | None = None
        self.first = 0
        self.announced = nothing_received()
        if source != PROC_NULL:
            self.announced = comm.irecv(source, tag, self._head, space=PARTITIONED)

    def start(self) -> Operation:
        """Begin a round: receive all parts as soon as the message has been announced."""
        if self.peer == PROC_NULL:
            return nothing_received()
        arrivals = _Arrivals(self)
        with self.comm.world.progress.lock:
            if self.announced.done:
                arrivals.step()
            else:
                self.announced.watcher = arrivals
        return arrivals

    def places(self) -> list[tuple[memoryview, Callable[[int], None] | None]]:
        """Return where the parts go as the sender cuts them, each with what to call when it is there.

        Raises MPIError (ERR_TRUNCATE) if they are too long.
        """
        self.first, number, nbytes = _ANNOUNCEMENT.unpack(self._head)
        capacity = sum(message.nbytes for message in self.messages)
        if number * nbytes > capacity:
            raise MPIError(ERR_TRUNCATE, f"partitioned message of {number * nbytes} bytes, buffer of {capacity} bytes")
        if not self._places:
            if number == len(self.messages):
                self._places = [message.sink() for message in self.messages]
            else:
                sink, self._finish = self._pieces.sink()
                self._places = [(sink[part * nbytes : (part + 1) * nbytes], None) for part in range(number)]
        return self._places

    def finish(self) -> None:
        """All parts are there."""
        if self._finish is not None:
            self._finish()

    def arrived(self, operation: Operation | None, part: int) -> bool:
        """Tell whether a part is there in the round of an operation; in none, and from PROC_NULL, everything is."""
        self.check(part)
        if not isinstance(operation, _Arrivals) or operation.done:
            return True
        ops = operation.ops
        if not ops or self._finish is not None:
            return False
        mine = len(self.messages)
        covering = ops[part * len(ops) // mine : -(-(part + 1) * len(ops) // mine)]
        return all(op.done for op in covering)


class _Arrivals(_Round):
    """A round of the receiving end."""

    def __init__(self, end: Receiving) -> None:
        super().__init__(0)
        self.end = end
        self.source, self.tag = end.peer, end.tag
        self.ops: list[RecvOp] = []

    def step(self) -> None:
        """Post the receives: the message has been announced (runtime.progress)."""
        end = self.end
        announced = end.announced
        try:
            announced.check()
            places = end.places()
        except MPIError as error:
            self.error, self.detail = error.error_class, str(error)
            self.complete()
            return
        self.left = len(places)
        self.ops = [
            end.comm.irecv(end.peer, _tag(end.first, part), place, finish, PARTITIONED)
            for part, (place, finish) in enumerate(places)
        ]
        for op in self.ops:
            self.add(op)

    def completed(self, operation: Operation) -> None:
        """The announcement or a part has come (engine.operations.Watcher)."""
        if operation is self.end.announced:
            self.end.comm.world.progress.ready.append(self)
            return
        self.count += operation.count
        if self.left == 1:
            self.end.finish()
        super().completed(operation)
