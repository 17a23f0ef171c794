"""Point-to-point communication of Python objects.

Rules of this file:
- An object is pickled by ``MPI.pickle``; its large buffers travel out of band without a copy on either side.
- A receive takes memory of the message's own length, so objects of any size arrive. A buffer that the caller gives is
  used instead, or one of as many bytes as he says; mpi4py warns of that, and so do we.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

from fmi_mpi.api.comm.buffered import reserve
from fmi_mpi.api.comm.core import TAG_LIMIT, boundary, check_dest, check_source, complete
from fmi_mpi.api.comm.point_to_point import BUFFERED, PointToPoint
from fmi_mpi.api.message import Message, decode_object
from fmi_mpi.api.request import Request
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, PROC_NULL
from fmi_mpi.data.message import writable_bytes
from fmi_mpi.data.pickling import dumps_parts
from fmi_mpi.engine.frames import FLAG_SYNC
from fmi_mpi.engine.operations import SENT, RecvOp, SendOp
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.request import RequestState, nothing_received, nothing_sent

if TYPE_CHECKING:
    from fmi_mpi.typing import Buffer

__all__ = ["ObjectMessages"]


def _post_send(comm: Communicator, obj: Any, dest: int, tag: int, mode: int) -> SendOp:
    if not (0 <= dest < len(comm.procs) and 0 <= tag <= TAG_LIMIT):
        check_dest(comm, dest, tag)
        return nothing_sent()  # to PROC_NULL
    parts, flags = dumps_parts(obj)
    if mode == BUFFERED:
        return reserve(comm, memoryview(b"".join(parts)), dest, tag, flags)
    if len(parts) == 1:
        payload = parts[0]
        return comm.isend(dest, tag, payload, len(payload), flags | mode)
    return comm.isend(dest, tag, parts, sum(map(len, parts)), flags | mode)


def _post_recv(comm: Communicator, buf: Buffer | int | None, source: int, tag: int) -> RecvOp:
    if not (0 <= source < len(comm.procs) and 0 <= tag <= TAG_LIMIT):
        check_source(comm, source, tag)
        if source == PROC_NULL:
            return nothing_received()
    return comm.irecv(source, tag, None if buf is None else _memory(buf))


def _memory(buf: Buffer | int) -> memoryview | None:
    """Return the memory for a pickled message that a caller gives, or that has the size that he gives."""
    if not isinstance(buf, int):
        return writable_bytes(buf)
    return memoryview(bytearray(buf)) if buf >= 0 else None


def _discourage(stacklevel: int) -> None:
    warnings.warn("'buf' needs not be given: memory of the message's own length is taken", stacklevel=stacklevel)


class ObjectMessages(PointToPoint):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object in standard mode.

        Args:
            obj: anything that ``MPI.pickle`` can pickle.
            dest: rank of the receiver, or PROC_NULL.
            tag: 0 to TAG_UB.
        """
        try:
            comm = self._state()
            op = _post_send(comm, obj, dest, tag, 0)
            if op is not SENT:
                complete(comm, op)
        except MPIError as error:
            self._failed(error)

    @boundary
    def bsend(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object in buffered mode."""
        comm = self._state()
        complete(comm, _post_send(comm, obj, dest, tag, BUFFERED))

    @boundary
    def ssend(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object in synchronous mode."""
        comm = self._state()
        complete(comm, _post_send(comm, obj, dest, tag, FLAG_SYNC))

    def recv(
        self,
        buf: Buffer | int | None = None,
        source: int = ANY_SOURCE,
        tag: int = ANY_TAG,
        status: Status | None = None,
    ) -> Any:
        """Receive an object.

        Args:
            buf: memory for the pickled message, or its size, or None for memory of the message's own length.
            source: rank of the sender, ANY_SOURCE or PROC_NULL.
            tag: the message's tag or ANY_TAG.
            status: filled with source, tag and size.
        """
        try:
            comm = self._state()
            if buf is not None:
                _discourage(3)
            op = _post_recv(comm, buf, source, tag)
            complete(comm, op, status)
            return decode_object(op)
        except MPIError as error:
            self._failed(error)

    @boundary
    def sendrecv(
        self,
        sendobj: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Buffer | int | None = None,
        source: int = ANY_SOURCE,
        recvtag: int = ANY_TAG,
        status: Status | None = None,
    ) -> Any:
        """Send one object and receive another, in whatever order they come."""
        comm = self._state()
        if recvbuf is not None:
            _discourage(4)
        check_dest(comm, dest, sendtag)
        recv = _post_recv(comm, recvbuf, source, recvtag)
        complete(comm, _post_send(comm, sendobj, dest, sendtag, 0))
        complete(comm, recv, status)
        return decode_object(recv)

    def _isend_object(self, obj: Any, dest: int, tag: int, mode: int) -> Request:
        comm = self._state()
        op = _post_send(comm, obj, dest, tag, mode)
        cancel = comm.world.engine.cancel_send
        return Request._wrap(RequestState(comm.world, op, lambda running: cancel(comm.context, running)))

    @boundary
    def isend(self, obj: Any, dest: int, tag: int = 0) -> Request:
        """Start sending an object in standard mode."""
        return self._isend_object(obj, dest, tag, 0)

    @boundary
    def ibsend(self, obj: Any, dest: int, tag: int = 0) -> Request:
        """Start sending an object in buffered mode."""
        return self._isend_object(obj, dest, tag, BUFFERED)

    @boundary
    def issend(self, obj: Any, dest: int, tag: int = 0) -> Request:
        """Start sending an object in synchronous mode."""
        return self._isend_object(obj, dest, tag, FLAG_SYNC)

    @boundary
    def irecv(self, buf: Buffer | int | None = None, source: int = ANY_SOURCE, tag: int = ANY_TAG) -> Request:
        """Start receiving an object; completion by the lower-case calls returns it."""
        comm = self._state()
        op = _post_recv(comm, buf, source, tag)
        cancel = comm.world.engine.cancel
        state = RequestState(comm.world, op, lambda running: cancel(comm.context, running), decode=decode_object)
        return Request._wrap(state)

    def probe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Literal[True]:
        """Wait for a message without receiving it."""
        return self.Probe(source, tag, status)

    def iprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> bool:
        """Tell whether there is a message to receive."""
        return self.Iprobe(source, tag, status)

    def mprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message:
        """Wait for a message and take it, to be received by this handle only."""
        return self.Mprobe(source, tag, status)

    def improbe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message | None:
        """Take a message if there is one."""
        return self.Improbe(source, tag, status)
