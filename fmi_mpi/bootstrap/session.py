"""A member's connection to the rendezvous service: a zmq DEALER with CURVE that outlives the service.

Rules of this file:
- Nothing blocks but ``wait`` and ``close``. zmq's own thread connects, reconnects and exchanges heartbeats, also while
  the program computes; no thread is ours.
- Whenever a connection is made, the claim is said again with the ticket of the first one; when it is granted, so are
  all facts (``tell``), for the service may have forgotten or never heard them. What is only said (``say``) may be lost
  with a connection.
- zmq shows its descriptors' edges only: ``fileno`` is an epoll instance over them and a descriptor of our own, which is
  raised whenever something was taken in while the caller did not ask for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Hashable, Sequence
from typing import Final

from fmi_mpi.bootstrap import place
from fmi_mpi.bootstrap.messages import Message, decode, encode
from fmi_mpi.bootstrap.place import Place
from fmi_mpi.bootstrap.wire import SERVER_LIMIT, WireError

__all__ = ["Session"]

_HEARTBEAT: Final = 2_000  # ms between ZMTP heartbeats
_SILENCE: Final = 10_000  # ms without an answer after which a connection is given up
_RETRY: Final = 100  # ms between attempts to connect, at first
_LONGEST_RETRY: Final = 2_000
_LINGER: Final = 2_000  # ms to deliver what was said when closing
_QUEUE: Final = 10_000  # messages kept while there is no connection


class Session:
    """A member of a job at the service.

    Args:
        where: the service.
        job, size, secret: of the job.
        ranks: that the member claims; none for one that follows the job.
        recover: a lost rank shall not end the job. anew: an ended job of that name may be followed by this one.
        merges: the member is a launcher, whose ranks' output is merged with that of others (``launch.merging``).

    Raises BootstrapError if pyzmq is missing.
    """

    def __init__(
        self,
        where: Place,
        job: str,
        size: int,
        ranks: Sequence[int],
        secret: bytes,
        *,
        recover: bool = False,
        anew: bool = False,
        merges: bool = False,
    ) -> None:
        place.load_zmq()
        import zmq

        self.where = where
        self.connected = False
        """The handshake has succeeded, and the connection has not ended since."""
        self.joined = False
        """The service has granted the claim over the present connection."""
        self.rejected = False
        """The service does not hold the key that the URL names, or is none."""
        self._claim: Message = {"type": "claim", "job": job, "size": size, "ranks": list(ranks), "ticket": ""}
        self._claim |= {"recover": recover, "anew": anew, "merges": merges}
        self._facts: dict[Hashable, Message] = {}
        self._queue: list[Message] = []
        self._inbox: list[Message] = []
        self._pid = os.getpid()
        self._closed = False
        self._context = zmq.Context()
        self._socket = socket = self._context.socket(zmq.DEALER)
        options = {
            zmq.IMMEDIATE: 1,
            zmq.IPV6: 1,
            zmq.LINGER: _LINGER,
            zmq.SNDHWM: _QUEUE,
            zmq.RCVHWM: 0,
            zmq.MAXMSGSIZE: SERVER_LIMIT,
            zmq.HEARTBEAT_IVL: _HEARTBEAT,
            zmq.HEARTBEAT_TIMEOUT: _SILENCE,
            zmq.HEARTBEAT_TTL: _SILENCE,
            zmq.RECONNECT_IVL: _RETRY,
            zmq.RECONNECT_IVL_MAX: _LONGEST_RETRY,
        }
        for option, value in options.items():
            socket.setsockopt(option, value)
        public, private = place.key_pair(secret, job)
        socket.curve_publickey = public.encode()
        socket.curve_secretkey = private.encode()
        socket.curve_serverkey = where.key.encode()
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        self._flag = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        for descriptor in (self._flag, place.descriptor_of(socket), place.descriptor_of(self._monitor)):
            self._epoll.register(descriptor, select.EPOLLIN)

    def start(self, family: int) -> None:
        """Begin to connect over this address family (``socket.AF_INET`` or ``AF_INET6``)."""
        import socket

        import zmq

        self._socket.setsockopt(zmq.IPV6, int(family == socket.AF_INET6))
        self._socket.connect(self.where.endpoint)

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``receive`` may have something to do; -1 when closed."""
        return -1 if self._closed else self._epoll.fileno()

    def receive(self) -> list[Message]:
        """Return what has come, and keep the connection going."""
        if not self._usable():
            return []
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._flag)
        self._serve()
        inbox, self._inbox = self._inbox, []
        return inbox

    def tell(self, fact: Hashable, message: Message) -> None:
        """Say something that stays true; ``fact`` names it."""
        self._facts[fact] = message
        if self.joined:
            self._send(message)

    def say(self, message: Message) -> None:
        """Say something once."""
        if self.joined:
            self._send(message)
        elif len(self._queue) < _QUEUE:
            self._queue.append(message)

    def wait(self, seconds: float) -> None:
        """Wait until ``receive`` may have something to do, at most so long."""
        if self._usable():
            poller = select.poll()
            poller.register(self._epoll, select.POLLIN)
            poller.poll(max(0.0, seconds) * 1000)

    def take(self, kind: str, seconds: float) -> Message | None:
        """Wait for a message of this type, keeping others for ``receive``; None if it does not come in time."""
        deadline = time.monotonic() + seconds
        others: list[Message] = []
        found = None
        while found is None:
            for message in self.receive():
                if found is None and message["type"] == kind:
                    found = message
                else:
                    others.append(message)
            if found is None:
                if time.monotonic() >= deadline or not self._usable():
                    break
                self.wait(deadline - time.monotonic())
        self._inbox = others + self._inbox
        self._raise_flag()
        return found

    def close(self) -> None:
        """Deliver what was said, for a short while, and close. Idempotent; in a forked child nothing happens."""
        if self._usable():
            self._serve()
            self._closed = True
            self._epoll.close()
            os.close(self._flag)
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._socket.close(_LINGER if self.joined else 0)
            self._context.term()

    # -- zmq -----------------------------------------------------------------------------------------------------

    def _usable(self) -> bool:
        return not self._closed and os.getpid() == self._pid

    def _send(self, message: Message) -> None:
        import zmq

        if not self._usable():
            return
        try:
            self._socket.send(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            self.joined = False  # the connection has just ended; a new one is coming
        self._serve()
        self._raise_flag()

    def _serve(self) -> None:
        """Take everything that zmq has, until it has nothing: then its descriptors show what comes next."""
        import zmq
        from zmq.utils.monitor import recv_monitor_message

        while True:
            while place.has_message(self._monitor):
                self._notice(recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"])
            try:
                self._take(decode(self._socket.recv(zmq.NOBLOCK)))
            except zmq.Again:
                if not place.has_message(self._monitor):
                    return
            except WireError:
                continue

    def _notice(self, event: int) -> None:
        import zmq

        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.connected, self.joined, self.rejected = True, False, False
            with contextlib.suppress(zmq.Again):
                self._socket.send(encode(self._claim), zmq.NOBLOCK)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self.rejected = True
        else:
            self.connected = self.joined = False

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "ping":
            return
        if kind == "unknown":
            self.joined = False
            self._socket.send(encode(self._claim))
        elif kind == "welcome":
            self.joined = True
            self._claim["ticket"] = message["ticket"]
            queue, self._queue = self._queue, []
            for said in [*self._facts.values(), *queue]:
                self._send(said)
            self._inbox.append(message)
        else:
            self._inbox.append(message)

    def _raise_flag(self) -> None:
        if self._inbox and not self._closed:
            os.eventfd_write(self._flag, 1)
