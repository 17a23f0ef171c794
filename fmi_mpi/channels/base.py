"""The channel protocol: what the router asks of a transport, the same for a socket and a bucket.

Rules of this file:
- A channel moves frames (64-byte header plus payload) between processes of one job. It knows nothing of
  matching, tags or communicators; it never unpickles.
- ``send`` never blocks. Payload memory must stay unchanged until the frame is handed over.
- A channel calls the receiver only from ``send`` and ``poll``, both of which the runtime calls under its lock.
- SDK and operating-system errors become ``ChannelError`` here, at the edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

__all__ = [
    "FAILED",
    "Address",
    "Board",
    "Capabilities",
    "Channel",
    "ChannelError",
    "Path",
    "Payload",
    "Publisher",
    "Receiver",
    "Signalled",
]

Payload = memoryview | Sequence[memoryview] | None
"""Bytes that follow the header: one contiguous 'B' view, several to be sent one after another, or none."""

Path = Callable[[bytes, Payload, object], bool]
"""``Channel.send`` for one peer."""

FAILED: Final = 254
"""The turn of an object on a shelf that says that its putter has failed in this collective."""

Address = dict[str, Any]
"""What a peer needs to reach this end; JSON-compatible, carried by the bootstrap."""


class ChannelError(Exception):
    """The transport failed. The message names the channel, the peer and what to do."""


@dataclass(frozen=True)
class Capabilities:
    """What a channel promises; the router and the model read it.

    ``ordered``: frames to one peer arrive in the order sent. ``reliable``: no frame is lost while both ends
    live. ``max_payload``: bytes in one frame, or None. ``publish``: one put can serve many readers, see ``Publisher``.
    ``store``: 1 if the channel has shelves, see ``Storing``; 2 if to list what lies on one costs no more than to get it;
    3 if the listing brings it, too (``Gathering``). ``waits``: on its shelves one is told what comes (``Shelf.waits``), as by
    a message, which costs no more than a put and a get.
    ``spin``: what comes comes so soon that it pays to wait for it without leaving the core; the server of a store needs
    the core itself. ``latency`` in seconds and ``bandwidth`` in bytes per second are first guesses for the model.
    """

    ordered: bool = True
    reliable: bool = True
    max_payload: int | None = None
    publish: bool = False
    store: int = 0
    waits: bool = False
    spin: bool = True
    latency: float = 1e-5
    bandwidth: float = 1e9


class Receiver(Protocol):
    """The engine's side of a channel. All headers are given as the raw 64 bytes (or more; the rest is ignored)."""

    def frame(self, peer: int, header: bytes | bytearray | memoryview, payload: memoryview) -> None:
        """Take a whole frame; ``payload`` is valid only during the call. The short path for small frames."""

    def begin(self, peer: int, header: bytes | bytearray | memoryview) -> tuple[memoryview, object]:
        """Take a header whose payload is still to come.

        Returns a writable contiguous 'B' view of exactly the frame's payload length, to be filled by the
        channel, and a token for ``end``. Raises FrameError if the header is invalid or too long.
        """

    def end(self, peer: int, token: object) -> None:
        """The payload of the frame that ``begin`` gave ``token`` for is complete."""

    def sent(self, token: object) -> None:
        """A frame for which ``send`` returned False has been handed over; its payload memory is free."""

    def lost(self, peer: int, reason: str) -> None:
        """The peer cannot be reached any more over this channel; ``reason`` is for the user."""


class Channel(Protocol):
    """A transport between the processes of a job."""

    name: str
    capabilities: Capabilities

    def address(self) -> Address:
        """Return how peers reach this process; opens what must be open before others try."""

    def reachable(self, address: Address) -> bool:
        """A peer with this address can be reached over this channel, as far as can be told without trying."""

    def connect(self, peers: Mapping[int, Address]) -> None:
        """Learn the addresses of all peers; connections are made lazily, on first send."""

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        """Hand a frame over, or queue it.

        Returns True when header and payload are already out of the caller's memory; otherwise False, and
        ``receiver.sent(token)`` follows from a later ``poll``. ``token`` None: nobody wants to be told. Failure
        means ``receiver.lost``; to a peer that is lost, nothing happens and the answer is False.
        """

    def path(self, peer: int) -> Path:
        """Return ``send`` for a reachable peer, as short as it can be; of no use once the peer is lost."""

    def poll(self) -> bool:
        """Move what can be moved without blocking, calling the receiver; True if anything happened."""

    def arm(self) -> bool:
        """Prepare to sleep: afterwards any arrival makes a descriptor of ``descriptors()`` readable.

        Returns False if something has already arrived, so that sleeping would be wrong.
        """

    def disarm(self) -> None:
        """The sleep is over."""

    def descriptors(self) -> Sequence[tuple[int, int]]:
        """Descriptors to watch while asleep, with their ``select.POLLIN`` / ``POLLOUT`` masks."""

    def pending(self) -> bool:
        """Frames are queued that the transport has not taken yet."""

    def close(self) -> None:
        """Flush nothing, release everything. Idempotent."""


class Signalled(Channel, Protocol):
    """A channel whose ends talk through the job's meeting place, too (``registry.Membership.signal``)."""

    def signalled(self, peer: int, data: Mapping[str, Any]) -> None:
        """Take what the channel of a peer has sent; it may come before the peers' addresses do."""


