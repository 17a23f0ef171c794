"""Point-to-point communication of buffers (MPI-4.1, chapter 3).

Rules of this file:
- Each call parses its buffer into a ``Message``, checks its peer, and posts one engine operation; modes differ in
  a flag. Blocking, nonblocking and persistent forms share the posting.
- Calls to PROC_NULL complete at once and move nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from fmi_mpi.api.comm.buffered import reserve
from fmi_mpi.api.comm.core import TAG_LIMIT, CommCore, boundary, check_dest, check_source, complete
from fmi_mpi.api.message import NO_PROC, Message
from fmi_mpi.api.request import Prequest, Request
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, PROC_NULL, SUCCESS
from fmi_mpi.data.message import message_recv, message_send, plain
from fmi_mpi.engine.frames import FLAG_SYNC
from fmi_mpi.engine.operations import SENT, Operation, RecvOp, SendOp
from fmi_mpi.engine.operations import Message as Arrived
from fmi_mpi.errors import MPIError, PeerFailure
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.request import RequestState, nothing_received, nothing_sent

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec

__all__ = ["BUFFERED", "PointToPoint", "post_recv", "post_send"]

BUFFERED = 1 << 16  # a local mode flag, never on the wire


def post_send(comm: Communicator, buf: BufSpec, dest: int, tag: int, mode: int) -> SendOp:
    """Start a message; ``mode`` is 0 (standard, ready), FLAG_SYNC or BUFFERED."""
    payload = plain(buf)
    if payload is None:
        payload = message_send(buf, dest).payload()
    if not (0 <= dest < len(comm.procs) and 0 <= tag <= TAG_LIMIT):
        check_dest(comm, dest, tag)
        return nothing_sent()  # to PROC_NULL
    if mode == BUFFERED:
        return reserve(comm, payload, dest, tag)
    return comm.isend(dest, tag, payload, len(payload), mode)


def post_recv(comm: Communicator, buf: BufSpec, source: int, tag: int) -> RecvOp:
    """Start a receive."""
    buffer = plain(buf)
    finish = None
    if buffer is None or buffer.readonly:
        buffer, finish = message_recv(buf, source).sink()
    if not (0 <= source < len(comm.procs) and 0 <= tag <= TAG_LIMIT):
        check_source(comm, source, tag)
        if source == PROC_NULL:
            return nothing_received()
    return comm.irecv(source, tag, buffer, finish)


def _send_request(comm: Communicator, op: SendOp | None, keep: object) -> RequestState:
    return RequestState(comm.world, op, lambda running: comm.world.engine.cancel_send(comm.context, running), keep=keep)


def _recv_request(comm: Communicator, op: RecvOp | None, keep: object) -> RequestState:
    return RequestState(comm.world, op, lambda running: comm.world.engine.cancel(comm.context, running), keep=keep)


class PointToPoint(CommCore):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    # -- blocking ------------------------------------------------------------------------------------------------

    def Send(self, buf: BufSpec, dest: int, tag: int = 0) -> None:
        """Send a message in standard mode (MPI-4.1, 3.2.1).

        Args:
            buf: what to send.
            dest: rank of the receiver, or PROC_NULL.
            tag: 0 to TAG_UB.
        """
        try:
            comm = self._state()
            op = post_send(comm, buf, dest, tag, 0)
            if op is not SENT:
                complete(comm, op)
        except MPIError as error:
            self._failed(error)

    def Recv(self, buf: BufSpec, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> None:
        """Receive a message (MPI-4.1, 3.2.4).

        Args:
            buf: where to put it; a longer message is an error of class ERR_TRUNCATE.
            source: rank of the sender, ANY_SOURCE or PROC_NULL.
            tag: the message's tag or ANY_TAG.
            status: filled with source, tag and size.
        """
        try:
            comm = self._state()
            complete(comm, post_recv(comm, buf, source, tag), status)
        except MPIError as error:
            self._failed(error)

    @boundary
    def Bsend(self, buf: BufSpec, dest: int, tag: int = 0) -> None:
        """Send a message in buffered mode: it is copied to an attached buffer (MPI-4.1, 3.6)."""
        comm = self._state()
        complete(comm, post_send(comm, buf, dest, tag, BUFFERED))

    @boundary
    def Ssend(self, buf: BufSpec, dest: int, tag: int = 0) -> None:
        """Send a message in synchronous mode: return when the receiver has matched it."""
        comm = self._state()
        complete(comm, post_send(comm, buf, dest, tag, FLAG_SYNC))

    @boundary
    def Rsend(self, buf: BufSpec, dest: int, tag: int = 0) -> None:
        """Send a message in ready mode: the receive has been posted already."""
        comm = self._state()
        complete(comm, post_send(comm, buf, dest, tag, 0))

    @boundary
    def Sendrecv(
        self,
        sendbuf: BufSpec,
        dest: int,
        sendtag: int = 0,
        recvbuf: BufSpec | None = None,
        source: int = ANY_SOURCE,
        recvtag: int = ANY_TAG,
        status: Status | None = None,
    ) -> None:
        """Send one message and receive another, in whatever order they come (MPI-4.1, 3.10)."""
        comm = self._state()
        recv, send = self._exchange(comm, sendbuf, dest, sendtag, recvbuf, source, recvtag)
        complete(comm, send)
        complete(comm, recv, status)

    @boundary
    def Sendrecv_replace(
        self,
        buf: BufSpec,
        dest: int,
        sendtag: int = 0,
        source: int = ANY_SOURCE,
        recvtag: int = ANY_TAG,
        status: Status | None = None,
    ) -> None:
        """Send a message and receive another into the same memory."""
        comm = self._state()
        recv, send = self._exchange_replace(comm, buf, dest, sendtag, source, recvtag)
        complete(comm, send)
        complete(comm, recv, status)

    def _exchange(
        self,
        comm: Communicator,
        sendbuf: BufSpec,
        dest: int,
        sendtag: int,
        recvbuf: BufSpec | None,
        source: int,
        recvtag: int,
    ) -> tuple[RecvOp, SendOp]:
        sending = message_send(sendbuf, dest)
        receiving = message_recv(recvbuf, source)
        check_dest(comm, dest, sendtag)
        check_source(comm, source, recvtag)
        if source == PROC_NULL:
            recv = nothing_received()
        else:
            buffer, finish = receiving.sink()
            recv = comm.irecv(source, recvtag, buffer, finish)
        send = nothing_sent() if dest == PROC_NULL else comm.isend(dest, sendtag, sending.payload(), sending.nbytes)
        return recv, send

    def _exchange_replace(
        self, comm: Communicator, buf: BufSpec, dest: int, sendtag: int, source: int, recvtag: int
    ) -> tuple[RecvOp, SendOp]:
        ranks = dest if source == PROC_NULL else source
        message = message_recv(buf, ranks)
        check_dest(comm, dest, sendtag)
        check_source(comm, source, recvtag)
        copy = memoryview(bytes(message.payload())) if dest != PROC_NULL else memoryview(b"")
        if source == PROC_NULL:
            recv = nothing_received()
        else:
            buffer, finish = message.sink()
            recv = comm.irecv(source, recvtag, buffer, finish)
        send = nothing_sent() if dest == PROC_NULL else comm.isend(dest, sendtag, copy, len(copy))
        return recv, send

    # -- nonblocking ---------------------------------------------------------------------------------------------

    def _isend(self, buf: BufSpec, dest: int, tag: int, mode: int) -> Request:
        comm = self._state()
        op = post_send(comm, buf, dest, tag, mode)
        return Request._wrap(_send_request(comm, op, buf))

    @boundary
    def Isend(self, buf: BufSpec, dest: int, tag: int = 0) -> Request:
        """Start a message in standard mode (MPI-4.1, 3.7.2)."""
        return self._isend(buf, dest, tag, 0)

    @boundary
    def Ibsend(self, buf: BufSpec, dest: int, tag: int = 0) -> Request:
        """Start a message in buffered mode."""
        return self._isend(buf, dest, tag, BUFFERED)

    @boundary
    def Issend(self, buf: BufSpec, dest: int, tag: int = 0) -> Request:
        """Start a message in synchronous mode."""
        return self._isend(buf, dest, tag, FLAG_SYNC)

    @boundary
    def Irsend(self, buf: BufSpec, dest: int, tag: int = 0) -> Request:
        """Start a message in ready mode."""
        return self._isend(buf, dest, tag, 0)

    @boundary
    def Irecv(self, buf: BufSpec, source: int = ANY_SOURCE, tag: int = ANY_TAG) -> Request:
        """Start a receive (MPI-4.1, 3.7.2)."""
        comm = self._state()
        return Request._wrap(_recv_request(comm, post_recv(comm, buf, source, tag), buf))

    @boundary
    def Isendrecv(
        self,
        sendbuf: BufSpec,
        dest: int,
        sendtag: int = 0,
        recvbuf: BufSpec | None = None,
        source: int = ANY_SOURCE,
        recvtag: int = ANY_TAG,
    ) -> Request:
        """Start sending one message and receiving another."""
        comm = self._state()
        recv, send = self._exchange(comm, sendbuf, dest, sendtag, recvbuf, source, recvtag)
        return Request._wrap(RequestState(comm.world, Both(recv, send), keep=(sendbuf, recvbuf)))

    @boundary
    def Isendrecv_replace(
        self, buf: BufSpec, dest: int, sendtag: int = 0, source: int = ANY_SOURCE, recvtag: int = ANY_TAG
    ) -> Request:
        """Start sending a message and receiving another into the same memory."""
        comm = self._state()
        recv, send = self._exchange_replace(comm, buf, dest, sendtag, source, recvtag)
        return Request._wrap(RequestState(comm.world, Both(recv, send), keep=buf))

    # -- persistent ----------------------------------------------------------------------------------------------

    def _send_init(self, buf: BufSpec, dest: int, tag: int, mode: int) -> Prequest:
        comm = self._state()
        message_send(buf, dest)
        check_dest(comm, dest, tag)
        state = _send_request(comm, None, buf)
        state.restart = lambda: post_send(comm, buf, dest, tag, mode)
        return Prequest._wrap(state)

    @boundary
    def Send_init(self, buf: BufSpec, dest: int, tag: int = 0) -> Prequest:
        """Prepare a persistent message in standard mode (MPI-4.1, 3.9)."""
        return self._send_init(buf, dest, tag, 0)

    @boundary
    def Bsend_init(self, buf: BufSpec, dest: int, tag: int = 0) -> Request:
        """Prepare a persistent message in buffered mode."""
        return self._send_init(buf, dest, tag, BUFFERED)

    @boundary
    def Ssend_init(self, buf: BufSpec, dest: int, tag: int = 0) -> Request:
        """Prepare a persistent message in synchronous mode."""
        return self._send_init(buf, dest, tag, FLAG_SYNC)

    @boundary
    def Rsend_init(self, buf: BufSpec, dest: int, tag: int = 0) -> Request:
        """Prepare a persistent message in ready mode."""
        return self._send_init(buf, dest, tag, 0)

    @boundary
    def Recv_init(self, buf: BufSpec, source: int = ANY_SOURCE, tag: int = ANY_TAG) -> Prequest:
        """Prepare a persistent receive."""
        comm = self._state()
        message_recv(buf, source)
        check_source(comm, source, tag)
        state = _recv_request(comm, None, buf)
        state.restart = lambda: post_recv(comm, buf, source, tag)
        return Prequest._wrap(state)

    # -- probe ---------------------------------------------------------------------------------------------------

    @boundary
    def Probe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Literal[True]:
        """Wait for a message without receiving it (MPI-4.1, 3.8.1)."""
        _probe(self._state(), source, tag, status, "find", True)
        return True

    @boundary
    def Iprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> bool:
        """Tell whether there is a message to receive."""
        return _probe(self._state(), source, tag, status, "find", False) is not None

    @boundary
    def Mprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message:
        """Wait for a message and take it, to be received by this handle only (MPI-4.1, 3.8.2)."""
        comm = self._state()
        return Message._of(comm, _probe(comm, source, tag, status, "take", True))

    @boundary
    def Improbe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message | None:
        """Take a message if there is one."""
        comm = self._state()
        found = _probe(comm, source, tag, status, "take", False)
        return None if found is None else Message._of(comm, found)


class Both(Operation):
    """A send and a receive that complete as one request, with the receive's status."""

    def __init__(self, recv: RecvOp, send: SendOp) -> None:
        self._recv = recv
        self._waiting = 0
        for op in (recv, send):
            if not op.done:
                op.watcher = self
                self._waiting += 1
        self._send = send
        if not self._waiting:
            self._finish()

    def completed(self, operation: Operation) -> None:
        """One of the two is complete (engine.operations.Watcher)."""
        self._waiting -= 1
        if not self._waiting:
            self._finish()

    def _finish(self) -> None:
        recv = self._recv
        self.source, self.tag, self.count = recv.source, recv.tag, recv.count
        self.error = recv.error or self._send.error
        self.detail = recv.detail or self._send.detail
        self.done = True


def _probe(comm: Communicator, source: int, tag: int, status: Status | None, how: str, wait: bool) -> Any:
    """Find or take a message; None if there is none and not to wait."""
    check_source(comm, source, tag)
    if source == PROC_NULL:
        complete(comm, nothing_received(), status)
        return NO_PROC
    look: Callable[[int, int], Arrived | None] = getattr(comm, how)
    found = look(source, tag)
    if found is None:
        if wait:
            result: list[Arrived] = []

            def look_again() -> bool:
                message = look(source, tag)
                if message is not None:
                    result.append(message)
                return bool(result) or comm.lost(source)

            comm.world.progress.wait_until(look_again)
            if not result:
                raise PeerFailure(source, f"rank {source} is gone and has sent no such message")
            found = result[0]
        else:
            comm.world.progress.once()
            found = look(source, tag)
    if found is not None and status is not None:
        status._set(found.source, found.tag, SUCCESS, found.length)
    return found
