"""A window in one process: its memory, its lock, and what it knows of the other processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any, Protocol

__all__ = ["Exposed", "Peer", "WindowState"]


class Exposed(Protocol):
    """A window's memory in this process; see ``data.exposure``. Every method may raise MPIError."""

    def layout(self, encoded: memoryview) -> Any: ...

    def run(self, address: int, nbytes: int) -> memoryview: ...

    def read(self, address: int, nbytes: int, layout: Any = None) -> memoryview: ...

    def write(self, address: int, data: memoryview, layout: Any = None) -> None: ...

    def combine(self, address: int, data: memoryview, layout: Any, code: int) -> None: ...


class Peer:
    """What a window knows of one other process, or of this one: as a target (what is sent) and as an origin (what comes).

    ``posted`` and ``completed`` count notifications that nobody has waited for yet. ``fault`` is the first error of an
    access that has had no answer.
    """

    __slots__ = (
        "arriving",
        "completed",
        "early",
        "fault",
        "layouts",
        "next_in",
        "next_out",
        "number",
        "posted",
        "shipped",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.next_out = 0
        self.shipped: dict[Hashable, int] = {}
        self.posted = 0
        self.next_in = 0
        self.early: dict[int, tuple[bytes, memoryview]] = {}
        self.arriving = False
        self.layouts: dict[int, Any] = {}
        self.completed = 0
        self.fault = 0


class WindowState:
    """A window in this process.

    Args:
        context: its number, the same on all processes. exposed: its memory here.
    """

    def __init__(self, context: int, exposed: Exposed) -> None:
        self.context = context
        self.exposed = exposed
        self.peers: dict[int, Peer] = {}
        self.holders: dict[int, bool] = {}
        """process that holds the lock -> whether it is exclusive"""
        self.waiting: deque[tuple[int, bool, int]] = deque()

    def peer(self, number: int) -> Peer:
        found = self.peers.get(number)
        if found is None:
            found = self.peers[number] = Peer(number)
        return found

    def grants(self) -> list[tuple[int, int]]:
        """Take the requests for the lock that can be granted now, in the order of their arrival: (process, number)."""
        granted = []
        while self.waiting:
            peer, exclusive, number = self.waiting[0]
            if self.holders and (exclusive or any(self.holders.values())):
                break
            self.waiting.popleft()
            self.holders[peer] = exclusive
            granted.append((peer, number))
        return granted