class Board(Protocol):
    """A place where each of some processes puts what all others may read; see ``coll.steps.Share``."""

    @property
    def address(self) -> Address:
        """How others open the board, as long as its maker has not met them."""

    def meet(self) -> bool:
        """All members have opened the board: get ready; False if this process cannot read all that others may share."""

    def share(
        self,
        stamp: int,
        data: memoryview,
        awaited: Sequence[int] | None,
        done: Callable[[str], None],
        patience: int = 0,
    ) -> bool:
        """Share ``data`` and wait for the members at the places ``awaited`` (None: all); True if they all have shared.

        Args:
            stamp: of this round; greater than that of the member's last one.
            done: otherwise called from ``poll``, with nothing when they have, or with the reason why they will not.
            patience: how many times to look before giving up; negative: letting other processes run before each look.
        """

    def view(self, stamp: int, expected: int, place: int, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes that the member at ``place`` has shared, if few, valid until this process shares again.

        Args:
            stamp: of the round. expected: how many bytes it has shared in all, -1 for any number.

        Raises MPIError if the member has shared something else.
        """

    def fetch(self, stamp: int, expected: int, place: int, start: int, into: memoryview) -> None:
        """Copy what the member at ``place`` has shared, from byte ``start`` on.

        Raises MPIError as ``view`` does, ChannelError if the member is gone.
        """

    def close(self) -> None:
        """Leave; nobody reads this member's memory any more."""


class Publisher(Channel, Protocol):
    """A channel with boards (``capabilities.publish``)."""

    def make_board(self, size: int, inline: int) -> Board:
        """Make a board for ``size`` members, this process being the first.

        Args:
            inline: bytes up to which ``view`` works.

        Raises ChannelError.
        """

    def open_board(self, address: Address, place: int) -> Board:
        """Open the board that another process has made, as its member at ``place``; raises ChannelError."""

    def desert(self, proc: int, reason: str) -> None:
        """A process is gone: rounds that wait for it fail."""


class Shelf(Protocol):
    """A place in a store where each of some processes puts objects that all others may read; see ``coll.steps.Put``.

    An object is named by the ``number`` of a collective, a ``turn`` (below 255) and the ``place`` of who put it. Nothing
    blocks: answers are given from within ``Channel.poll``, with a reason if the store is out of reach; where memory is free
    at once, ``put`` and ``count`` may give theirs themselves. ``latency``: seconds that a request takes, as far as is known.
    ``waits``: an answer comes when there is one, be it that a process has failed or put something else; otherwise it
    says what is there now.
    """

    latency: float
    waits: bool

    def put(
        self, number: int, turn: int, blocks: Sequence[memoryview | Sequence[memoryview]], done: Callable[[str], None]
    ) -> None:
        """Put an object; ``done`` is called when its memory is free."""

    def get(
        self,
        number: int,
        turn: int,
        place: int,
        block: int,
        before: int,
        nbytes: int,
        done: Callable[[memoryview | None, str], None],
    ) -> None:
        """Get a block of an object.

        Args:
            block: its place in the object. before: bytes of the blocks before it.
            nbytes: its length, or -1 if it is the object's only one.
            done: given the block, or None if there is no such thing (yet). Where the shelf waits it may have another length.
        """

    def length(self, number: int, turn: int, place: int, block: int, done: Callable[[int, str], None]) -> None:
        """Tell how long a block is that is not there with the length it should have; -1: it is not there at all."""

    def count(self, number: int, done: Callable[[str], None]) -> None:
        """Count this process in."""

    def counted(self, number: int, done: Callable[[int, str], None]) -> None:
        """Tell how many have counted themselves in; where the shelf waits, when all have."""

    def remove(self, number: int) -> None:
        """Remove what this process has put for collectives before that number."""


class Gathering(Shelf, Protocol):
    """A shelf from which many small objects are taken as cheaply as one."""

    def gather(
        self, number: int, turn: int, wanted: Mapping[int, int], done: Callable[[Mapping[int, memoryview], str], None]
    ) -> None:
        """Get the objects, of one block each, that several have put.

        Args:
            wanted: by their places, the lengths; -1: whatever it has.
            done: given those that are there.
        """


class Salvage(NamedTuple):
    """What is left of the traffic with a peer that a channel has given up."""

    received: int
    """Frames taken from the peer, since the beginning."""
    acknowledged: int
    """Frames that the peer is known to have taken."""
    frames: list[tuple[bytes, Payload, object]]
    """All frames sent after those, as they were given to ``send``; the token is None where its sender has gone on."""
    begun: tuple[bytes, memoryview, object] | None = None
    """The header of a frame of the peer that was cut off, and what ``Receiver.begin`` has returned for it: it comes again."""


class Salvaging(Channel, Protocol):
    """A channel that knows which frames a peer has taken, so that another channel can go on where it ends."""

    def departed(self, peer: int) -> bool:
        """The peer has said that it leaves: it takes nothing more, by whatever channel."""

    def salvage(self, peer: int) -> Salvage:
        """Give a peer up, if that has not happened yet; from now on nothing is taken from it."""


class Storing(Channel, Protocol):
    """A channel with shelves (``capabilities.store``)."""

    def shelf(self, procs: Sequence[int], name: str, place: int) -> Shelf:
        """Return the shelf of this name that these processes share; ``place``: this one's among them."""

    def desert(self, proc: int, reason: str) -> None:
        """A process is gone: what waits for it fails."""
