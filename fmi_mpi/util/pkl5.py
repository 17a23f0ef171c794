"""Communicators that pickle by an object of their own, ``pickle``, and take any buffer out of band that it leaves out.

Rules of this file:
- ``MPI`` sends an object as one message, large buffers out of band. Here it sends ``_Packed`` instead of the object:
  its pickle and its buffers by this module's ``pickle``, made when the message is made.
- Requests and messages hold those of ``MPI`` and are not subclasses of them.
- Collectives unpickle a process's own object, too, so nobody ever sees a ``_Packed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from fmi_mpi import MPI
from fmi_mpi.MPI import ANY_SOURCE, ANY_TAG, Pickle, Status

if TYPE_CHECKING:
    from fmi_mpi.typing import Buffer

_Held = TypeVar("_Held", MPI.Request, MPI.Message)

__all__ = ["Comm", "Intercomm", "Intracomm", "Message", "Pickle", "Request", "pickle"]

pickle = Pickle()
"""Pickles the objects of this module's communicators; its THRESHOLD decides what goes out of band."""


class _BigMPI:
    """Size of the blocks in which mpi4py cuts buffers for counts of 32 bits.

    Counts have 64 bits here and nothing is cut; the class is there for programs that set ``_bigmpi.blocksize``.
    """

    blocksize = (1 << 63) - 1


_bigmpi = _BigMPI()


class _Packed:
    """An object to be sent; what is received in its place is the object."""

    __slots__ = ("obj",)

    def __init__(self, obj: Any) -> None:
        self.obj = obj

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        data, buffers = pickle.dumps_oob(self.obj)
        hold: Callable[[Any], Any] = PickleBuffer if protocol >= 5 else bytes
        return _unpack, (hold(data), [hold(buffer) for buffer in buffers])


def _unpack(data: Any, buffers: Iterable[Any]) -> Any:
    return pickle.loads_oob(data, buffers)


def _pack_each(objects: Iterable[Any] | None) -> Iterator[_Packed] | None:
    """Pack one by one, and only if asked to: what is not the root's is not looked at."""
    return None if objects is None else (_Packed(obj) for one in (objects,) for obj in one)


class Request(tuple[MPI.Request, ...]):
    """A nonblocking operation on objects."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __new__(cls, request: Request | MPI.Request | Iterable[MPI.Request] | None = None) -> Self:
        """Return a request.

        Args:
            request: shared with the new one; None makes a null request.
        """
        if request is None:
            request = MPI.Request()
        return super().__new__(cls, (request,) if isinstance(request, MPI.Request) else request)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MPI.Request):
            return all(one == other for one in self)
        return super().__eq__(other) if isinstance(other, Request) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other if isinstance(other, (Request, MPI.Request)) else NotImplemented

    def __bool__(self) -> bool:
        return any(self)

    def Free(self) -> None:
        """Let the operation complete unobserved."""
        for one in self:
            one.Free()

    def free(self) -> None:
        """Free the request unless it is null."""
        for one in self:
            one.free()

    def cancel(self) -> None:
        """Ask for the operation to be cancelled."""
        for one in self:
            one.Cancel()

    def get_status(self, status: Status | None = None) -> bool:
        """Tell whether the operation is complete, without retiring it."""
        return _only(self).get_status(status)

    def test(self, status: Status | None = None) -> tuple[bool, Any]:
        """Return whether the operation is complete, and the object received."""
        return _only(self).test(status)

    def wait(self, status: Status | None = None) -> Any:
        """Wait for the operation and return the object received."""
        return _only(self).wait(status)

    @classmethod
    def get_status_all(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> bool:
        """Tell whether all operations are complete, without retiring them."""
        return MPI.Request.get_status_all([_only(one) for one in requests], statuses)

    @classmethod
    def testall(
        cls, requests: Sequence[Request], statuses: list[Status] | None = None
    ) -> tuple[bool, list[Any] | None]:
        """Return whether all operations are complete, and if so the objects received."""
        return MPI.Request.testall([_only(one) for one in requests], statuses)

    @classmethod
    def waitall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[Any]:
        """Wait for all operations and return the objects received."""
        return MPI.Request.waitall([_only(one) for one in requests], statuses)


class Message(tuple[MPI.Message, ...]):
    """A message that a matched probe has taken out of matching."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __new__(cls, message: Message | MPI.Message | Iterable[MPI.Message] | None = None) -> Self:
        """Return a message.

        Args:
            message: shared with the new one; None makes a null message.
        """
        if message is None:
            message = MPI.Message()
        return super().__new__(cls, (message,) if isinstance(message, MPI.Message) else message)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MPI.Message):
            return all(one == other for one in self)
        return super().__eq__(other) if isinstance(other, Message) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other if isinstance(other, (Message, MPI.Message)) else NotImplemented

    def __bool__(self) -> bool:
        return any(self)

    def free(self) -> None:
        """Forget the message."""
        for one in self:
            one.free()

    def recv(self, status: Status | None = None) -> Any:
        """Receive the message."""
        return _only(self).recv(status)

    def irecv(self) -> Request:
        """Start receiving the message."""
        return Request(_only(self).irecv())

    @classmethod
    def probe(
        cls, comm: MPI.Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None
    ) -> Message:
        """Wait for a message on a communicator and take it."""
        return cls(MPI.Comm.mprobe(comm, source, tag, status))

    @classmethod
    def iprobe(
        cls, comm: MPI.Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None
    ) -> Message | None:
        """Take a message of a communicator if there is one."""
        found = MPI.Comm.improbe(comm, source, tag, status)
        return None if found is None else cls(found)


