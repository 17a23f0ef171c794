"""What a collective algorithm yields.

Rules of this file:
- An algorithm is one generator. It yields a step or a sequence of steps; the steps of one yield overlap, and
  the generator resumes when all of them are complete.
- Peers are ranks of the communicator. Between two ranks messages of one collective arrive in the order sent,
  so steps need no tags.
- Ranks that share a *board* (memory of one host) may also meet there: a ``Share`` is a round of
  the board, posted by every rank in the same order. It may not be mixed with messages in one yield.
- Ranks that share a *store* may put objects there that many read (``Put``, ``Get``), and count each other (``Count``).
  They are yielded as ``Errands``.
- Buffers are contiguous 'B' memoryviews. Data of derived types is packed before and unpacked after.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, TypeVar

__all__ = [
    "INLINE",
    "NONE",
    "Count",
    "Errand",
    "Errands",
    "Fetch",
    "Get",
    "Kernel",
    "Put",
    "PythonOp",
    "Ranks",
    "Recv",
    "Schedule",
    "Send",
    "Share",
    "Step",
]

T = TypeVar("T")

NONE = memoryview(bytearray())
"""The payload of a message that carries nothing but its arrival."""


class Send:
    """Send ``data`` (one view, or several to be sent as one message) to rank ``peer``."""

    __slots__ = ("data", "flags", "peer")

    def __init__(self, peer: int, data: memoryview | Sequence[memoryview], flags: int = 0) -> None:
        self.peer = peer
        self.data = data
        self.flags = flags


class Recv:
    """Receive from rank ``peer``, into ``into`` or, if None, into memory of the message's own length.

    Afterwards ``data`` is the received view and ``flags`` what the sender gave.
    """

    __slots__ = ("data", "flags", "into", "peer")

    def __init__(self, peer: int, into: memoryview | None = None) -> None:
        self.peer = peer
        self.into = into
        self.data: memoryview | None = into
        self.flags = 0


INLINE = 1 << 15
"""Bytes up to which what a rank shares is copied to the board; of more, only the whereabouts are."""


class Share:
    """Put ``data`` on the board, and wait until the ranks ``awaited`` (None: all) have shared in the same round.

    ``nbytes``: what every awaited rank shares, by default as much as this one; -1 if that may be anything.
    Afterwards ``view(peer)``, or ``view(peer, start, stop)``, shows what an awaited rank has put there, if that is
    ``INLINE`` at most, until this rank shares again; ``Fetch`` copies parts of it, whatever the size. More than ``INLINE`` bytes are read from the
    sharer's own memory, which must stay as it is until those who fetch have shared again.
    """

    __slots__ = ("awaited", "data", "nbytes", "stamp", "view")

    def __init__(
        self, data: memoryview = NONE, awaited: Sequence[int] | None = None, nbytes: int | None = None
    ) -> None:
        self.data = data
        self.awaited = awaited
        self.nbytes = len(data) if nbytes is None else nbytes
        self.stamp = 0
        self.view: Callable[..., memoryview]


class Fetch:
    """Copy from what rank ``peer`` has put on the board in the round ``share``, from byte ``start`` on, into ``into``."""

    __slots__ = ("into", "peer", "share", "start")

    def __init__(self, share: Share, peer: int, start: int, into: memoryview) -> None:
        self.share = share
        self.peer = peer
        self.start = start
        self.into = into


class Put:
    """Put ``blocks`` (each one view, or several that belong together) into the store: this rank's next object.

    Others take a block at a time. The memory is free afterwards.
    """

    __slots__ = ("blocks",)

    def __init__(self, *blocks: memoryview | Sequence[memoryview]) -> None:
        self.blocks = blocks


class Get:
    """Take a block of an object that rank ``peer`` puts, waiting until it is there.

    Args:
        into: takes the block, which must have this length.
        nbytes: length of the block where ``into`` is None; -1: whatever it has, being the only one.
        block: its place in the object. before: bytes of the blocks before it. only: the object has no other.
        turn: 0 for the peer's first object of this collective, and so on.

    Afterwards ``data`` is the block.
    """

    __slots__ = ("before", "block", "data", "into", "nbytes", "only", "peer", "turn")

    def __init__(
        self,
        peer: int,
        into: memoryview | None = None,
        nbytes: int = -1,
        block: int = 0,
        before: int = 0,
        turn: int = 0,
        only: bool = False,
    ) -> None:
        self.peer = peer
        self.into = into
        self.nbytes = nbytes if into is None else len(into)
        self.block = block
        self.before = before
        self.turn = turn
        self.only = only or self.nbytes < 0
        self.data = NONE


class Count:
    """Count this rank in, and wait until all ranks are; for stores with counters."""

    __slots__ = ()


class Errands:
    """What is asked of the store at once; the generator resumes when all of it is done."""

    __slots__ = ("errands",)

    def __init__(self, *errands: Errand) -> None:
        self.errands = errands


Step = Send | Recv
Errand = Put | Get | Count
Schedule = Generator[Step | Sequence[Step] | Share | Fetch | Errands, None, T]


class Kernel(Protocol):
    """A reduction over bytes: ``inout[i] = in_[i] op inout[i]`` (MPI's order: ``in_`` is from the lower rank)."""

    commutative: bool
    granule: int
    """Bytes of one element: buffers may be split at its multiples."""

    def __call__(self, in_: memoryview, inout: memoryview) -> None: ...


class Ranks(Protocol):
    """The communicator, as far as algorithms may see it. Equal on all ranks but for ``rank``."""

    rank: int
    size: int

    @property
    def hosts(self) -> Sequence[int]:
        """Per rank, an index of the host (or function) that it runs on; ranks with the same index share memory."""

    def scratch(self, nbytes: int) -> memoryview:
        """Return writable memory that is the collective's own until it ends; reused by later collectives.

        Two calls in one collective give different memory, aligned for any element type.
        """


PythonOp = Callable[[Any, Any], Any]
