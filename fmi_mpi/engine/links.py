"""What the engine knows of its peers: the way to each, the credit in both directions, operations that peers may name.

Rules of this file:
- Credit bounds the unexpected bytes that one peer may leave at another. It goes back with the next frame, or by a
  frame of its own when much has come together.
- A frame names an operation by a number, once, and only the operation's own peer may name it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fmi_mpi.engine.frames import ACK, CREDIT, HEADER_SIZE, pack_header
from fmi_mpi.engine.matching import Matcher
from fmi_mpi.engine.operations import Operation, Payload, SendOp

__all__ = ["Emit", "Lane", "Link", "Links", "Path"]

Emit = Callable[[int, bytes, Payload, object], bool]
"""(peer, header, payload, token) -> True when the payload's memory is free again; else ``sent(token)`` follows."""

Path = Callable[[bytes, Payload, object], bool]
"""``Emit`` for one peer."""


class Lane:
    """The messages to and from one peer within one context: how many have gone and come, and who matches them."""

    __slots__ = ("matcher", "received", "sent")

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.sent = 0
        self.received = 0


class Link:
    """What is known of one peer: the way to it, bytes it may still be sent unasked, and bytes owed to it.

    ``lanes`` are by context. ``spare`` is an operation that nobody knows yet: most sends complete without needing one.
    """

    __slots__ = ("credit", "emit", "failure", "flight", "lanes", "owed", "spare")

    def __init__(self, peer: int, credit: int, emit: Path) -> None:
        self.credit = credit
        self.emit = emit
        self.lanes: dict[int, Lane] = {}
        self.spare = SendOp(peer)
        self.flight: set[SendOp] = set()
        self.owed = 0
        self.failure = ""


def _nowhere(header: bytes, payload: Payload, token: object) -> bool:
    """The path to a peer that is gone."""
    return False


class Links:
    """All peers of process ``proc``; see ``Engine`` for the arguments."""

    def __init__(self, proc: int, emit: Emit, credit: int) -> None:
        self.proc = proc
        self.emit = emit
        self.credit = credit
        self.links: dict[int, Link] = {}
        self.numbered: dict[int, Operation] = {}
        self.begun: dict[int, tuple[bytes, memoryview, object]] = {}
        self.number = 0
        self._debt = credit >> 2  # bytes owed to a peer that are given back without waiting for a message to it

    def link(self, peer: int) -> Link:
        """Return what is known of a peer."""
        found = self.links.get(peer)
        if found is None:
            found = self.links[peer] = Link(peer, self.credit, partial(self.emit, peer))
        return found

    def route(self, peer: int, path: Path) -> None:
        """From now on frames to ``peer`` take this path, which leads to where ``emit`` does."""
        link = self.link(peer)
        if not link.failure:
            link.emit = path

    def resume(self, peer: int, begun: tuple[bytes, memoryview, object]) -> None:
        """A frame with this header was cut off, for which the rest had been its place: it comes again from its beginning."""
        self.begun[peer] = begun

    def again(self, peer: int, header: bytes | bytearray | memoryview) -> tuple[memoryview, object] | None:
        """Return the place of a frame that comes again, once; None if it is another one."""
        begun = self.begun.get(peer)
        if begun is None or begun[0] != header[:HEADER_SIZE]:
            return None
        del self.begun[peer]
        return begun[1:]

    def number_of(self, op: Operation) -> int:
        """Return a number by which a frame of the operation's peer can name it, once."""
        self.number += 1
        self.numbered[self.number] = op
        return self.number

    def named(self, number: int, peer: int) -> Operation | None:
        """Take the operation that a frame of ``peer`` names; None if it is not waiting for that peer."""
        op = self.numbered.get(number)
        if op is None or op.peer != peer:
            return None
        del self.numbered[number]
        return op

    def acknowledge(self, link: Link, number: int) -> None:
        """Tell the sender of a synchronous message that it has been matched."""
        owed, link.owed = link.owed, 0
        link.emit(pack_header(ACK, 0, self.proc, owed, 0, 0, 0, 0, 0, number, 0), None, None)

    def owe(self, link: Link) -> None:
        """Give all credit back that is owed."""
        owed, link.owed = link.owed, 0
        link.emit(pack_header(CREDIT, 0, self.proc, owed, 0, 0, 0, 0, 0, 0, 0), None, None)

    def cut(self, peer: int, link: Link, reason: str) -> None:
        """A peer is gone: fail what is under way to it or waits for its answer."""
        link.failure = reason
        link.emit = _nowhere
        for number, op in list(self.numbered.items()):
            if op.peer == peer:
                del self.numbered[number]
                op.fail(reason)
        for send in list(link.flight):
            send.fail(reason)
        link.flight.clear()