def _only(held: tuple[_Held, ...]) -> _Held:
    (one,) = held
    return one


class Comm(MPI.Comm):
    """Base communicator."""

    __slots__ = ()

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object in standard mode."""
        super().send(_Packed(obj), dest, tag)

    def bsend(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object in buffered mode."""
        super().bsend(_Packed(obj), dest, tag)

    def ssend(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object in synchronous mode."""
        super().ssend(_Packed(obj), dest, tag)

    def isend(self, obj: Any, dest: int, tag: int = 0) -> Request:  # type: ignore[override]
        """Start sending an object in standard mode."""
        return Request(super().isend(_Packed(obj), dest, tag))

    def ibsend(self, obj: Any, dest: int, tag: int = 0) -> Request:  # type: ignore[override]
        """Start sending an object in buffered mode."""
        return Request(super().ibsend(_Packed(obj), dest, tag))

    def issend(self, obj: Any, dest: int, tag: int = 0) -> Request:  # type: ignore[override]
        """Start sending an object in synchronous mode."""
        return Request(super().issend(_Packed(obj), dest, tag))

    def recv(
        self, buf: Buffer | None = None, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None
    ) -> Any:
        """Receive an object.

        Args:
            buf: not used; a message gets memory of its own length.
            source: rank of the sender, ANY_SOURCE or PROC_NULL.
            tag: the message's tag or ANY_TAG.
            status: filled with source, tag and size.
        """
        return super().recv(None, source, tag, status)

    def irecv(self, buf: Buffer | None = None, source: int = ANY_SOURCE, tag: int = ANY_TAG) -> NoReturn:
        """Raise RuntimeError: as in mpi4py, receive what ``mprobe`` takes by ``Message.irecv``."""
        raise RuntimeError("irecv is not supported by pkl5; take the message by mprobe or improbe and call its irecv")

    def sendrecv(
        self,
        sendobj: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Buffer | None = None,
        source: int = ANY_SOURCE,
        recvtag: int = ANY_TAG,
        status: Status | None = None,
    ) -> Any:
        """Send one object and receive another; ``recvbuf`` is not used."""
        return super().sendrecv(_Packed(sendobj), dest, sendtag, None, source, recvtag, status)

    def mprobe(  # type: ignore[override]
        self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None
    ) -> Message:
        """Wait for a message and take it, to be received by this handle only."""
        return Message.probe(self, source, tag, status)

    def improbe(  # type: ignore[override]
        self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None
    ) -> Message | None:
        """Take a message if there is one."""
        return Message.iprobe(self, source, tag, status)

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return the root's object on all processes."""
        return super().bcast(_Packed(obj), root)

    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        """Return the objects of all processes at the root, None elsewhere."""
        return super().gather(_Packed(sendobj), root)

    def scatter(self, sendobj: Iterable[Any] | None, root: int = 0) -> Any:
        """Return the object that the root has for this process.

        Args:
            sendobj: at the root, an object for each process in rank order, or None for None each.
            root: rank of the process that has them.
        """
        return super().scatter(_pack_each(sendobj), root)  # type: ignore[arg-type]

    def allgather(self, sendobj: Any) -> list[Any]:
        """Return the objects of all processes."""
        return super().allgather(_Packed(sendobj))

    def alltoall(self, sendobj: Iterable[Any] | None) -> list[Any]:
        """Return the objects that all processes have for this one.

        Args:
            sendobj: an object for each process in rank order, or None for None each.
        """
        return super().alltoall(_pack_each(sendobj))  # type: ignore[arg-type]


class Intracomm(Comm, MPI.Intracomm):
    """Intracommunicator."""

    __slots__ = ()


class Intercomm(Comm, MPI.Intercomm):
    """Intercommunicator."""

    __slots__ = ()
