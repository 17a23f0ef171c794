"""A relay for tests: the one of the rendezvous service, alone, in a thread of the test process."""

from __future__ import annotations

import os
import selectors
import threading
from functools import cache

from fmi_mpi.bootstrap.base import Relay as Access
from fmi_mpi.bootstrap.relaying import TAG_SIZE
from fmi_mpi.channels.base import Receiver
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.relay import RelayChannel
from fmi_mpi.launch.rendezvous.metrics import Metrics
from fmi_mpi.launch.rendezvous.relay import Relay
from fmi_mpi.launch.rendezvous.tickets import derive

__all__ = ["Served", "access", "key_of", "served", "settling"]


def key_of(tag: bytes) -> bytes:
    return derive(b"service", tag)


def access(port: int, tag: bytes) -> Access:
    """Return what members of the job with this tag are told of a relay."""
    return "127.0.0.1", port, tag + key_of(tag)


class Served:
    """A relay in a thread; ``settle`` returns when it has done all that there is to do, as far as sockets show.

    Args:
        kind: the relay's class.
    """

    def __init__(self, kind: type[Relay] = Relay) -> None:
        self._kind = kind
        self._selector = selectors.DefaultSelector()
        self._pid = os.getpid()
        self._wake_read, self._wake_write = os.pipe()
        self._idle = threading.Semaphore(0)
        self.relay = self._relay(0)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._on_wake)
        threading.Thread(target=self._serve, daemon=True).start()

    def settle(self) -> None:
        self._ask(b"!")

    def restart(self) -> None:
        """Let another relay take the place of this one: every connection breaks."""
        self._ask(b"R")

    def _relay(self, port: int) -> Relay:
        return self._kind(self._selector, "127.0.0.1", port, key_of, 1 << 40, Metrics())

    def _ask(self, what: bytes) -> None:
        if os.getpid() == self._pid:
            os.write(self._wake_write, what)
            self._idle.acquire()

    def _serve(self) -> None:
        while True:
            self._turn(None)

    def _turn(self, timeout: float | None) -> bool:
        events = self._selector.select(timeout)
        for key, _ in events:
            key.data()
        return bool(events)

    def _on_wake(self) -> None:
        if os.read(self._wake_read, 1) == b"R":
            port = self.relay.port
            self.relay.close()
            self.relay = self._relay(port)
        while self._turn(0):
            pass
        self._idle.release()


class Settling(RelayChannel):
    """A channel whose relay has always done what it can: so that every run is the same."""

    served: Served

    def poll(self) -> bool:
        moved = super().poll()
        if not moved:
            self.served.settle()
        return moved


@cache
def served() -> Served:
    """Return the relay that serves until the tests end."""
    return Served()


def settling(membership: Membership, receiver: Receiver, by: Served | None = None) -> Settling:
    """Return a channel over a relay, by default that one."""
    by = by or served()
    channel = Settling(membership, access(by.relay.port, bytes(TAG_SIZE)), receiver)
    channel.served = by
    return channel
