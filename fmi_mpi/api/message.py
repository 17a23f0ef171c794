"""``MPI.Message``: a message that a matched probe has taken out of matching (MPI-4.1, 3.8.2).

Rules of this file:
- The handle is (communicator, arrived message). Receiving it nulls the handle.
- MESSAGE_NO_PROC stands for the message of PROC_NULL: receiving it moves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.api.request import Request
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, ERR_REQUEST
from fmi_mpi.data.message import message_recv
from fmi_mpi.data.pickling import loads_message
from fmi_mpi.engine.operations import Message as Arrived
from fmi_mpi.engine.operations import RecvOp
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.process import world
from fmi_mpi.runtime.request import RequestState, nothing_received

if TYPE_CHECKING:
    from fmi_mpi.api.comm import Comm
    from fmi_mpi.typing import BufSpec

__all__ = ["MESSAGE_NO_PROC", "MESSAGE_NULL", "NO_PROC", "Message", "decode_object"]

NO_PROC = Arrived(-1, -1, -1, 0, 0, 0)


def decode_object(op: RecvOp) -> Any:
    """Return the object that a completed receive of a pickled message brought; None from PROC_NULL, or of nothing."""
    if op.data is None or not op.count:
        return None
    return loads_message(op.data[: op.count], op.flags)


class Message(Handle, family=True):
    """Matched message handle."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, message: Message | None = None) -> Self:
        return super().__new__(cls, message)

    @classmethod
    def _of(cls, comm: Communicator, found: Arrived) -> Message:
        message = cls.__new__(cls)
        message._handle = _NO_PROC_HANDLE if found is NO_PROC else (comm, found)
        return message

    @classmethod
    def Probe(cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message:
        """Wait for a message on a communicator and take it."""
        return cls(comm.Mprobe(source, tag, status))

    @classmethod
    def Iprobe(
        cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None
    ) -> Message | None:
        """Take a message of a communicator if there is one."""
        found = comm.Improbe(source, tag, status)
        return None if found is None else cls(found)

    @classmethod
    def probe(cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message:
        """Wait for a pickled message on a communicator and take it."""
        return cls(comm.mprobe(source, tag, status))

    @classmethod
    def iprobe(
        cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None
    ) -> Message | None:
        """Take a pickled message of a communicator if there is one."""
        found = comm.improbe(source, tag, status)
        return None if found is None else cls(found)

    def _receive(self, spec: BufSpec | None, as_object: bool) -> RecvOp:
        """Start receiving, into a buffer or as an object, and null the handle."""
        if self._handle is None:
            raise MPIError(ERR_REQUEST, "a null message cannot be received")
        comm, found = self._handle
        if found is NO_PROC:
            if self is not MESSAGE_NO_PROC:
                self._handle = None
            return nothing_received()
        buffer, finish = (None, None) if as_object else message_recv(spec, 0).sink()
        self._handle = None
        op: RecvOp = comm.recv_taken(found, buffer, finish)
        return op

    def _wait(self, op: RecvOp, status: Status | None) -> None:
        if not op.done:
            world().progress.wait(op)
        if status is not None:
            status._set(op.source, op.tag, op.error, op.count)
        op.check()

    @boundary
    def Recv(self, buf: BufSpec, status: Status | None = None) -> None:
        """Receive the message into a buffer."""
        self._wait(self._receive(buf, False), status)

    @boundary
    def Irecv(self, buf: BufSpec) -> Request:
        """Start receiving the message into a buffer."""
        return Request._wrap(RequestState(world(), self._receive(buf, False), keep=buf))

    @boundary
    def recv(self, status: Status | None = None) -> Any:
        """Receive the message as an object."""
        op = self._receive(None, True)
        self._wait(op, status)
        return decode_object(op)

    @boundary
    def irecv(self) -> Request:
        """Start receiving the message as an object."""
        return Request._wrap(RequestState(world(), self._receive(None, True), decode=decode_object))


_NO_PROC_HANDLE = (None, NO_PROC)
MESSAGE_NULL = Message()
MESSAGE_NO_PROC = Message()
MESSAGE_NO_PROC._handle = _NO_PROC_HANDLE
