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

__all__ = ["access", "key_of", "served", "settling"]


def key_of(tag: bytes) -> bytes:
    return derive(b"service", tag)


def access(port: int, tag: bytes) -> Access:
    """Return what members of the job with this tag are told of a relay."""
    return "127.0.0.1", port, tag + key_of(tag)


class Served:
    """A relay in a thread; ``settle`` returns when it has done all that there is to do, as far as sockets show."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._pid = os.getpid()
        self._wake_read, self._wake_write = os.pipe()
        self._idle = threading.Semaphore(0)
        self.relay = Relay(self._selector, "127.0.0.1", 0, key_of, 1 << 40, Metrics())
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._on_wake)
        threading.Thread(target=self._serve, daemon=True).start()

    def settle(self) -> None:
        if os.getpid() == self._pid:
            os.write(self._wake_write, b"!")
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
        os.read(self._wake_read, 1)
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


def settling(membership: Membership, receiver: Receiver) -> Settling:
    """Return a channel over that relay."""
    channel = Settling(membership, access(served().relay.port, bytes(TAG_SIZE)), receiver)
    channel.served = served()
    return channel
