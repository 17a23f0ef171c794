"""What the engine is asked to do and what it has received: send and receive operations, arrived messages.

Rules of this file:
- An operation is complete when ``done`` is true, and never changes afterwards.
- ``source`` and ``tag`` of a receive are what was asked for until it is matched, then what arrived.
- ``error`` is an MPI error class; ``detail`` says in words what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, ERR_PROC_FAILED, ERR_TRUNCATE, SUCCESS
from fmi_mpi.engine.frames import FrameError
from fmi_mpi.errors import MPIError

__all__ = ["SENT", "Fill", "Message", "Operation", "Payload", "RecvOp", "SendOp", "Watcher"]

Payload = memoryview | Sequence[memoryview] | None


class Watcher(Protocol):
    """Whoever wants to know that an operation is complete (a collective's schedule)."""

    def completed(self, operation: Operation) -> None: ...


class Operation:
    """Common state of sends and receives. Defaults stand in the class: most operations change few of them."""

    done = False
    error = SUCCESS
    detail = ""
    source = ANY_SOURCE
    tag = ANY_TAG
    count = 0
    cancelled = False
    peer = -1
    watcher: Watcher | None = None
    apart = False
    """No message brings it further."""
    failure: BaseException | None = None
    """What a user's function raised while the operation ran."""

    def complete(self) -> None:
        """Mark as complete and tell the watcher."""
        self.done = True
        if self.watcher is not None:
            self.watcher.completed(self)

    def fail(self, reason: str) -> None:
        """The peer is gone."""
        if not self.done:
            self.error = ERR_PROC_FAILED
            self.detail = reason
            self.complete()

    def check(self) -> None:
        """Raise what went wrong with a completed operation, if anything."""
        if self.error:
            raise MPIError(self.error, self.detail)
        if self.failure is not None:
            raise self.failure


class SendOp(Operation):
    """A message on its way out; ``waits`` counts what must still happen: hand-over, and a match if synchronous."""

    waits = 1
    payload: Payload = None

    def __init__(self, peer: int) -> None:
        self.peer = peer
        self.done = False

    def finish(self) -> None:
        """One of the things that ``waits`` counts has happened."""
        self.waits -= 1
        if self.waits == 0:
            self.complete()


SENT: Final = SendOp(-1)
"""Stands for every send that was complete when it was started."""
SENT.done = True


class RecvOp(Operation):
    """A receive.

    ``buffer``: where to put the payload, or None for memory of the message's own length, found in ``data``
    afterwards. ``finish``: called once with the number of bytes when they are in ``buffer``.
    """

    flags = 0
    stamp = 0

    def __init__(
        self,
        peer: int,
        source: int,
        tag: int,
        buffer: memoryview | None,
        finish: Callable[[int], None] | None = None,
    ) -> None:
        self.peer = peer
        self.source = source
        self.tag = tag
        self.buffer = buffer
        self.data = buffer
        self.finish = finish
        # Read on the way of every message, and quicker found here than in the class.
        self.done = False
        self.error = SUCCESS
        self.failure = self.watcher = None
        self.stamp = 0

    def matched(self, peer: int, source: int, tag: int, flags: int) -> None:
        """A message has been found for this receive."""
        self.peer = peer
        self.source = source
        self.tag = tag
        self.flags = flags

    def deliver(self, payload: memoryview, length: int) -> None:
        """Copy payload bytes to where they are wanted; ``length`` is what the sender has sent in all."""
        buffer = self.buffer
        if buffer is None:
            self.data = memoryview(bytearray(payload))
        elif length <= len(buffer):
            if length:
                buffer[:length] = payload
        else:
            buffer[:] = payload[: len(buffer)]
        self.received(length)

    def place(self, length: int) -> memoryview:
        """Return where the payload goes that the peer has been asked for; raises FrameError if it is of another length."""
        wanted = 0 if self.buffer is None else min(self.count, len(self.buffer))
        if self.buffer is None or length != wanted:
            self.fail(f"process {self.peer} sends {length} bytes where {wanted} were asked for")
            raise FrameError(self.detail)
        return self.buffer if length == len(self.buffer) else self.buffer[:length]

    def received(self, length: int) -> None:
        """The payload, of ``length`` bytes at the sender, is in the buffer."""
        capacity = length if self.buffer is None else len(self.buffer)
        if length > capacity:
            self.error = ERR_TRUNCATE
            self.detail = (
                f"message of {length} bytes from rank {self.source} with tag {self.tag}, buffer of {capacity} bytes"
            )
            length = capacity
        self.count = length
        if self.finish is not None:
            self.finish(length)
        self.complete()


class Message:
    """A message whose envelope has arrived and that no receive has taken yet.

    Exactly one of these holds: ``data`` has the payload (``arriving`` while bytes are still missing), or
    ``request`` is the sender's id of a rendezvous, or ``sender`` is the operation of a message to oneself.
    """

    __slots__ = (
        "arriving",
        "data",
        "flags",
        "length",
        "number",
        "peer",
        "receiver",
        "sender",
        "source",
        "stamp",
        "tag",
    )

    def __init__(self, peer: int, source: int, tag: int, flags: int, length: int, number: int) -> None:
        self.peer = peer
        self.source = source
        self.tag = tag
        self.flags = flags
        self.length = length
        self.number = number
        self.stamp = 0
        self.arriving = False
        self.data: memoryview | None = None
        self.sender: SendOp | None = None
        self.receiver: RecvOp | None = None


class Fill:
    """An eager message whose payload arrives in memory of its own: it has a header, a message or a receive."""

    __slots__ = ("header", "message", "op", "sink")

    def __init__(
        self, sink: memoryview, header: bytes | None = None, message: Message | None = None, op: RecvOp | None = None
    ) -> None:
        self.sink = sink
        self.header = header
        self.message = message
        self.op = op
